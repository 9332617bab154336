import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tx81.state import private_state, private_umask

pytestmark = pytest.mark.slow

LIKE_OURS = [
    "tx81.db",
    "tx81.db-wal",
    "admin-token",
    "admin-token.server",
    "logs/api.log",
    "broker/valkey.conf",
    "flower/flower.db",
    "work/1/x",
]


def modes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): f"{stat.S_IMODE(path.lstat().st_mode):o}"
        for path in (folder, *folder.rglob("*"))
        if not path.is_symlink()
    }


def filled(folder: Path, *more: str) -> Path:
    for name in (*LIKE_OURS, *more):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    return folder


@pytest.fixture(autouse=True)
def shared_umask():
    before = os.umask(0o002)
    yield
    os.umask(before)


def test_a_new_state_folder_is_private_with_all_that_is_above_it(tmp_path):
    private_state(tmp_path / "new" / "state")

    assert modes(tmp_path / "new") == {".": "700", "state": "700"}


def test_a_folder_that_others_could_read_is_private_afterwards(tmp_path):
    state = filled(tmp_path / "state")

    private_state(state)

    found = modes(state)
    assert {found[name] for name in (".", "logs", "broker", "flower", "work")} == {"700"}
    assert {found[name] for name in LIKE_OURS if name != "work/1/x"} == {"600"}


def test_a_folder_that_holds_other_things_too_keeps_its_mode_and_they_theirs(tmp_path):
    state = filled(tmp_path / "lib", "other/file", "store/sha256/aa/x")
    before = modes(state)

    private_state(state)

    found = modes(state)
    assert (found["tx81.db"], found["logs"]) == ("600", "700")
    assert all(found[name] == before[name] for name in (".", "other", "other/file", "store"))


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "state").mkdir()
    (tmp_path / "state/logs").symlink_to(tmp_path / "theirs")

    private_state(tmp_path / "state")

    assert modes(tmp_path)["theirs"] == "775"


def test_what_is_made_inside_is_private_and_only_there(tmp_path):
    with private_umask():
        (tmp_path / "in").write_text("")
    (tmp_path / "out").write_text("")

    assert modes(tmp_path) == {".": "700", "in": "600", "out": "664"}


@pytest.mark.parametrize("there", [True, False], ids=["there", "new"])
def test_a_service_leaves_nothing_that_others_may_read(tmp_path, there):
    state = tmp_path / "state"
    if there:
        state.mkdir()
    env = {**os.environ, "TX81_STATE_DIR": str(state)}

    subprocess.run([sys.executable, "-P", "-m", "migrations"], env=env, check=True)

    assert modes(state) == {".": "700", "tx81.db": "600"}
