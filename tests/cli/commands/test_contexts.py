import io
import json
import stat
from pathlib import Path

import pytest


@pytest.fixture
def visitor(at_site, monkeypatch, tmp_path):
    """A person in a folder of their own who has no server and no token yet."""
    for name in ("TX81_SERVER", "TX81_TOKEN", "TX81_STATE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO(at_site.token + "\n"))
    return at_site


def test_after_a_login_commands_ask_that_server_with_that_token(visitor, tx81):
    made = tx81("login", visitor.server + "/", "--name", "lab")

    shown = tx81("whoami", "--output", "json").document
    assert (made.code, tx81("jobs").code) == (0, 0)
    assert (shown["name"], shown["scopes"], shown["server"]) == ("admin", ["admin"], visitor.server)
    assert (shown["server_from"], shown["token_from"]) == ("context lab", "context")


def test_the_file_of_contexts_is_for_its_owner_alone_and_lists_show_no_token(visitor, tx81, tmp_path):
    tx81("login", visitor.server)

    listed = tx81("context", "--output", "json")

    assert stat.S_IMODE((tmp_path / "contexts.json").stat().st_mode) == 0o600
    assert [each["server"] for each in listed.document["contexts"]] == [visitor.server]
    assert visitor.token not in listed.out


def test_a_login_with_a_token_that_is_refused_stores_nothing(visitor, tx81, monkeypatch, tmp_path):
    monkeypatch.setattr("sys.stdin", io.StringIO("tx81_wrong\n"))

    ran = tx81("login", visitor.server)

    assert ran.code == 3
    assert "nothing was stored" in ran.err
    assert not (tmp_path / "contexts.json").exists()


def test_a_context_is_named_for_one_command_and_changed_for_all(visitor, tx81, tmp_path):
    document = {
        name: {"server": server, "token": visitor.token}
        for name, server in (("lab", visitor.server), ("away", "http://127.0.0.1:9"))
    }
    (tmp_path / "contexts.json").write_text(json.dumps({"current": "away", "contexts": document}))

    away, lab = tx81("jobs"), tx81("jobs", "--context", "lab")
    changed, after = tx81("context", "use", "lab"), tx81("jobs")
    removed, none = tx81("context", "remove", "lab"), tx81("jobs")

    assert [ran.code for ran in (away, lab, changed, after, removed, none)] == [3, 0, 0, 0, 0, 3]
    assert "tx81 context use NAME" in none.err


def test_a_token_of_a_context_that_is_refused_is_renewed_by_a_login(visitor, tx81, tmp_path):
    document = {"lab": {"server": visitor.server, "token": "tx81_old"}}
    (tmp_path / "contexts.json").write_text(json.dumps({"current": "lab", "contexts": document}))

    assert f"log in again: tx81 login {visitor.server}" in tx81("jobs").err


def test_a_login_names_its_server_where_a_token_file_cannot_be_used(visitor, tx81, tmp_path):
    (tmp_path / "large").write_text("x" * 5000)

    missing = tx81("login", visitor.server, "--token-file", tmp_path / "nothing")
    large = tx81("login", visitor.server, "--token-file", tmp_path / "large")

    assert f"tx81 login {visitor.server}" in missing.err
    assert "it is too large" in large.err


def test_an_unknown_context_is_refused_with_those_there_are(visitor, tx81):
    tx81("login", visitor.server, "--name", "lab")

    ran = tx81("jobs", "--context", "nowhere")

    assert ran.code == 2
    assert "known: lab" in ran.err


def test_the_address_beside_the_token_of_this_folder_is_asked(visitor, tx81):
    Path(".tx81").mkdir()
    Path(".tx81/admin-token").write_text(visitor.token)
    Path(".tx81/admin-token.server").write_text(visitor.server + "\n")

    shown = tx81("whoami", "--output", "json").document

    assert shown["server"] == visitor.server
    assert shown["token_from"] == ".tx81/admin-token"


def test_a_token_without_an_address_is_sent_nowhere(visitor, tx81, monkeypatch):
    Path(".tx81").mkdir()
    Path(".tx81/admin-token.server").write_text(visitor.server + "\n")
    monkeypatch.setenv("TX81_TOKEN", visitor.token)

    ran = tx81("jobs")

    assert (ran.code, ran.out) == (3, "")
    assert "tx81 login URL" in ran.err


def test_the_api_leaves_its_address_beside_its_token(site):
    beside = site.token_file.with_name("admin-token.server")

    assert beside.read_text().strip() == site.server


def test_a_damaged_file_of_contexts_is_one_line_with_the_remedy(visitor, tx81, tmp_path):
    (tmp_path / "contexts.json").write_text("[]")

    ran = tx81("jobs")

    assert ran.code == 2
    assert "log in again" in ran.err
    assert ran.err.count("\n") == 1


def test_a_rotated_token_is_printed_once_and_the_old_one_is_refused(at_site, tx81, monkeypatch):
    old = tx81("tokens", "create", "nightly", "--scope", "viewer").out.strip()

    fresh = tx81("tokens", "rotate", "nightly").out.strip()

    codes = []
    for token in (old, fresh):
        monkeypatch.setenv("TX81_TOKEN", token)
        codes.append(tx81("whoami").code)
    assert codes == [3, 0]
