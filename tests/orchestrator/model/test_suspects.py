from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.model.suspects import SUSPECT_AT, Trial, score

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def trial(number, slot, like, *, failed, hours_ago=0.0):
    return Trial(number, number, slot, NOW - timedelta(hours=hours_ago), like, failed)


def score_of(trials, slot="g0", now=NOW):
    return score(slot, trials, now=now, half_life=DAY)


trials = st.lists(
    st.builds(
        trial,
        st.integers(1, 10_000),
        st.sampled_from(["g0", "g1", "g2"]),
        st.sampled_from(["a", "b", "c", "d"]),
        failed=st.booleans(),
        hours_ago=st.floats(0, 200),
    ),
    max_size=30,
)


def test_three_unrelated_jobs_that_fail_here_and_succeed_elsewhere_make_a_slot_suspect():
    here = [trial(number, "g0", like, failed=True) for number, like in enumerate("abc", 1)]
    there = [trial(number, "g1", like, failed=False) for number, like in enumerate("abc", 11)]

    result = score_of(here + there)

    assert result.suspect
    assert [failure.attempt_id for failure in result.failures] == [1, 2, 3]


def test_failures_that_nobody_has_seen_succeed_elsewhere_say_nothing_of_the_slot():
    assert score_of([trial(number, "g0", like, failed=True) for number, like in enumerate("abcdef")]).value == 0


def test_a_success_halves_the_suspicion_of_others_and_clears_that_of_its_like():
    there = [trial(number, "g1", like, failed=False) for number, like in enumerate("ab", 11)]
    failed = [trial(1, "g0", "a", failed=True), trial(2, "g0", "b", failed=True)]

    assert score_of([*there, *failed]).value == 2
    assert score_of([*there, *failed, trial(3, "g0", "b", failed=False)]).value == 0.5


def on_slots(number, slots, like, *, failed):
    return [Trial(number, number, slot, NOW, like, failed, share=1 / len(slots)) for slot in slots]


def test_the_slot_that_all_failed_attempts_on_several_slots_have_in_common_bears_the_most_of_it():
    there = [trial(number, "g9", like, failed=False) for number, like in enumerate("abcdef", 11)]
    gangs = [on_slots(number, ["g0", f"g{number}"], like, failed=True) for number, like in enumerate("abcdef", 1)]
    trials = [*there, *(one for gang in gangs for one in gang)]

    assert score_of(trials, "g0").suspect
    assert [score_of(trials, f"g{number}").value for number in range(1, 7)] == [0.5] * 6


def test_an_attempt_on_several_slots_that_fails_does_not_speak_for_one_of_them_against_its_other():
    there = [trial(2, "g9", "a", failed=False)]

    assert score_of([*there, *on_slots(1, ["g0", "g1"], "a", failed=True)], "g0").value == 0.5


def test_a_success_on_several_slots_clears_each_of_them():
    failed = [trial(1, "g0", "a", failed=True), trial(2, "g9", "a", failed=False)]

    assert score_of([*failed, *on_slots(3, ["g1", "g0"], "a", failed=False)], "g0").value == 0


@given(st.lists(st.tuples(st.sampled_from(["g0", "g1", "g2"]), st.booleans(), st.floats(0, 100)), max_size=40), trials)
def test_one_bad_job_alone_never_brings_any_slot_into_suspicion(bad, others):
    its_own = [trial(n, slot, "bad", failed=failed, hours_ago=ago) for n, (slot, failed, ago) in enumerate(bad)]
    successes = [t for t in others if not t.failed]

    assert all(score_of(its_own + successes, slot).value <= 1 < SUSPECT_AT for slot in ("g0", "g1", "g2"))


@given(trials, st.sampled_from(["a", "b", "c", "d", "new"]))
def test_another_failure_here_never_lowers_the_score_and_a_success_never_raises_it(earlier, like):
    before = score_of(earlier).value

    assert score_of([*earlier, trial(10_001, "g0", like, failed=True)]).value >= before - 1e-9
    assert score_of([*earlier, trial(10_001, "g0", like, failed=False)]).value <= before + 1e-9


@given(trials, st.floats(0.1, 500))
def test_a_score_is_never_negative_and_only_fades(earlier, hours):
    later = NOW + timedelta(hours=hours)

    assert 0 <= score_of(earlier, now=later).value <= score_of(earlier).value + 1e-9


@given(trials, st.randoms())
def test_the_order_in_which_attempts_are_read_does_not_matter(earlier, random):
    distinct = list({t.attempt_id: t for t in earlier}.values())
    shuffled = list(distinct)
    random.shuffle(shuffled)

    assert abs(score_of(distinct).value - score_of(shuffled).value) < 1e-9
