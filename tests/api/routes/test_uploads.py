import gzip
import hashlib
import io
import json
import socket
import tarfile
from pathlib import Path

import pytest
from eventually import eventually
from sqlalchemy import text
from starlette.testclient import TestClient

from api.client import uploads
from api.client.client import ApiError
from orchestrator import tokens
from orchestrator.catalog.uploads import UploadRequest, Uploads

CONFIG = {"model_type": "qwen2", "hidden_size": 64}


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.fixture
def archive(tmp_path):
    """A small model with both of its config.json variants, larger than a few pieces."""
    return packed(tmp_path / "tiny.tar", {"config.json": CONFIG, "config_tx81.json": {**CONFIG, "param_dir": ""}})


def packed(file, configs):
    """An archive of the small model with these config.json variants."""
    header = json.dumps({"w": {"dtype": "U8", "shape": [9000], "data_offsets": [0, 9000]}}).encode()
    members = {
        **{f"tiny/{name}": json.dumps(config).encode() for name, config in configs.items()},
        "tiny/model.safetensors": len(header).to_bytes(8, "little") + header + bytes(9000),
    }
    with tarfile.open(file, "w") as opened:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            opened.addfile(info, io.BytesIO(content))
    return file


def test_a_sent_model_is_registered_with_both_configs(client, archive, monkeypatch):
    monkeypatch.setattr(uploads, "PIECE", 4000)
    heard = []

    made = client.upload_model("tiny", archive, lambda there, size: heard.append(there))

    assert made.family == "qwen2"
    assert made.official_config == CONFIG
    assert made.tx81_config == {**CONFIG, "param_dir": ""}
    assert heard == [*range(0, archive.stat().st_size, 4000), archive.stat().st_size]


def test_sending_goes_on_where_it_broke_off(client, http, archive):
    content = archive.read_bytes()
    digest = digest_of(content)
    http.post("/uploads", json={"digest": digest, "size": len(content)})
    http.patch(f"/uploads/{digest}", content=content[:7000], headers={"Upload-Offset": "0"})
    heard = []

    client.upload_model("tiny", archive, lambda there, size: heard.append(there))

    assert heard[0] == 7000


def test_the_vendors_archive_has_the_official_config_named_beside_it(client, settings, tmp_path):
    vendors = packed(tmp_path / "vendors.tar", {"config.json": {**CONFIG, "param_dir": ""}})
    settings.models.mkdir()
    named = settings.models / "official.json"
    named.write_text(json.dumps(CONFIG))

    made = client.upload_model("tiny", vendors, lambda there, size: None, official_config=str(named))

    assert (made.official_config, made.tx81_config) == (CONFIG, {**CONFIG, "param_dir": ""})


def test_of_an_archive_that_is_refused_nothing_stays_unpacked(client, settings, archive, tmp_path):
    made = client.upload_model("tiny", archive, lambda there, size: None)
    bare = packed(tmp_path / "bare.tar", {})
    other = packed(tmp_path / "other.tar", {"config.json": {**CONFIG, "hidden_size": 32}})

    with pytest.raises(ApiError, match=r"config\.json cannot be read") as no_config:
        client.upload_model("bare", bare, lambda there, size: None)
    with pytest.raises(ApiError, match="choose another name"):
        client.upload_model("tiny", other, lambda there, size: None)

    assert no_config.value.field == "upload"
    assert str(settings.models) not in no_config.value.detail
    kept = [folder for folder in settings.models.iterdir() if folder.name != ".uploads"]
    assert kept == [Path(made.path)]


def test_sending_it_again_changes_nothing(client, archive):
    first = client.upload_model("tiny", archive, lambda there, size: None)

    assert client.upload_model("tiny", archive, lambda there, size: None) == first


def test_a_piece_at_the_wrong_place_is_told_where_to_go_on(http, archive):
    content = archive.read_bytes()
    digest = digest_of(content)
    http.post("/uploads", json={"digest": digest, "size": len(content)})

    answer = http.patch(f"/uploads/{digest}", content=b"x", headers={"Upload-Offset": "5"})

    assert (answer.status_code, answer.json()["code"]) == (409, "wrong_offset")
    assert http.get(f"/uploads/{digest}").json()["offset"] == 0


@pytest.mark.parametrize(
    "called", ["sha256:..", "sha256:%2e%2e%2f" + "0" * 56, "../admin-token", "sha256:" + "0" * 63 + "*"]
)
def test_an_upload_is_called_by_a_digest_and_nothing_else(http, called):
    assert http.get(f"/uploads/{called}").status_code in (404, 422)
    assert http.delete(f"/uploads/{called}").status_code in (404, 422)


@pytest.mark.parametrize("offset", [None, "-1", "x", "9223372036854775808"])
def test_a_piece_says_where_it_begins(http, offset):
    headers = {} if offset is None else {"Upload-Offset": offset}

    answer = http.patch(f"/uploads/{digest_of(b'')}", content=b"x", headers=headers)

    assert answer.status_code == 422


@pytest.mark.parametrize("more", [{}, {"path": "/models/tiny", "upload": "sha256:" + "0" * 64}])
def test_a_model_comes_from_a_folder_or_from_an_upload(http, more):
    answer = http.post("/models", json={"name": "tiny", **more})

    assert answer.status_code == 422
    assert "either path or upload" in answer.json()["detail"]


def test_a_model_from_an_upload_that_nobody_sent_is_refused(http):
    answer = http.post("/models", json={"name": "tiny", "upload": "sha256:" + "0" * 64})

    assert answer.status_code == 404


def test_an_upload_is_its_senders_and_admins(app, http, database, archive):
    content = archive.read_bytes()
    digest = digest_of(content)
    with TestClient(app, base_url="http://testserver/api/v1") as one, TestClient(app, base_url=one.base_url) as other:
        for client, name in ((one, "one"), (other, "other")):
            client.headers["Authorization"] = f"Bearer {tokens.make(database, name, ('submitter',))}"
        one.post("/uploads", json={"digest": digest, "size": len(content)})
        one.patch(f"/uploads/{digest}", content=content, headers={"Upload-Offset": "0"})

        assert other.get(f"/uploads/{digest}").status_code == 404
        assert other.patch(f"/uploads/{digest}", content=b"x", headers={"Upload-Offset": "0"}).status_code == 404
        assert other.delete(f"/uploads/{digest}").status_code == 204  # as for one that is not there
        assert other.post("/models", json={"name": "theirs", "upload": digest}).status_code in (403, 404)
        assert other.post("/uploads", json={"digest": digest, "size": len(content)}).json()["offset"] == 0
        assert one.get(f"/uploads/{digest}").json()["offset"] == len(content)
        assert http.get(f"/uploads/{digest}").status_code == 200


@pytest.mark.parametrize("what", ["models", "artifacts/kcores"])
def test_unpacking_for_a_client_that_goes_away_ends_and_leaves_nothing(served, settings, token, what):
    settings.models.mkdir()
    endless = settings.models / "endless.tar.gz"
    endless.write_bytes(gzip.compress(bytes(1 << 26), 9) * 500)  # 32 GiB of nothing: minutes
    digest = digest_of(endless.read_bytes())
    begun = Uploads(settings)
    begun.begin(UploadRequest(digest=digest, size=endless.stat().st_size))
    begun.append(digest, 0, endless.read_bytes())
    asked = {"upload": digest, **({"name": "tiny"} if what == "models" else {})}
    folder = settings.models / ".uploads"

    with socket.create_connection(("127.0.0.1", settings.api_port)) as connection:
        body = json.dumps(asked).encode()
        head = (
            f"POST /api/v1/{what} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: {len(body)}"
        )
        connection.sendall(f"{head}\r\nContent-Type: application/json\r\n\r\n".encode() + body)
        eventually(lambda: any(path.is_dir() for path in folder.iterdir()))

    eventually(lambda: not any(path.is_dir() for path in folder.iterdir()))
    assert sorted(path.name for path in settings.models.iterdir()) == [".uploads", "endless.tar.gz"]


def test_whatever_goes_wrong_with_a_registration_nothing_stays_unpacked(http, settings, archive, database):
    content = archive.read_bytes()
    digest = digest_of(content)
    http.post("/uploads", json={"digest": digest, "size": len(content)})
    http.patch(f"/uploads/{digest}", content=content, headers={"Upload-Offset": "0"})
    with database.write() as session:
        session.execute(text("ALTER TABLE model RENAME COLUMN family TO another"))  # an error that is not ours

    answer = http.post("/models", json={"name": "tiny", "upload": digest})

    assert answer.status_code >= 500
    assert [path.name for path in settings.models.iterdir()] == [".uploads"]
    assert [path.is_file() for path in (settings.models / ".uploads").iterdir()] == [True]
