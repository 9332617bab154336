"""What `tx81 baselines` says where no job has run."""

import pytest


def test_there_are_none_and_a_job_that_has_not_ended_makes_none(at_site, tx81, queued):
    refused = tx81("baselines", "set", "nightly", "model=tiny", "--jobs", queued, "--reason", "as delivered")

    assert refused.code == 5
    assert f"job {queued} is queued" in refused.err
    assert tx81("baselines", "list", "--output", "json").document == []


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (("set", "nightly", "model=tiny", "--jobs", "4,x", "--reason", "r"), "write it like 4,5,6"),
        (("set", "nightly", "model=tiny", "--jobs", "4"), "reason"),
        (("retire", "4711", "--reason", "r"), "no baseline 4711"),
        (("accept", "4711", "--jobs", "4", "--reason", "r"), "no baseline 4711"),
        (("show", "4711"), "no baseline 4711"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_remedy(at_site, tx81, argv, told):
    refused = tx81("baselines", *argv)

    assert refused.code in (2, 5)
    assert told in refused.err
