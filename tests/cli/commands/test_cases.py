"""What `tx81 cases` says where no suite has run."""

import pytest


def test_there_are_none(at_site, tx81):
    assert tx81("cases", "list", "--output", "json").document == []


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (("show", "4711"), "no case 4711"),
        (("accept", "4711", "--until", "soon", "--reason", "r"), "--until"),
        (("accept", "4711", "--until", "2099-01-01", "--reason", "r"), "no case 4711"),
        (("close", "4711"), "reason"),
        (("comment", "4711", " "), "text"),
        (("list", "--state", "lost"), "lost"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_remedy(at_site, tx81, argv, told):
    refused = tx81("cases", *argv)

    assert refused.code in (2, 5)
    assert told in refused.err
