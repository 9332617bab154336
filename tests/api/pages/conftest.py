"""Browsers: signed in with a token of a scope, or not yet."""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from api.client.client import Client
from api.http.cookies import ORDER_HEADER
from orchestrator import tokens
from orchestrator.storage.database import Database

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

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


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from builders.browsers import a_chromium  # only tests with a browser load Playwright

    with a_chromium() as browser:
        yield browser


@pytest.fixture
def open_page(chromium: Any, served, settings) -> Iterator[Callable[..., Any]]:
    """A page in a new browser profile, which complains at the end of the test."""
    here = f"http://127.0.0.1:{settings.api_port}"
    wrong: list[str] = []
    opened = []

    def open_(**options) -> Any:
        context = chromium.new_context(**{"locale": "en-US", "base_url": here, **options})
        opened.append(context)
        page = context.new_page()
        page.on("request", lambda request: request.url.startswith((here, "data:")) or wrong.append(request.url))
        page.on("console", lambda told: told.type == "error" and wrong.append(told.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        return page

    yield open_
    for context in opened:
        context.close()
    assert wrong == []


@pytest.fixture
def page(open_page: Callable[..., Any], client: Client) -> Any:
    """A page of somebody who is signed in."""
    page = open_page()
    page.goto(client.sign_ins.make().path)
    page.locator("#board").wait_for()
    return page
