"""Running labs, shared by all scenarios that leave them as they were.

The tests of one lab are one group, so that one process runs them; what changes a lab for good runs last, or in its own.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import Lab, running_lab

from orchestrator.settings import url_of_sqlite

FIRST, LAST = ("test_main_job.py",), ("test_batches.py", "test_when_things_break.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Scenarios begin before other tests: they wait for processes most of the time, and would be the last to end."""
    scenarios = [item for item in items if item.path.parent == Path(__file__).parent]
    for item in scenarios:
        item.add_marker("slow")
    scenarios.sort(key=lambda item: (item.path.name not in FIRST, item.path.name in LAST))
    others = set(items).difference(scenarios)
    items[:] = [*scenarios, *(item for item in items if item in others)]


@pytest.fixture(scope="package")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two card groups."""
    folder = tmp_path_factory.mktemp("lab")
    with running_lab(folder, url_of_sqlite(folder / "tx81.db")) as made:
        yield made


@pytest.fixture(scope="package")
def own_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two card groups for tests that make wrong builds: what runs there never takes a build from the cache."""
    folder = tmp_path_factory.mktemp("own")
    with running_lab(folder, url_of_sqlite(folder / "tx81.db")) as made:
        yield made


@pytest.fixture(scope="package")
def kcore(lab: Lab) -> int:
    """A job that made a kcore."""
    return lab.run(lab.pipeline())["compile"].id


@pytest.fixture(scope="package")
def whole_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """All eight card groups."""
    folder = tmp_path_factory.mktemp("host")
    with running_lab(folder, f"sqlite:///{folder}/tx81.db", groups=8) as made:
        yield made
