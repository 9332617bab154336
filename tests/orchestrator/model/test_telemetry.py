"""What cards measure is kept small, and held to limits."""

import pytest
from pydantic import ValidationError

from orchestrator.catalog.profile_files import load_profile
from orchestrator.model.telemetry import MOST_POINTS, Limit, Recorder, TelemetryRule, beyond, measured
from orchestrator.settings import Settings
from workers.processes.matching import search

ROWS = {
    "a": "|   0   TX8110-64GB-PCIe   11100   42C     96W / 200W  |  00000000:82:00.0  |   15146M / 65536M     0%    |",
    "b": "|  30   TX8110-128GB-PCIe     49C     62W / 200W  |  00000000:63:00.0  |   22269M /131072M     7%    |  1  |",
    "c": "| 0 TX8110-256-00     | 2 00000000:3c:00.0 43C 62W / 200W 15146M / 65536M 0% |",
}  # fmt: skip


def _rule(**facts) -> TelemetryRule:
    return TelemetryRule(argv=("smi",), environment={}, patterns=(r"(?P<celsius>\d+)C",), **facts)


@pytest.mark.parametrize(
    ("layout", "seen"),
    [
        ("a", {"celsius": 42, "watt": 96, "percent": 0, "megabytes": 15146}),
        ("b", {"celsius": 49, "watt": 62, "percent": 7, "megabytes": 22269}),
        ("c", {"celsius": 43, "watt": 62, "percent": 0, "megabytes": 15146}),
    ],
)
def test_the_shipped_profile_reads_every_layout(layout, seen):
    rule = load_profile(Settings(), "txnn_1.2.1_build0307").telemetry
    assert rule is not None

    found = next(match for pattern in rule.patterns if (match := search(pattern, ROWS[layout])) is not None)

    assert measured(found.groups) == seen


def test_the_least_the_mean_and_the_most_are_of_all_samples_and_cards():
    recorder = Recorder()
    recorder.add(3, {4: {"celsius": 40}, 5: {"celsius": 50}}, spent=0.1)
    recorder.add(33, {4: {"celsius": 60}, 5: {}}, spent=0.1)

    document = recorder.document()

    assert document == {
        "samples": 2,
        "sampling_seconds": 0.2,
        "measures": {
            "celsius": {"min": 40, "mean": 50, "max": 60, "max_card": 4, "points": [[3, 50], [33, 60]]},
        },
    }  # fmt: skip


def test_a_long_run_is_kept_as_a_thin_series_of_its_whole_length():
    recorder = Recorder()
    for second in range(10_000):
        recorder.add(second, {0: {"watt": float(second)}}, spent=0)

    watt = recorder.document()["measures"]["watt"]

    assert MOST_POINTS / 2 <= len(watt["points"]) <= MOST_POINTS
    assert (watt["min"], watt["max"]) == (0, 9999)
    assert watt["points"][0][0] == 0
    assert watt["points"][-1][0] > 9_500


def test_without_a_sample_nothing_is_kept():
    recorder = Recorder()
    recorder.add(3, {0: {}}, spent=0.1)

    assert recorder.document() is None
    assert list(beyond({"celsius": Limit(most=1)}, None)) == []


def test_what_is_beyond_a_limit_is_told_with_its_card():
    recorder = Recorder()
    recorder.add(3, {7: {"celsius": 91, "megahertz": 400}}, spent=0)
    limits = {"celsius": Limit(most=85), "megahertz": Limit(least=500), "watt": Limit(most=1)}

    assert list(beyond(limits, recorder.document())) == ["celsius 91 on card 7, above 85", "megahertz 400, below 500"]
    assert list(beyond({"celsius": Limit(most=91)}, recorder.document())) == []


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"patterns": ["no group"]}, "needs named groups"),
        ({"patterns": ["(?P<colour>.)"]}, "needs named groups"),
        ({"limits": {"watt": {"most": 3}}}, "no pattern has a group watt"),
        ({"limits": {"celsius": {}}}, "give least, most or both"),
    ],
)
def test_a_rule_that_could_measure_nothing_is_refused(facts, told):
    with pytest.raises(ValidationError, match=told):
        TelemetryRule.model_validate({**_rule().model_dump(), **facts})
