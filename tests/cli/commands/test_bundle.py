"""A job as one archive, written by the command line."""

import tarfile
from pathlib import Path

import pytest


def test_a_bundle_is_written_whole_under_the_name_that_was_asked_for(tx81, queued):
    ran = tx81("bundle", queued, "-o", "job.tar.gz", "--output", "json")

    assert ran.code == 0, ran.err
    with tarfile.open("job.tar.gz") as tar:
        names = tar.getnames()
    assert f"tx81-job-{queued}/bill_of_materials.json" in names
    assert ran.document["size"] == Path("job.tar.gz").stat().st_size
    assert tx81("bundle", queued).code == 0
    assert Path(f"tx81-job-{queued}.tar.zst").read_bytes()[:4] == b"\x28\xb5\x2f\xfd"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["-o", "there.tar.gz"], "there.tar.gz exists"),
        (["-o", "job.zip"], "must end with .tar.zst or .tar.gz"),
        (["-o", "no/such/job.tar.gz"], "does not exist"),
    ],
)
def test_a_place_that_cannot_be_used_is_refused_and_nothing_is_left(tx81, queued, words, told):
    Path("there.tar.gz").write_text("mine")

    ran = tx81("bundle", queued, *words)

    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert told in ran.err
    assert Path("there.tar.gz").read_text() == "mine"
    assert sorted(path.name for path in Path().iterdir()) == ["job.json", "there.tar.gz"]


def test_there_is_no_bundle_of_an_unknown_job(tx81, at_site):
    ran = tx81("bundle", 99999, "-o", "job.tar.zst")

    assert ran.code == 5
    assert "no job 99999" in ran.err
    assert list(Path().iterdir()) == []
