"""Which paths of the server a request may name."""

from pathlib import Path

import pytest

from orchestrator.catalog.paths import allowed_path
from orchestrator.errors import PathRefused
from orchestrator.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A stack that was started in a folder in which its state is."""
    for name in ("q.txt", "below/q.txt", ".hidden/q.txt", ".env", "state/admin-token", "state/tree/q.txt"):
        file = tmp_path / "started" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("question\n")
    (tmp_path / "outside.txt").write_text("question\n")
    started = tmp_path / "started"
    return Settings(state_dir=started / "state", allowed_roots=(started / "state/tree",), start_folder=started)


@pytest.mark.parametrize("name", ["q.txt", "below/q.txt", "state/tree/q.txt"])
def test_what_is_below_the_folder_of_the_start_or_a_root_may_be_named(settings, tmp_path, name):
    path = tmp_path / "started" / name

    assert allowed_path(settings, f"{path}", "path") == path


@pytest.mark.parametrize("name", [".env", ".hidden/q.txt", "state/admin-token", "../outside.txt", "link", "state"])
def test_hidden_files_the_state_and_what_is_outside_may_not(settings, tmp_path, name):
    (tmp_path / "started" / "link").symlink_to(tmp_path / "started" / "state" / "admin-token")

    with pytest.raises(PathRefused):
        allowed_path(settings, str(tmp_path / "started" / name), "path")


def test_a_root_around_the_state_folder_does_not_open_it(settings, tmp_path):
    around = settings.model_copy(update={"allowed_roots": (tmp_path,)})

    assert allowed_path(around, str(tmp_path / "outside.txt"), "path") == tmp_path / "outside.txt"
    with pytest.raises(PathRefused, match="is not under an allowed root"):
        allowed_path(around, str(tmp_path / "started/state/admin-token"), "path")
