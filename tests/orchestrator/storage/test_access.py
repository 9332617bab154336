"""What hosts share has the access that its folder was made with, although services are private."""

import os
import stat
from pathlib import Path

import pytest

from orchestrator.storage.access import open_as
from orchestrator.storage.artifacts import ArtifactStore


@pytest.fixture(autouse=True)
def private_service():
    before = os.umask(0o077)
    yield
    os.umask(before)


def modes(top: Path) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in (top, *top.rglob("*")) if path.is_dir()}


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o2775])
def test_all_folders_of_the_store_are_as_open_as_its_top(tmp_path: Path, mode: int):
    (tmp_path / "store").mkdir()
    (tmp_path / "store").chmod(mode)

    store = ArtifactStore(tmp_path / "store")
    store.put_bytes(b"one")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").write_bytes(b"two")
    store.put_tree(tmp_path / "tree")

    assert modes(tmp_path / "store") == {mode}


def test_a_store_that_nobody_made_before_is_private(tmp_path: Path):
    ArtifactStore(tmp_path / "store").put_bytes(b"one")

    assert modes(tmp_path / "store") == {0o700}


def test_an_unpacked_tree_is_as_open_as_the_folder_that_it_goes_to(tmp_path: Path):
    top, tree = tmp_path / "models", tmp_path / "new"
    top.mkdir()
    top.chmod(0o755)
    (tree / "below").mkdir(parents=True)
    (tree / "below/file").write_bytes(b"")

    open_as(top, tree)

    assert modes(tree) == {0o755}
    assert stat.S_IMODE((tree / "below/file").stat().st_mode) == 0o644
