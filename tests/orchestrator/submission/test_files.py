"""Files that people write: prompts and reference answers."""

import json
from pathlib import Path

import pytest
from builders.desk import request_of

from orchestrator.catalog.text_files import safe_name
from orchestrator.errors import BadSpec, PathRefused
from orchestrator.results.text_files import FILE_LIMIT
from orchestrator.settings import Settings
from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.submission.files import Intake

PAIR = {"question": "一加一？", "answer": "二"}
ONCE = json.dumps(PAIR, ensure_ascii=False)


def _take_in(store: ArtifactStore, folder: Path, content: bytes, *, name: str = "prompts", file: str = "file.txt"):
    (folder / file).write_bytes(content)
    return _take_path(store, folder, folder / file, name=name)


def _take_path(store: ArtifactStore, root: Path, path: Path, *, name: str = "prompts"):
    digest = {"digest": f"sha256:{'c' * 64}"}
    spec = {"kind": "infer", "model": "m", "kcore": digest, "prompts": digest, name: {"path": str(path)}}
    return Intake(Settings(allowed_roots=(root,)), store).take_in(request_of(spec).spec)[name]


@pytest.mark.parametrize(
    "content",
    ["你好\n".encode(), b"one\r\ntwo\r\n", b"no newline", b"\xef\xbb\xbf" + "你好".encode(), b"\n\n  \nlast\n"],
    ids=["chinese", "crlf", "no newline", "bom", "blank lines"],
)
def test_prompts_are_stored_byte_for_byte(store: ArtifactStore, tmp_path: Path, content: bytes):
    taken = _take_in(store, tmp_path, content)

    assert store.path(taken.digest).read_bytes() == content
    assert taken.size == len(content)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no question"),
        (b"\n \t\r\n", "no question"),
        (b"\xef\xbb\xbf", "no question"),
        ("你好".encode("gbk"), "not UTF-8: byte 0 is 0xc4"),
        (b"fine\n\xff", "not UTF-8: byte 5 is 0xff"),
        ("hello".encode("utf-16"), "not UTF-8"),
        (b"a\0b", "NUL"),
    ],
    ids=["empty", "blank", "only a bom", "gbk", "bad byte", "utf-16", "nul"],
)
def test_what_is_no_text_with_a_question_is_refused(store: ArtifactStore, tmp_path: Path, content: bytes, says: str):
    with pytest.raises(BadSpec) as refusal:
        _take_in(store, tmp_path, content)

    assert says in refusal.value.detail
    assert refusal.value.field == "spec.prompts.path"


@pytest.mark.parametrize(
    "content",
    [
        ONCE,
        f"\ufeff{ONCE}\r\n\r\n{ONCE}\r\n",
        json.dumps({"question": "q", "answer": "one\u2028line", "more": 1}, ensure_ascii=False),
        json.dumps({"question": "q", "response": "as a run writes it"}),
        json.dumps({"question": "q", "answer": ""}),
    ],
    ids=["one", "bom and crlf", "line separator inside", "response", "empty answer"],
)
def test_reference_answers_are_taken_in(store: ArtifactStore, tmp_path: Path, content: str):
    taken = _take_in(store, tmp_path, content.encode(), name="golden")

    assert store.path(taken.digest).read_bytes() == content.encode()


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("not json", 2),
        ('["question", "answer"]', 2),
        ('{"question": "q"}', 2),
        ('{"question": 1, "answer": "a"}', 2),
        ('{"question": "q", "answer": null}', 2),
        ("[" * 100_000, 2),
        ("\n\nnull", 4),
    ],
    ids=["no json", "list", "no answer", "number", "null", "deep", "after blank lines"],
)
def test_a_line_that_is_no_reference_answer_is_named(store: ArtifactStore, tmp_path: Path, line: str, number: int):
    with pytest.raises(BadSpec) as refusal:
        _take_in(store, tmp_path, f"{ONCE}\n{line}\n".encode(), name="golden")

    assert refusal.value.detail.startswith(f"line {number} is not")
    assert refusal.value.field == "spec.golden.path"


def test_a_file_without_an_answer_is_refused(store: ArtifactStore, tmp_path: Path):
    with pytest.raises(BadSpec):
        _take_in(store, tmp_path, b"\n", name="golden")


def test_a_file_that_is_too_large_is_refused(store: ArtifactStore, tmp_path: Path):
    large = tmp_path / "large.txt"
    with large.open("wb") as file:
        file.truncate(FILE_LIMIT + 1)

    with pytest.raises(BadSpec, match="larger than 64 MiB"):
        _take_path(store, tmp_path, large)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that opens but can not be read")
def test_a_file_that_can_not_be_read_is_refused(store: ArtifactStore):
    with pytest.raises(PathRefused, match="cannot be read"):
        _take_path(store, Path("/proc"), Path("/proc/self/mem"))


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("问题 一.txt", "问题_一.txt"),
        ("-rf.txt", "rf.txt"),
        (".hidden", "hidden"),
        ("a;b$c.txt", "a_b_c.txt"),
        ("--", "file"),
    ],
)
def test_a_file_name_can_not_be_taken_for_a_flag(store: ArtifactStore, tmp_path: Path, name: str, kept: str):
    assert _take_in(store, tmp_path, b"hello", file=name).file_name == kept


def test_nothing_is_read_when_no_root_is_configured(store: ArtifactStore, tmp_path: Path):
    digest = {"digest": f"sha256:{'c' * 64}"}
    (tmp_path / "prompts.txt").write_text("hello")
    prompts = {"path": str(tmp_path / "prompts.txt")}
    spec = request_of({"kind": "infer", "model": "m", "kcore": digest, "prompts": prompts}).spec

    with pytest.raises(PathRefused, match="none is configured"):
        Intake(Settings(), store).take_in(spec)


def _take_both(store: ArtifactStore, folder: Path, prompts: object, golden: object, require: object = None):
    spec = {
        "kind": "infer", "model": "m", "kcore": {"digest": f"sha256:{'c' * 64}"}, "prompts": prompts, "golden": golden,
        "require": require,
    }  # fmt: skip
    return Intake(Settings(allowed_roots=(folder,)), store).take_in(request_of(spec).spec)


@pytest.mark.parametrize("stored", [(), ("prompts",), ("golden",), ("prompts", "golden")], ids=str)
def test_a_golden_of_other_prompts_is_refused_with_counts(
    store: ArtifactStore, tmp_path: Path, stored: tuple[str, ...]
):
    contents = {"prompts": b"Hello there you\nAnd you?\n", "golden": b'{"question": "Who are you?", "answer": "z"}\n'}
    given = {}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        given[name] = {"digest": store.put_bytes(content).digest} if name in stored else {"path": str(tmp_path / name)}

    with pytest.raises(
        BadSpec, match="none of the 2 prompts: it has 1 questions, the first is 'Who are you"
    ) as refusal:
        _take_both(store, tmp_path, **given)

    assert refusal.value.field == "spec.golden"


def test_a_golden_for_some_of_the_prompts_is_taken_only_if_nothing_is_required(store: ArtifactStore, tmp_path: Path):
    (tmp_path / "prompts").write_text("one\rtwo\rthree")
    (tmp_path / "golden").write_text('{"question": " two", "answer": ""}')
    both = {"path": str(tmp_path / "prompts")}, {"path": str(tmp_path / "golden")}

    taken = _take_both(store, tmp_path, *both, require="report")
    refusals = []
    for require in (None, "exact", {"similarity": 0.5}):
        with pytest.raises(BadSpec, match="no answer to 2 of the 3 prompts; the first is prompt 1, 'one'") as refusal:
            _take_both(store, tmp_path, *both, require=require)
        refusals.append(refusal.value.field)

    assert set(taken) == {"prompts", "golden"}
    assert refusals == ["spec.golden"] * 3


def test_a_file_of_more_lines_than_anyone_writes_is_refused(store: ArtifactStore, tmp_path: Path):
    with pytest.raises(BadSpec, match="more than 1000000 lines"):
        _take_in(store, tmp_path, b"a\n" * 1_000_001)


@pytest.mark.parametrize("name", ["模" * 80, "\U00020000" * 60 + ".txt", "é" * 120])
def test_a_name_is_short_in_bytes_and_whole_in_characters(name: str):
    cut = safe_name(Path(name))

    assert len(cut.encode()) <= 180
    assert name.startswith(cut)


@pytest.mark.parametrize("what", ["file", "folder", "missing", "below a file", "link", "dangling link", "loop", "long"])
def test_what_lies_outside_the_roots_is_answered_alike_whether_it_exists(
    store: ArtifactStore, tmp_path: Path, what: str
):
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "file").write_text("secret")
    (outside / "loop").symlink_to(outside / "loop")
    (root / "link").symlink_to(outside / "file")
    (root / "dangling link").symlink_to(outside / "missing")
    places = {"folder": outside, "below a file": outside / "file" / "x", "long": outside / ("n" * 300)}
    inside = what.endswith("link")
    place = places.get(what) or (root if inside else outside) / what

    with pytest.raises(PathRefused) as refusal:
        _take_path(store, root, place)

    assert refusal.value.detail.startswith(f"{place} is not under an allowed root")


def test_a_hard_link_below_a_root_is_a_file_below_that_root(store: ArtifactStore, tmp_path: Path):
    (tmp_path / "root").mkdir()
    (tmp_path / "outside").write_text("who?")
    (tmp_path / "root/inside").hardlink_to(tmp_path / "outside")

    assert _take_path(store, tmp_path / "root", tmp_path / "root/inside").size == 4
