"""Running labs, one for each database, shared by the tests of a module."""

from collections.abc import Iterator

import pytest
from lab import Lab, running_lab
from postgres import execute


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """On SQLite."""
    folder = tmp_path_factory.mktemp("lab")
    with running_lab(folder, f"sqlite:///{folder}/tx81.db") as made:
        yield made


@pytest.fixture(scope="module")
def postgres_lab(tmp_path_factory: pytest.TempPathFactory, postgres_socket: str) -> Iterator[Lab]:
    """On PostgreSQL."""
    execute(postgres_socket, "CREATE DATABASE lab")
    with running_lab(
        tmp_path_factory.mktemp("lab"), f"postgresql+psycopg://postgres@/lab?host={postgres_socket}"
    ) as made:
        yield made
