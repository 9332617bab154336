"""What `tx81 history` says where no suite has run."""


def test_a_series_without_runs_is_refused(at_site, tx81):
    refused = tx81("history", "nightly", "model=tiny", "answers")
    wrong = tx81("history", "nightly", "model=tiny", "TTFT; DROP")

    assert (refused.code, wrong.code) == (5, 5)
    assert "no run of suite nightly has measured answers" in refused.err
    assert "metric" in wrong.err
