"""Browsers: signed in with a token of a scope, or not yet."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from api.http.cookies import ORDER_HEADER
from orchestrator import tokens
from orchestrator.storage.database import Database

SignedIn = Callable[..., TestClient]


@pytest.fixture
def browsers(app: FastAPI) -> Iterator[Callable[[], TestClient]]:
    """A new browser, without a session."""
    with ExitStack() as opened:
        opened.enter_context(TestClient(app))  # the application's life
        yield lambda: TestClient(app, base_url="http://lab:8081", raise_server_exceptions=False)


@pytest.fixture
def browser(browsers: Callable[[], TestClient]) -> TestClient:
    return browsers()


@pytest.fixture
def signed_in(browsers: Callable[[], TestClient], database: Database) -> SignedIn:
    """A browser of a person with a scope, which sends the code of its page with every order."""

    def sign_in(scope: str = "admin", name: str | None = None) -> TestClient:
        browser = browsers()
        token = tokens.make(database, name or f"a-{scope}", (scope,))
        page = browser.post("/sign-in", data={"token": token})
        code = re.search(r'"X-Order-Code": "(\w+)"', page.text)
        assert code, page.text
        browser.headers[ORDER_HEADER] = code[1]
        return browser

    return sign_in
