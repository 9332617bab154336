import pytest

from orchestrator.model.client_specs import Goodput
from orchestrator.results import load_metrics
from orchestrator.results.load_metrics import LoadStatistics, Timed


def statistics(*requests, goodput=None, failed=0, open_loop=False):
    made = LoadStatistics(goodput, open_loop=open_loop)
    for one in requests:
        made.sent(one.sent, under_way=1)
        made.answered(one)
    for _ in range(failed):
        made.failed()
    return {number.name: number for number in made.measured()}


def timed(sent=0.0, first=1.0, last=3.0, tokens=5, **more):
    return Timed(**{"due": None, "sent": sent, "first": first, "last": last, "output_tokens": tokens,
                    "prompt_tokens": 10, **more})  # fmt: skip


def test_latencies_are_those_of_one_request_and_throughput_that_of_all():
    found = statistics(timed(0, 1, 3), timed(2, 5, 7))

    values = {name: number.value for name, number in found.items()}
    assert values["ttft_seconds_mean"] == 2
    assert values["request_seconds_max"] == 5
    assert values["tpot_seconds_p50"] == (3 - 1) / 4
    assert values["load_seconds"] == 7
    assert values["request_throughput"] == pytest.approx(2 / 7)
    assert values["output_throughput"] == pytest.approx(10 / 7)
    assert values["total_throughput"] == pytest.approx(30 / 7)
    assert found["output_throughput"].counter == "server"


def test_in_an_open_loop_a_client_that_is_late_hides_nothing():
    found = statistics(timed(due=1.0, sent=4.0, first=5.0, last=6.0), open_loop=True)

    assert (found["ttft_seconds_max"].value, found["ttft_seconds_max"].definition) == (4, "ttft_seconds/due_to_first")
    assert found["request_seconds_max"].value == 5
    assert found["late_seconds_max"].value == 3


def test_an_answer_of_one_token_has_no_time_per_token_and_keeps_every_limit_on_it():
    found = statistics(timed(tokens=1), goodput=Goodput(tpot_seconds=0.001))

    assert "tpot_seconds_p50" not in found
    assert found["goodput"].value == pytest.approx(1 / 3)


def test_goodput_counts_only_what_keeps_every_limit_and_failures_take_their_time():
    quick, slow = timed(0, 1, 2), timed(0, 3, 4)

    found = statistics(quick, slow, goodput=Goodput(ttft_seconds=1, request_seconds=4), failed=3)

    assert found["goodput"].value == pytest.approx(1 / 4)
    assert (found["goodput"].count, found["failed_requests"].count) == (5, 5)


def test_goodput_is_not_guessed_where_tokens_were_not_counted():
    found = statistics(timed(), timed(tokens=None), goodput=Goodput(tpot_seconds=9))

    assert not {"goodput", "output_tokens", "output_throughput"} & found.keys()
    assert found["prompt_tokens"].value == 20


@pytest.mark.parametrize(
    ("count", "shown"),
    [(63, set()), (64, {"p90"}), (130, {"p90", "p95"}), (661, {"p90", "p95"}), (662, {"p90", "p95", "p99"})],
)
def test_tails_are_shown_only_of_enough_requests_even_where_there_are_many_gaps(count, shown):
    found = statistics(*[timed(gaps=[0.1] * 10) for _ in range(count)])

    for name in ("ttft_seconds", "itl_seconds"):
        tails = {statistic for statistic in ("p90", "p95", "p99") if f"{name}_{statistic}" in found}
        assert tails == shown
        assert {f"{name}_{statistic}" for statistic in ("mean", "p50", "max")} <= found.keys()
    assert found["itl_seconds_mean"].count == 10 * count


def test_gaps_beyond_the_sample_still_count_for_mean_and_maximum(monkeypatch):
    monkeypatch.setattr(load_metrics, "MOST_GAPS", 100)
    gaps = [*[1.0] * 1000, 9.0, *[1.0] * 999]

    found = statistics(timed(gaps=gaps))

    assert found["itl_seconds_max"].value == 9
    assert found["itl_seconds_mean"].value == pytest.approx(1 + 8 / 2000)
    assert found["itl_seconds_p50"].value == 1
    assert found["itl_seconds_p50"].count == 2000


def test_of_a_load_of_which_nothing_was_answered_only_that_is_said():
    found = statistics(failed=2)

    assert {name: number.value for name, number in found.items()} == {"requests": 0, "failed_requests": 2}
