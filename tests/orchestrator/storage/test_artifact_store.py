import json
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path

import pytest
from eventually import eventually

from orchestrator.storage.artifacts import (
    ArtifactStore,
    DamagedArtifact,
    StoreFull,
    TargetExists,
    UnknownArtifact,
)
from orchestrator.storage.trees import BadDigest, BadManifest, Entry, Tree, UnsafeTree

NOW = timedelta(0)
ONE_HOUR = timedelta(hours=1)
HELLO = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "store")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder: nested, with an executable, an empty folder, a Chinese name and one that is not UTF-8."""
    folder = tmp_path / "model"
    (folder / "weights/层").mkdir(parents=True)
    (folder / "empty/deep").mkdir(parents=True)
    (folder / "weights/层/权重.bin").write_bytes(bytes(range(256)) * 9000)
    (folder / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (folder / "run.sh").chmod(0o755)
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe.txt")).write_text("bytes")
    return folder


def everything_below(folder: Path) -> dict[str, tuple[bytes | None, bool]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes(), os.access(path, os.X_OK)) if path.is_file() else (None, True)
        for path in folder.rglob("*")
    }


def files_below(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def test_a_file_is_found_again_by_the_hash_of_its_bytes(store, tmp_path):
    (tmp_path / "greeting").write_bytes(b"hello")

    stored = store.put_file(tmp_path / "greeting")

    assert (stored.digest, stored.size, stored.kind) == (HELLO, 5, "file")
    assert store.path(HELLO).read_bytes() == b"hello"
    assert store.path(HELLO) == store.root / "sha256/2c" / HELLO.removeprefix("sha256:")
    assert stat.S_IMODE(store.path(HELLO).stat().st_mode) == 0o444


def test_changing_the_callers_file_later_does_not_change_the_stored_one(store, tmp_path):
    original = tmp_path / "greeting"
    original.write_bytes(b"hello")
    store.put_file(original)

    with original.open("r+b") as opened:
        opened.write(b"HACKED")

    store.verify(HELLO)


def test_the_same_bytes_are_kept_once(store, tmp_path):
    (tmp_path / "greeting").write_bytes(b"hello")

    digests = {store.put_bytes(b"hello").digest, store.put_file(tmp_path / "greeting").digest}

    assert digests == {HELLO}
    assert files_below(store.root) == [store.path(HELLO)]


@pytest.mark.parametrize(
    "text", ["", "hello", "sha256:../../etc/passwd", "sha256:" + "A" * 64, f"{HELLO}\n", f"{HELLO}/x"]
)
def test_what_is_not_a_digest_never_becomes_a_path(store, text):
    with pytest.raises(BadDigest, match="is not a digest"):
        store.path(text)


def test_asking_for_a_digest_that_is_not_there_says_so(store, tmp_path):
    with pytest.raises(UnknownArtifact, match="build it again"):
        store.open(HELLO)
    with pytest.raises(UnknownArtifact):
        store.materialise(HELLO, tmp_path / "work" / "greeting")

    assert not store.exists(HELLO)
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.parametrize("link", [True, False])
def test_a_tree_comes_back_as_it_was(store, folder, tmp_path, link):
    stored = store.put_tree(folder)

    store.materialise(stored.digest, tmp_path / "work" / "model", link=link)

    assert everything_below(tmp_path / "work" / "model") == everything_below(folder)
    assert stored.kind == "tree"
    assert stored.size == store.size(stored.digest) == sum(path.stat().st_size for path in files_below(folder))


def test_a_laid_out_executable_runs(store, folder, tmp_path):
    store.materialise(store.put_tree(folder).digest, tmp_path / "laid")

    ran = subprocess.run([tmp_path / "laid/run.sh"], capture_output=True, check=True)

    assert ran.stdout == b"ran\n"


def test_linked_files_are_the_stored_ones_and_copies_are_private(store, tmp_path):
    store.put_bytes(b"hello")

    store.materialise(HELLO, tmp_path / "linked")
    store.materialise(HELLO, tmp_path / "private", link=False)
    (tmp_path / "private").write_bytes(b"changed by a tool")

    assert (tmp_path / "linked").samefile(store.path(HELLO))
    store.verify(HELLO)


def test_the_same_bytes_may_be_executable_in_one_tree_and_not_in_another(store, tmp_path):
    for name, mode in (("tool", 0o755), ("text", 0o644)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(b"hello")
        (tmp_path / name / "file").chmod(mode)

    for name in ("tool", "text"):
        store.materialise(store.put_tree(tmp_path / name).digest, tmp_path / f"laid-{name}")

    modes = [stat.S_IMODE((tmp_path / f"laid-{name}" / "file").stat().st_mode) for name in ("tool", "text")]
    assert modes == [0o555, 0o444]


def test_files_are_copied_where_links_cannot_reach(store):
    elsewhere = Path("/dev/shm")
    if elsewhere.stat().st_dev == store.root.stat().st_dev:
        pytest.skip("needs a second file system")
    target = elsewhere / f"tx81-test-{os.getpid()}-{store.root.parent.name}"
    store.put_bytes(b"hello")

    try:
        store.materialise(HELLO, target)
        assert target.read_bytes() == b"hello"
        assert stat.S_IMODE(target.stat().st_mode) == 0o444
    finally:
        target.unlink()


def test_nothing_is_laid_over_what_is_already_there(store, tmp_path):
    store.put_bytes(b"hello")
    (tmp_path / "mine").write_bytes(b"precious")

    with pytest.raises(TargetExists, match="exists already"):
        store.materialise(HELLO, tmp_path / "mine")

    assert (tmp_path / "mine").read_bytes() == b"precious"


def test_equal_folders_have_equal_digests_and_any_difference_shows(store, folder, tmp_path):
    first = store.put_tree(folder).digest
    store.materialise(first, tmp_path / "again", link=False)
    assert store.put_tree(tmp_path / "again").digest == first

    seen = {first}
    (tmp_path / "again/run.sh").chmod(0o644)
    seen.add(store.put_tree(tmp_path / "again").digest)
    (tmp_path / "again/empty/deep").rmdir()
    seen.add(store.put_tree(tmp_path / "again").digest)
    (tmp_path / "again/run.sh").rename(tmp_path / "again/go.sh")
    seen.add(store.put_tree(tmp_path / "again").digest)

    assert len(seen) == 4


def test_links_inside_a_folder_are_followed(store, folder):
    (folder / "latest").symlink_to("weights")
    (folder / "start").symlink_to(folder / "run.sh")

    paths = {entry.path: entry.executable for entry in store.entries(store.put_tree(folder).digest)}

    assert paths["latest/层/权重.bin"] is False
    assert paths["start"] is True


def test_a_folder_named_by_a_link_is_stored_as_what_it_names(store, folder, tmp_path):
    (tmp_path / "current").symlink_to(folder)

    assert store.put_tree(tmp_path / "current") == store.put_tree(folder)


@pytest.mark.parametrize("target", ["/etc/passwd", "../secret", "..", "nowhere", "loop"])
def test_a_link_that_leaves_the_folder_or_leads_nowhere_is_refused(store, folder, tmp_path, target):
    (tmp_path / "secret").write_text("not yours")
    (folder / "loop").symlink_to(target)

    with pytest.raises(UnsafeTree, match=r"^loop "):
        store.put_tree(folder)


def test_a_link_to_a_folder_above_it_is_refused_instead_of_followed_for_ever(store, folder):
    (folder / "weights/up").symlink_to("..")

    with pytest.raises(UnsafeTree, match="folder that holds it"):
        store.put_tree(folder)


def test_pipes_and_sockets_are_refused(store, folder):
    os.mkfifo(folder / "pipe")
    with pytest.raises(UnsafeTree, match=r"^pipe is"):
        store.put_tree(folder)
    with pytest.raises(UnsafeTree):
        store.put_file(folder / "pipe")

    (folder / "pipe").unlink()
    descriptor = os.open(folder, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{descriptor}/sock")
    os.close(descriptor)
    with pytest.raises(UnsafeTree, match=r"^sock is"):
        store.put_tree(folder)


def test_one_file_of_a_tree_can_be_read_and_nothing_beside_it(store, folder):
    digest = store.put_tree(folder).digest

    assert store.read_entry(digest, "run.sh") == b"#!/bin/sh\necho ran\n"
    for path in ("../model/run.sh", "/etc/passwd", "weights", "./run.sh"):
        with pytest.raises(UnknownArtifact, match="not in the tree"):
            store.read_entry(digest, path)


@pytest.mark.parametrize("path", ["../outside", "/etc/cron.d/x", "a/../../b", "", "a//b", "nul\0byte", "\udc00"])
def test_a_forged_manifest_cannot_name_a_path_outside(path):
    forged = Tree((Entry("placeholder", HELLO, 5, executable=False),)).manifest()
    forged = forged.replace(b'"placeholder"', ascii(path).replace("'", '"').replace("\\x00", "\\u0000").encode())

    with pytest.raises(BadManifest):
        Tree.from_manifest(forged)


def _file(path: object = "a", size: object = 5) -> dict:
    return {"path": path, "sha256": HELLO[7:], "size": size, "executable": False}


@pytest.mark.parametrize(
    "document",
    [
        {"files": [_file(size=float("inf"))]},
        {"files": [_file(size=-1)]},
        {"files": [_file(size="5")]},
        {"files": [_file(size=2**70)]},
        {"files": [_file(path=7)]},
        {"files": [_file(), _file()]},
        {"files": [_file(), _file("a/b/c")]},
        {"files": [_file()], "empty_folders": ["a"]},
        {"files": [_file()], "empty_folders": ["a/b"]},
        {"files": [_file()], "empty_folders": [{}]},
        {"files": 7},
        [],
    ],
    ids=str,
)
def test_a_manifest_that_cannot_be_laid_is_no_manifest(document):
    whole = {"format": "tx81-tree/1", "empty_folders": [], **document} if isinstance(document, dict) else document

    with pytest.raises(BadManifest):
        Tree.from_manifest(json.dumps(whole).encode())


@pytest.mark.parametrize("bystander", [".git/config", ".DS_Store", "sub/._a", "sub/a.lock", "a~"])
def test_what_no_tool_reads_is_no_part_of_a_tree(store, tmp_path, bystander):
    (tmp_path / "tree/sub").mkdir(parents=True)
    (tmp_path / "tree/sub/a").write_text("a")
    before = store.put_tree(tmp_path / "tree")
    (tmp_path / "tree" / bystander).parent.mkdir(exist_ok=True)
    (tmp_path / "tree" / bystander).write_text("changes with every look")

    assert store.put_tree(tmp_path / "tree") == before


def test_a_folder_that_is_too_deep_is_refused(store, tmp_path):
    (tmp_path / "deep" / "/".join("d" * 70)).mkdir(parents=True)

    with pytest.raises(UnsafeTree, match="deeper than 64 folders"):
        store.put_tree(tmp_path / "deep")


def test_a_file_that_looks_like_a_manifest_is_laid_as_a_file(store, folder, tmp_path):
    manifest = Tree((Entry("x", HELLO, 5, executable=False),)).manifest()
    digest = store.put_bytes(manifest).digest

    store.materialise(digest, tmp_path / "laid")

    assert (tmp_path / "laid").read_bytes() == manifest


def test_damage_is_found_and_named(store, folder):
    digest = store.put_tree(folder).digest
    store.verify(digest)
    victim = next(entry for entry in store.entries(digest) if entry.path == "run.sh")

    store.path(victim.digest).chmod(0o644)
    store.path(victim.digest).write_bytes(b"flipped")

    with pytest.raises(DamagedArtifact, match=r"run\.sh") as caught:
        store.verify(digest)
    assert caught.value.facts["damaged"] == ["run.sh"]


def _put_many(root: Path, folder: Path) -> set[str]:
    store = ArtifactStore(root)
    return {store.put_tree(folder).digest for _ in range(10)}


def test_many_processes_may_store_the_same_tree_at_once(store, folder):
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        digests = set().union(*pool.map(_put_many, [store.root] * 4, [folder] * 4))

    (digest,) = digests
    store.verify(digest)
    assert [path for path in files_below(store.root) if "temp" in path.parts[len(store.root.parts) :]] == []


def test_a_writer_killed_half_way_leaves_only_a_temp_file(store, tmp_path):
    with (tmp_path / "huge").open("wb") as huge:
        huge.truncate(1 << 34)
    script = (
        "import sys; from pathlib import Path; from orchestrator.storage.artifacts import ArtifactStore\n"
        "ArtifactStore(Path(sys.argv[1])).put_file(Path(sys.argv[2]))\n"
    )
    child = subprocess.Popen([sys.executable, "-c", script, store.root, tmp_path / "huge"])
    try:
        eventually(lambda: any(path.stat().st_size for path in files_below(store.root / "temp")))
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()

    (leftover,) = files_below(store.root)

    assert leftover.parent.name == "temp"
    assert store.sweep_temp(ONE_HOUR) == 0
    assert store.sweep_temp(NOW) == 1
    assert files_below(store.root) == []


def _fill(root: Path, source: Path, target: Path) -> list[str]:
    store = ArtifactStore(root)
    small = store.put_bytes(b"x" * 3000).digest
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
    told = []
    for attempt in (lambda: store.put_file(source), lambda: store.materialise(small, target, link=False)):
        try:
            attempt()
        except StoreFull as error:
            told.append(error.detail)
    return told


def test_when_there_is_no_room_the_error_says_so_and_nothing_half_written_shows(store, tmp_path):
    (tmp_path / "big").write_bytes(b"y" * 10_000_000)

    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        told = pool.submit(_fill, store.root, tmp_path / "big", tmp_path / "work/laid").result()

    assert [detail.partition(":")[0] for detail in told] == [
        f"cannot write below {store.root}",
        f"cannot write below {tmp_path / 'work'}",
    ]
    assert len(files_below(store.root)) == 1
    assert list((tmp_path / "work").iterdir()) == []


def test_garbage_is_what_nothing_kept_reaches_and_nobody_stored_lately(store, folder):
    kept, loose = store.put_tree(folder).digest, store.put_bytes(b"hello").digest

    assert store.collect_garbage(reachable=[kept], older_than=ONE_HOUR) == 0
    assert store.collect_garbage(reachable=[kept], older_than=NOW) == 5

    store.verify(kept)
    assert not store.exists(loose)


def test_storing_something_again_makes_it_young(store):
    store.put_bytes(b"hello")
    os.utime(store.path(HELLO), (0, 0))

    store.put_bytes(b"hello")

    assert store.collect_garbage(reachable=[], older_than=ONE_HOUR) == 0
    assert store.exists(HELLO)
