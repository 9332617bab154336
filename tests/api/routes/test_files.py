"""Files of prompts and goldens that are sent by a client."""

import hashlib

import pytest

from api.client import uploads
from api.client.client import ApiError, FileChanged
from api.client.uploads import send

QUESTIONS = "你是谁？\n".encode() * 400


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def begun(http, content: bytes, sent: bytes | None = None) -> str:
    """An upload of these bytes, of which some have arrived."""
    digest = digest_of(content)
    http.post("/uploads", json={"digest": digest, "size": len(content)})
    http.patch(f"/uploads/{digest}", content=content if sent is None else sent, headers={"Upload-Offset": "0"})
    return digest


def imported(http, digest: str, **facts):
    return http.post("/artifacts/files", json={"upload": digest, "name": "prompts", "file_name": "q.txt", **facts})


def test_a_sent_file_is_an_artifact_that_specs_name_by_digest_and_its_upload_is_gone(client, http):
    digest = client.imports.file("prompts", QUESTIONS, "../-q;.txt")

    (made,) = client.artifacts(digest=digest).items
    assert (made.name, made.file_name, made.size) == ("prompts", "q_.txt", len(QUESTIONS))
    assert b"".join(client.content(made.id)) == QUESTIONS
    assert http.get(f"/uploads/{digest}").status_code == 404


def test_what_is_stored_is_not_sent_again(client, http, monkeypatch):
    client.imports.file("prompts", QUESTIONS, "q.txt")
    monkeypatch.setattr(uploads, "PIECE", 0)  # nothing could be sent

    assert client.imports.file("prompts", QUESTIONS, "other.txt") == digest_of(QUESTIONS)
    assert imported(http, digest_of(QUESTIONS)).json()["file_name"] == "q.txt"


def test_an_upload_that_was_cut_is_continued(client, http):
    begun(http, QUESTIONS, QUESTIONS[:700])

    digest = client.imports.file("prompts", QUESTIONS, "q.txt")

    assert b"".join(client.content(client.artifacts(digest=digest).items[0].id)) == QUESTIONS


def test_half_a_file_is_not_taken_in(http):
    digest = begun(http, QUESTIONS, QUESTIONS[:700])

    refused = imported(http, digest)

    assert (refused.status_code, refused.json()["field"]) == (422, "upload")
    assert "only 700 of" in refused.json()["detail"]
    assert http.get("/artifacts").json()["items"] == []


def test_bytes_that_are_not_those_that_were_announced_are_refused_and_forgotten(http):
    digest = begun(http, QUESTIONS, QUESTIONS.replace("你".encode(), "我".encode()))

    refused = imported(http, digest)

    assert refused.status_code == 422
    assert "send the file again" in refused.json()["detail"]
    assert http.get(f"/uploads/{digest}").status_code == 404


@pytest.mark.parametrize(
    ("content", "facts", "told"),
    [
        (b"\xff\n", {}, "not UTF-8"),
        (b" \n", {}, "holds no question"),
        (b"a\0b\n", {}, "NUL"),
        (b"no json\n", {"name": "golden"}, "line 1 is not"),
        (b"q\n", {"name": "kcore"}, "golden"),
        (b"q\n", {"file_name": ""}, "file_name"),
        (b"q\n", {"file_name": "x" * 256}, "file_name"),
        (b"q\n", {"path": "/etc/passwd"}, "path"),
    ],
)
def test_a_file_that_is_none_of_prompts_and_goldens_is_refused(http, content, facts, told):
    refused = imported(http, begun(http, content), **facts)

    assert refused.status_code == 422
    assert told in refused.text
    assert http.get("/artifacts").json()["items"] == []


def test_golden_answers_that_were_sent_are_paired_with_stored_prompts(client):
    prompts = client.imports.file("prompts", b"1 + 1?\n2 + 2?\n", "q.txt")

    made = client.imports.send_golden(b"2\n4\n", "answers.txt", prompts={"digest": prompts}, format="lines")

    assert made.facts == {"answers": 2, "source": "answers.txt"}
    with pytest.raises(ApiError, match="after line 1 the answer to") as refused:
        client.imports.send_golden(b"2\n", "short.txt", prompts={"digest": prompts}, format="lines")
    assert refused.value.field == "upload"


def test_a_file_that_becomes_shorter_while_it_is_sent_ends_the_upload(client, tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "PIECE", 1000)
    file = tmp_path / "q.txt"
    file.write_bytes(QUESTIONS)

    def shorten(there: int, size: int) -> None:
        if there:
            file.write_bytes(b"")

    with pytest.raises(FileChanged, match="became shorter while it was sent"):
        send(client._connection, file, shorten)
