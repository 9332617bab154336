"""One side of a comparison from its jobs: settings, samples and answers of the runs whose results count.

Of the first run that is read, the reference, all answers are read; of every other run only those that differ from the
reference at the same place. Most answers of runs that are compared are equal, and equal ones are one object in memory.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, and_, bindparam, func, or_, select
from sqlalchemy.orm import Session

from orchestrator.comparisons.runs import Run, read_runs
from orchestrator.errors import BadRequest
from orchestrator.model.failures import FailureKind
from orchestrator.model.states import JobState
from orchestrator.results.series import SeriesSides, SetRun, split
from orchestrator.results.sides import AnswerOf, GroupedAnswers, Reply, Rules, Side
from orchestrator.storage.tables import Answer, Attempt

MOST_ANSWERS = 500_000
"""Answers of one comparison, over all its runs."""

MOST_TEXT = 1 << 28
"""Characters of answers and questions that one comparison reads; equal ones are read once."""

_Place = tuple[int, int, int]
"""Repeat, prompt and lane of an answer in its run."""


@dataclass(frozen=True, slots=True)
class _Said:
    """What was answered to a question, on whichever run."""

    question: str
    text: str
    exact: bool | None


class _Answers:
    """Of one run, in the order of repeat, prompt and lane."""

    def __init__(self, by_place: Mapping[_Place, _Said]) -> None:
        self.by_place = by_place
        places: dict[str, list[_Place]] = defaultdict(list)
        for place, said in by_place.items():
            places[said.question].append(place)
        self._places = places
        self.replies = {question: tuple(by_place[each] for each in where) for question, where in places.items()}

    def but(self, others: Mapping[_Place, _Said]) -> "_Answers":
        """The same with others at some places; what is equal is shared."""
        together = {**self.by_place, **others}
        if any(
            place not in self.by_place or self.by_place[place].question != others[place].question for place in others
        ):
            return _Answers(dict(sorted(together.items())))
        made = object.__new__(_Answers)
        made.by_place, made._places = together, self._places
        changed = {said.question for said in others.values()}
        replies = {question: tuple(together[each] for each in self._places[question]) for question in changed}
        made.replies = {**self.replies, **replies}
        return made


_NONE = _Answers({})


def side_of(session: Session, label: str, job_ids: Collection[int]) -> Side:
    """The side of these jobs; runs without results and those in doubt are counted and left out."""
    return sides_of(session, {label: job_ids})[0]


def sides_of(session: Session, jobs: Mapping[str, Collection[int]]) -> list[Side]:
    """A side for each label; BadRequest if there are more answers than one comparison may have."""
    runs = _read(session, jobs)
    reader = _Reader(session, [run for side in runs.values() for run in side if run.used])
    return [_side(label, side, reader) for label, side in runs.items()]


def series_of(session: Session, jobs: Mapping[str, Collection[int]], rules: Rules) -> list[SeriesSides]:
    """The sides of each series; most subjects have but one. BadRequest as for `sides_of`."""
    runs = _read(session, jobs)
    reader = _Reader(session, [run for side in runs.values() for run in side if run.used])
    by_number = {run.job_id: run for side in runs.values() for run in side}
    settings = {label: [SetRun(run.job_id, run.setting, run.used) for run in side] for label, side in runs.items()}
    found = []
    for series in split(settings, rules):
        reader.begin_series()
        sides = [_side(label, [by_number[job] for job in ids], reader) for label, ids in series.members.items()]
        found.append(SeriesSides(series.key, sides))
    return found


def _read(session: Session, jobs: Mapping[str, Collection[int]]) -> dict[str, list[Run]]:
    runs = {run.job_id: run for run in read_runs(session, [job for ids in jobs.values() for job in ids])}
    return {label: [runs[job] for job in sorted(ids) if job in runs] for label, ids in jobs.items()}


def left_out(run: Run) -> str | None:
    """Why the results of a run do not count; None if they do."""
    if run.used:
        return None
    if run.measured:
        return "doubtful"
    match run.state:
        case JobState.FAILED if run.failure is not None and run.failure.kind is FailureKind.FAULT:
            return "infrastructure"
        case JobState.FAILED | JobState.CANCELLED | JobState.SKIPPED:
            return str(run.state)
    return "unfinished"


def _side(label: str, runs: Sequence[Run], reader: "_Reader") -> Side:
    used = [run for run in runs if run.used]
    samples: dict[str, list[float]] = defaultdict(list)
    defined: dict[str, dict[tuple[str, str], None]] = defaultdict(dict)
    for run in used:
        for name, metric in run.metrics.items():
            samples[name].append(metric.value)
            counted = f"{metric.definition} counted by {metric.counter}" if metric.counter else metric.definition
            defined[name][metric.unit, counted] = None
    return Side(
        label,
        settings=tuple(run.setting for run in used),
        samples={name: tuple(values) for name, values in samples.items()},
        definitions={name: _one_definition(list(ways)) for name, ways in defined.items()},
        answers=_grouped(used, reader),
        jobs=tuple(run.job_id for run in used),
        left_out=Counter(why for run in runs if (why := left_out(run)) is not None),
    )


def _one_definition(ways: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """Runs of one side that define a metric differently are comparable with no other definition."""
    units, definitions = (" and ".join(dict.fromkeys(parts)) for parts in zip(*ways, strict=True))
    return units, definitions


def _grouped(runs: Sequence[Run], reader: "_Reader") -> GroupedAnswers:
    of_runs = [(run, reader.answers(run)) for run in runs]
    if len(of_runs) == 1:
        by_question: Mapping[str, Sequence[Reply]] = of_runs[0][1].replies
    else:
        lists: dict[str, list[Reply]] = defaultdict(list)
        for _, answers in of_runs:
            for question, said in answers.replies.items():
                lists[question] += said
        by_question = lists
    count = sum(len(answers.by_place) for _, answers in of_runs)
    return GroupedAnswers(by_question, count, lambda: list(_placed(of_runs)))


def _placed(of_runs: Iterable[tuple[Run, _Answers]]) -> Iterator[AnswerOf]:
    """All answers of a side, those to one question counted over repeats, lanes and runs."""
    seen: Counter[str] = Counter()
    for run, answers in of_runs:
        slots = run.setting.get("slots", [])
        for (_, _, lane), said in answers.by_place.items():
            slot = slots[lane] if lane < len(slots) else None
            yield AnswerOf(said.question, seen[said.question], said.text, said.exact, slot, run.job_id)
            seen[said.question] += 1


class _Reader:
    """Reads the answers of runs, each distinct set of them once."""

    def __init__(self, session: Session, runs: Sequence[Run]) -> None:
        self._session = session
        attempts = [run.attempt_id for run in runs]
        self._digests: dict[int, str | None] = dict(
            session.execute(select(Attempt.id, Attempt.answers_digest).where(Attempt.id.in_(attempts))).all()
        )
        counted = select(Answer.attempt_id, func.count()).where(Answer.attempt_id.in_(attempts))
        self._counts: dict[int, int] = dict(session.execute(counted.group_by(Answer.attempt_id)).all())
        if (count := sum(self._counts.values())) > MOST_ANSWERS:
            raise BadRequest(f"{count} answers are too many: at most {MOST_ANSWERS} in one comparison", field="subject")
        self._known: dict[Any, _Answers] = {}
        self._reference: tuple[int, _Answers] | None = None
        self._characters = 0

    def begin_series(self) -> None:
        """The next run that is read is the reference of those after it."""
        self._reference = None

    def answers(self, run: Run) -> _Answers:
        """What a run answered."""
        assert run.attempt_id is not None
        digest = self._digests[run.attempt_id]
        same = run.attempt_id if digest is None else (digest, run.setting.get("golden"))
        if same not in self._known:
            self._known[same] = self._read(run.attempt_id) if run.attempt_id in self._counts else _NONE
        return self._known[same]

    def _read(self, attempt_id: int) -> _Answers:
        if self._reference is None:
            self._reference = attempt_id, self._whole(attempt_id)
            return self._reference[1]
        reference, usual = self._reference
        rows = self._session.execute(_UNLIKE, {"attempt": attempt_id, "reference": reference}).all()
        more = sum(row[6] is None for row in rows)
        if self._counts[attempt_id] != len(usual.by_place) + more:
            return self._whole(attempt_id)  # Some that the reference has are not there.
        self._count(sum(len(row[4]) + len(row[5]) for row in rows))
        return usual.but({(row[0], row[1], row[2]): _Said(row[4], row[5], row[3]) for row in rows})

    def _whole(self, attempt_id: int) -> _Answers:
        rows = self._session.execute(_WHOLE, {"attempt": attempt_id}).all()
        self._count(sum(len(row[4]) + len(row[5]) for row in rows))
        return _Answers({(row[0], row[1], row[2]): _Said(row[4], row[5], row[3]) for row in rows})

    def _count(self, characters: int) -> None:
        self._characters += characters
        if self._characters > MOST_TEXT:
            raise BadRequest(
                f"the answers have more than {MOST_TEXT} characters: compare fewer runs at once", field="subject"
            )


def _statements() -> tuple[Select[Any], Select[Any]]:
    """On the plain table: no mapped object is made of a row."""
    ours = Answer.__table__
    theirs = ours.alias("reference")
    place = [ours.c.repeat, ours.c.index, ours.c.batch]
    whole = select(*place, ours.c.exact, ours.c.question, ours.c.text).where(ours.c.attempt_id == bindparam("attempt"))
    same_place = and_(
        theirs.c.attempt_id == bindparam("reference"), *(theirs.c[column.name] == column for column in place)
    )
    differs = or_(
        theirs.c.attempt_id.is_(None), theirs.c.text != ours.c.text, theirs.c.question != ours.c.question,
        theirs.c.exact.is_distinct_from(ours.c.exact),
    )  # fmt: skip
    unlike = whole.add_columns(theirs.c.attempt_id).select_from(ours.outerjoin(theirs, same_place)).where(differs)
    return whole.order_by(*place), unlike


_WHOLE, _UNLIKE = _statements()
