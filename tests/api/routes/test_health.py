"""Whether the process lives, asked while nothing else works."""

import threading
from collections.abc import Iterator

import httpx2
import pytest
from eventually import eventually

from orchestrator.storage.tables import Base

THREADS = 40
"""What anyio gives to requests (`anyio.to_thread.current_default_thread_limiter`)."""


@pytest.fixture
def all_threads_busy(served, settings, token, database) -> Iterator[None]:
    """Every thread of the API waits for the database's one writer."""
    url = f"http://127.0.0.1:{settings.api_port}/api/v1/projects/default"
    done: list[int] = []

    def ask() -> None:
        headers = {"Authorization": f"Bearer {token}"}
        done.append(httpx2.put(url, json={"weight": 2}, headers=headers, timeout=60).status_code)

    askers = [threading.Thread(target=ask) for _ in range(THREADS + 10)]
    with database.write() as session:
        database.now(session)
        for asker in askers:
            asker.start()
        eventually(lambda: sum("AnyIO worker" in thread.name for thread in threading.enumerate()) >= THREADS)
        yield
        assert done == []
    for asker in askers:
        asker.join()


def test_a_process_that_lives_says_so_while_its_threads_are_busy(all_threads_busy, settings):
    answer = httpx2.get(f"http://127.0.0.1:{settings.api_port}/health/live", timeout=10)

    assert (answer.status_code, answer.json()) == (200, {"live": True})


def test_a_process_that_lives_says_so_without_a_database(http, database):
    Base.metadata.drop_all(database.engine)
    http.headers.pop("Authorization")

    assert http.get("http://testserver/health/live").json() == {"live": True}
    assert http.get("http://testserver/health/ready").status_code == 503
