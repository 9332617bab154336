"""The jobs of a pipeline as a small graph: where each step stands, and what it needs. Pure.

Jobs of one kind that need the same steps are one step, with how many of them are in which state: a fan-out of a hundred
inferences is one box.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from api.documents.jobs import JobView
from orchestrator.model.states import FINAL, JobState

WIDTH, HEIGHT = 210, 46
ACROSS, DOWN = 270, 60
"""From one box to the next one, to the right and below."""

MOST_STEPS = 60

_GRAVEST_FIRST = (
    JobState.FAILED, JobState.RUNNING, JobState.ASSIGNED, JobState.QUEUED, JobState.WAITING, JobState.CANCELLED,
    JobState.SKIPPED, JobState.SUCCEEDED,
)  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One box: a job, or several that stand at the same place."""

    jobs: tuple[JobView, ...]
    depth: int
    needs: frozenset[int]
    """Indices of the steps that it needs."""
    row: int = 0

    @property
    def state(self) -> JobState:
        """Of all its jobs: the one that a person has to look at first."""
        return min((job.state for job in self.jobs), key=_GRAVEST_FIRST.index)

    @property
    def counts(self) -> Mapping[JobState, int]:
        """How many of its jobs are in which state."""
        return Counter(job.state for job in self.jobs)

    @property
    def ended(self) -> int:
        """Number of its jobs that have ended."""
        return sum(job.state in FINAL for job in self.jobs)

    @property
    def x(self) -> int:
        """Left edge of its box."""
        return self.depth * ACROSS

    @property
    def y(self) -> int:
        """Upper edge of its box."""
        return self.row * DOWN


@dataclass(frozen=True)
class Graph:
    """Boxes, and lines from each to those that need it, as paths of SVG."""

    steps: tuple[Step, ...]
    lines: tuple[str, ...]
    width: int
    height: int
    more: int
    """Steps that are not drawn."""


def graph_of(jobs: Sequence[JobView], needs: Mapping[int, Sequence[int]]) -> Graph:
    """The graph of jobs, each of which comes after those it needs."""
    steps = _folded(jobs, needs)
    shown = _in_rows(steps[:MOST_STEPS])
    lines = [_line(shown[needed], step) for step in shown for needed in sorted(step.needs)]
    width = max((step.x for step in shown), default=0) + WIDTH
    height = max((step.y for step in shown), default=0) + HEIGHT
    return Graph(tuple(shown), tuple(lines), width, height, len(steps) - len(shown))


def _folded(jobs: Sequence[JobView], needs: Mapping[int, Sequence[int]]) -> list[Step]:
    at: dict[tuple[str, frozenset[int]], int] = {}
    step_of: dict[int, int] = {}
    members = defaultdict[int, list[JobView]](list)
    depths: list[int] = []
    for job in jobs:
        needed = frozenset(step_of[each] for each in needs.get(job.id, ()) if each in step_of)
        place = at.setdefault((job.kind, needed), len(depths))
        if place == len(depths):
            depths.append(1 + max((depths[each] for each in needed), default=-1))
        step_of[job.id] = place
        members[place].append(job)
    return [Step(tuple(members[place]), depths[place], needed) for (_, needed), place in at.items()]


def _in_rows(steps: Sequence[Step]) -> list[Step]:
    """Each as near as possible to what it needs, the columns one after the other."""
    rows: dict[int, int] = {}
    taken = defaultdict[int, int](int)
    for place, step in sorted(enumerate(steps), key=lambda each: (each[1].depth, each[0])):
        wanted = [rows[needed] for needed in step.needs]
        row = max(taken[step.depth], min(wanted, default=0))
        rows[place], taken[step.depth] = row, row + 1
    return [Step(step.jobs, step.depth, step.needs, rows[place]) for place, step in enumerate(steps)]


def _line(start: Step, end: Step) -> str:
    x1, y1, x2, y2 = start.x + WIDTH, start.y + HEIGHT // 2, end.x, end.y + HEIGHT // 2
    middle = (x1 + x2) // 2
    return f"M{x1} {y1}C{middle} {y1} {middle} {y2} {x2} {y2}"
