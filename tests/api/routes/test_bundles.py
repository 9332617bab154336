import io
import tarfile

import zstandard
from builders.rows import a_job_row


def test_a_bundle_is_an_attachment_in_the_form_that_was_asked_for(http, database):
    with database.write() as session:
        job = a_job_row(session).id

    zst, gz = http.get(f"/jobs/{job}/bundle"), http.get(f"/jobs/{job}/bundle?compression=gz")

    assert zst.headers["content-type"] == "application/zstd"
    assert f"tx81-job-{job}.tar.gz" in gz.headers["content-disposition"]
    raw = zstandard.ZstdDecompressor().decompressobj().decompress(zst.content)
    with tarfile.open(fileobj=io.BytesIO(raw)) as one, tarfile.open(fileobj=io.BytesIO(gz.content)) as other:
        assert one.getnames() == other.getnames()


def test_of_an_unknown_job_there_is_none(http):
    assert http.get("/jobs/77/bundle").status_code == 404
    assert http.get("/jobs/1/bundle?compression=zip").json()["field"] == "compression"
