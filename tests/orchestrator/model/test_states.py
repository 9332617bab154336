"""The state machine as data."""

import pytest

from orchestrator.model.states import (
    ATTEMPT_TRANSITIONS,
    FINAL,
    IN_FLIGHT,
    TRANSITIONS,
    AttemptState,
    JobState,
    diagram,
)

MACHINES = pytest.mark.parametrize(
    ("states", "arrows", "first"),
    [(JobState, TRANSITIONS, JobState.WAITING), (AttemptState, ATTEMPT_TRANSITIONS, AttemptState.ASSIGNED)],
    ids=["job", "attempt"],
)


@MACHINES
def test_every_state_says_where_it_may_go(states, arrows, first):
    assert set(arrows) == set(states)
    assert set().union(*arrows.values()) <= set(states)


@MACHINES
def test_every_state_can_be_reached_and_every_life_can_end(states, arrows, first):
    def reachable(start) -> set:
        seen, fresh = set(), {start}
        while fresh:
            seen |= fresh
            fresh = set().union(*(arrows[state] for state in fresh)) - seen
        return seen

    assert reachable(first) == set(states)
    final = {state for state in states if not arrows[state]}
    assert all(reachable(state) & final for state in states)


def test_final_states_have_no_arrows_and_no_others_are_final():
    assert {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.SKIPPED} == FINAL
    assert not FINAL & IN_FLIGHT


@MACHINES
def test_the_diagram_shows_every_arrow_once(states, arrows, first):
    lines = diagram(arrows).splitlines()

    shown = {tuple(line.strip().split(" --> ")) for line in lines[1:]}

    inner = {(str(start), str(end)) for start, ends in arrows.items() for end in ends}
    final = {(str(state), "[*]") for state, ends in arrows.items() if not ends}
    assert shown == inner | final | {("[*]", str(first))}
    assert len(lines) == 1 + len(shown)
