"""What `tx81 doubts` says where nothing is in doubt."""


def test_no_doubts_are_listed_and_none_can_be_lifted(at_site, tx81):
    listed = tx81("doubts", "--output", "json")
    without_reason = tx81("doubts", "lift", "1")
    missing = tx81("doubts", "lift", "4711", "--reason", "cable replaced")
    unsaid = tx81("doubts", "lift", "--reason", "cable replaced")

    assert (listed.code, listed.document) == (0, [])
    assert (without_reason.code, missing.code, unsaid.code) == (2, 5, 2)
    assert "reason" in without_reason.err
    assert "no doubt 4711" in missing.err
    assert "doubts (a list of numbers), job or slot" in unsaid.err
