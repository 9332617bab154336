"""Running labs, shared by all scenarios that leave them as they were.

The tests of one lab are one group, so that one process runs them; what changes a lab for good runs last, or in its own.
"""

from collections.abc import Iterator

import pytest
from lab import Lab, running_lab

LAST = ("test_batches.py", "test_when_things_break.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Labs first: they wait for processes most of the time, and would be the last to end."""
    order = {True: 0, False: 3}

    def rank(item: pytest.Item) -> int:
        if item.path.parent.name != "scenarios":
            return order[False]
        return 2 if item.path.name in LAST else 0 if item.path.name == "test_main_job.py" else 1

    items.sort(key=rank)


@pytest.fixture(scope="package")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two card groups."""
    folder = tmp_path_factory.mktemp("lab")
    with running_lab(folder, f"sqlite:///{folder}/tx81.db") as made:
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
