"""Files of the caller's machine, named on the command line and in documents."""

import json
import os
from pathlib import Path

import pytest

from cli.regular_files import open_regular

QUESTION = "你是谁？"


def pipeline(prompts, **more):
    """A pipeline with an inference of these prompts."""
    convert = {"spec": {"kind": "convert", "model": "tiny", "backend_type": "qwen2_7b_bf16"}}
    compiled = {"spec": {"kind": "compile", "c_source": {"job": "convert", "artifact": "c_source"}}}
    spec = {
        "kind": "infer",
        "model": "tiny",
        "kcore": {"job": "compile", "artifact": "kcore"},
        "prompts": prompts,
        **more,
    }
    return {"name": "own", "jobs": {"convert": convert, "compile": compiled, "infer": {"spec": spec}}}


@pytest.fixture
def submitted(tx81, at_site, tmp_path):
    """Submits a pipeline with these prompts; the bytes that its inference gets, and what it is called."""

    def submit(prompts, folder=tmp_path, **more):
        folder.mkdir(exist_ok=True)
        (folder / "own.json").write_text(json.dumps(pipeline(prompts, **more)))
        made = tx81("submit", folder / "own.json", "--output", "json")
        assert made.code == 0, made.err
        job = next(job["id"] for job in made.document["jobs"] if job["kind"] == "infer")
        given = {each["name"]: each for each in tx81("show", job, "--output", "json").document["inputs"]}
        found = next(
            each for each in tx81("artifacts", "--name", "prompts", "--output", "json").document
            if each["digest"] == given["prompts"]["digest"]
        )  # fmt: skip
        target = tmp_path / f"got-{job}"
        assert tx81("artifacts", "get", found["id"], "--to", target).code == 0
        return target.read_bytes(), given["prompts"]["file_name"]

    return submit


def test_a_file_of_the_caller_is_sent_and_found_beside_the_document_that_names_it(submitted, tmp_path):
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "mine.txt").write_text(f"{QUESTION}\n\n beside \n")

    assert submitted({"path": "mine.txt"}, tmp_path / "below") == (f"{QUESTION}\n\n beside \n".encode(), "mine.txt")


def test_a_file_that_changes_after_it_was_read_is_sent_as_it_was_read(tmp_path):
    from cli.input.files import OwnFiles

    (tmp_path / "mine.txt").write_text("before\n")
    files = OwnFiles()
    source = files.source("prompts", str(tmp_path / "mine.txt"), "--prompts")
    (tmp_path / "mine.txt").write_text("after\n")

    (read,) = files._read.values()
    assert read.content == b"before\n"
    assert source == files.source("prompts", source["digest"], "--prompts")


def test_questions_in_the_document_are_a_file_with_one_a_line(submitted):
    content, name = submitted({"lines": [QUESTION, "--help", "a\u2028b"]})

    assert content.decode() == f"{QUESTION}\n--help\na\u2028b\n"
    assert name == "prompts.txt"


def test_a_file_of_the_server_is_named_as_one(submitted, at_site):
    content, name = submitted({"path": f"server:{at_site.tools['prompts']}"})

    assert content == Path(at_site.tools["prompts"]).read_bytes()
    assert name == Path(at_site.tools["prompts"]).name


@pytest.mark.parametrize("name", ["--help", "-rf", "a b;$(touch x).txt", "问题.txt", "\udcff\udcfe.txt", "x" * 250])
def test_a_file_with_a_hostile_name_is_stored_under_a_safe_one(submitted, tmp_path, name):
    (tmp_path / name).write_text(f"of {len(name)} characters: {name!a}\n")

    _, stored = submitted({"path": name}) if name.isprintable() else submitted_by_name(submitted, tmp_path, name)

    assert not stored.startswith(("-", "."))
    assert not set(stored) & set(" ;$()/")


def submitted_by_name(submitted, tmp_path, name):
    """A name that is not UTF-8 cannot be written in a document: a link names the file."""
    (tmp_path / "link.txt").symlink_to(tmp_path / name)
    return submitted({"path": "link.txt"})


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: path.mkdir(), "is a folder"),
        (os.mkfifo, "is not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "is not a regular file"),
        (lambda path: path.symlink_to(path), "cannot be read on this machine"),
        (lambda path: path.write_bytes(b"\xff\xfe\n"), "is not UTF-8"),
        (lambda path: path.write_bytes(b"a\0b"), "NUL"),
        (lambda path: path.write_bytes(b" \n\r\n"), "holds no question"),
        (lambda path: path.write_bytes(b""), "holds no question"),
        (lambda path: path.write_bytes(b"q\n" * 1_000_001), "more than 1000000 lines"),
        (lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 65 << 20), "larger than 64 MiB"),
        (lambda path: None, "No such file"),
    ],
)
def test_a_file_that_holds_no_questions_is_refused_in_one_line_before_anything_is_asked(
    tx81, tmp_path, monkeypatch, make, told
):
    monkeypatch.setenv("TX81_SERVER", "http://127.0.0.1:1")
    monkeypatch.setenv("TX81_TOKEN", "t")
    make(tmp_path / "q.txt")

    ran = tx81("run", "--model", "tiny", "--backend-type", "b", "--prompts", tmp_path / "q.txt")

    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert ran.err.startswith("tx81: --prompts: ")
    assert told in ran.err


def test_an_old_document_with_a_path_of_the_server_says_how_to_write_it_now(tx81, at_site, tmp_path):
    (tmp_path / "own.json").write_text(json.dumps(pipeline({"path": "/srv/prompts/q.txt"})))

    ran = tx81("submit", tmp_path / "own.json")

    assert ran.code == 2
    assert "jobs.infer.spec.prompts.path: /srv/prompts/q.txt cannot be read on this machine" in ran.err
    assert "write server:/srv/prompts/q.txt" in ran.err


@pytest.mark.parametrize(
    ("prompts", "told"),
    [
        ({"lines": []}, "prompts.lines"),
        ({"lines": ["  "]}, "lines.0: is blank"),
        ({"lines": ["a\nb"]}, "has several lines"),
        ({"lines": ["a\0b"]}, "NUL"),
        ({"lines": "a"}, "prompts.lines"),
        ({"lines": ["a"], "path": "q.txt"}, "prompts"),
        ({"lines": ["a"] * 1001}, "prompts.lines"),
        ({"path": "server:q.txt"}, "not an absolute path of the server"),
        ({}, "give `lines`, `path`"),
    ],
)
def test_prompts_in_a_document_that_are_none_are_one_line(tx81, at_site, tmp_path, prompts, told):
    (tmp_path / "own.json").write_text(json.dumps(pipeline(prompts)))

    ran = tx81("submit", tmp_path / "own.json")

    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert told in ran.err


@pytest.mark.parametrize("words", [[], ["--ask", "a", "--prompts", "q.txt"]])
def test_a_run_has_questions_of_a_file_or_of_its_command_line(tx81, words):
    ran = tx81("run", "--model", "tiny", "--backend-type", "b", *words)

    assert ran.code == 2
    assert "give either --prompts FILE or --ask QUESTION" in ran.err


@pytest.mark.parametrize(
    ("make", "told"), [(lambda path: path.mkdir(), "is a folder; pack it"), (os.mkfifo, "not a regular file")]
)
def test_an_archive_that_is_no_file_is_refused_without_waiting(tx81, at_site, tmp_path, make, told):
    make(tmp_path / "kcore")

    ran = tx81("artifacts", "import-kcore", tmp_path / "kcore")

    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert told in ran.err


def test_a_profile_of_the_caller_is_sent_with_the_release_it_describes(tx81, at_site, tmp_path):
    (tmp_path / "mine.yaml").write_text("extends: txnn_1.2.1_build0307\nenvironment: {TX_LOG_LEVEL: '2'}\n")
    (tmp_path / "wrong.yaml").write_text("extends: txnn_1.2.1_build0307\nkind: {}\n")
    root = f"server:{at_site.tools['home']}"

    made = tx81("releases", "add", "sent", tmp_path / "mine.yaml", root, "--output", "json")
    refused = tx81("releases", "add", "wrong", tmp_path / "wrong.yaml", root)

    assert made.code == 0, made.err
    assert made.document["profile"]["environment"]["TX_LOG_LEVEL"] == "2"
    assert (refused.code, refused.err.count("\n")) == (5, 1)
    assert "wrong.yaml line 2: kind: unknown key" in refused.err


def test_a_pipe_that_the_shell_has_opened_is_read():
    reading, writing = os.pipe()
    os.write(writing, "你是谁？\n".encode())
    os.close(writing)

    with open_regular(Path(f"/dev/fd/{reading}")) as file:
        assert file.read().decode() == "你是谁？\n"
    os.close(reading)
