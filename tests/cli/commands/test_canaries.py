"""What checks the cards of quarantined slots, said on the command line."""

import json
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "give either a file or --model, --kcore, --prompts and --golden"),
        (["canary.json", "--model", "tiny"], "give either a file or --model"),
        (["--model", "tiny", "--prompts", "p", "--golden", "g"], "--kcore is missing"),
        (["--model", "tiny", "--kcore", "9" * 5000, "--prompts", "p", "--golden", "g"], "neither a job number"),
        (["--model", "tiny", "--kcore", "1", "--prompts", "p"], "--golden is missing"),
        (
            ["--model", "tiny", "--kcore", "x", "--prompts", "p", "--golden", "g"],
            "--kcore: 'x' is neither a job",
        ),
        (["canary.json"], "kcore.artifact: is missing; add it"),
    ],
)
def test_a_canary_that_is_none_is_one_line(tx81, at_site, words, told):
    files = {name: {"path": "server:/srv/any"} for name in ("prompts", "golden")}
    Path("canary.json").write_text(json.dumps({"model": "tiny", "kcore": {"job": 2}, **files}))

    ran = tx81("canary", "set", *words)

    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert told in ran.err
    assert "more)" not in ran.err


def test_a_canary_that_is_told_by_options_names_the_job_of_its_kernel_image(tx81, at_site, queued):
    tools = at_site.tools
    words = ["--model", "tiny", "--kcore", queued, "--prompts", tools["prompts"], "--golden", tools["golden"]]

    ran = tx81("canary", "set", *words)

    assert (ran.code, f"job {queued} is a quantize job" in ran.err) == (5, True)
