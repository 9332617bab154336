"""Answers and golden answers as the tools write them, and what is missing among them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.model.answer_rules import AnswersRule
from orchestrator.results.answers import GivenAnswer, Golden
from orchestrator.results.prompts import questions_in
from workers.toolchain.columns import Columns, Unplaced, storable
from workers.toolchain.rows import BadAnswers as BadAnswers
from workers.toolchain.rows import json_rows, rows_by


def read_prompts(path: Path) -> list[str]:
    """The questions of a file: one a line, blank lines are none."""
    return questions_in(path.read_bytes().decode("utf-8-sig", errors="replace"))


def count_prompts(path: Path) -> int:
    """How many questions the tool was given."""
    return len(read_prompts(path))


def read_golden(path: Path) -> Golden:
    """Reference answers, one JSON object a line with `question` and `answer` (or `response`, as a run writes them)."""
    pairs = []
    for row in json_rows(path):
        question, answer = row.values.get("question"), row.values.get("answer", row.values.get("response"))
        if not isinstance(question, str) or not isinstance(answer, str):
            raise BadAnswers(f"{row.where} has no question and answer")
        pairs.append((storable(question), storable(answer)))
    return Golden(pairs)


def read_answers(
    paths: Iterable[Path], rule: AnswersRule, *, prompts: int = 1, most: int | None = None
) -> list[GivenAnswer]:
    """Every answer in the files, in their order; BadAnswers for a record that is none and for one given twice.

    `prompts` is how many questions there are, for a tool that does not number what it writes. More than `most` are
    not kept in memory, but BadAnswers.
    """
    answers: dict[tuple[int | None, int, int, int], GivenAnswer] = {}
    counted: Counter[tuple[int | None, ...]] = Counter()
    columns = Columns(rule)
    for row in rows_by(rule, list(paths)):
        answer = _placed(columns.answer_in(row), counted, prompts)
        place = (answer.batch_size, answer.lane, answer.repeat, answer.index)
        if place in answers:
            raise BadAnswers(f"{row.where} answers {_which(answer)} a second time")
        if len(answers) == most:
            raise BadAnswers(f"{row.where} is one more than the {most} requested answers")
        answers[place] = answer
    return list(answers.values())


@dataclass(frozen=True)
class Asked:
    """What a run had to answer: all prompts `repeats` times, once for each of the batch sizes.

    Every lane goes through all prompts; without `traverse` they are dealt out among the lanes.
    """

    prompts: int
    repeats: int = 1
    sizes: tuple[int, ...] = (1,)
    traverse: bool = True
    most_empty: int | None = None
    """Most answers that may be empty; None: all but one."""

    @property
    def answers(self) -> int:
        """How many there have to be."""
        return self.prompts * self.repeats * (sum(self.sizes) if self.traverse else len(self.sizes))


def in_one_count(answers: Iterable[GivenAnswer], asked: Asked) -> list[GivenAnswer]:
    """The answers with their repeats counted through all batch sizes: the n-th time that a lane was asked."""
    runs = {size: run for run, size in enumerate(asked.sizes)}
    if len(runs) == 1:
        return list(answers)
    return [replace(each, repeat=runs[each.batch_size or 0] * asked.repeats + each.repeat) for each in answers]


def problems_with(answers: Sequence[GivenAnswer], asked: Asked) -> list[str]:
    """What is missing, for a person to read; nothing if every lane has answered what it had to."""
    if len(asked.sizes) == 1:
        short = _short(answers, asked, asked.sizes[0], told="")
    elif untold := [each for each in answers if each.batch_size not in asked.sizes]:
        sizes = ", ".join(map(str, asked.sizes))
        return [
            f"answers of batch size {untold[0].batch_size}, but {sizes} ran: the profile must tell where to read it"
        ]
    elif [each for each in answers if not 1 <= each.repeat <= asked.repeats]:
        return [f"answers of repeats beyond 1 to {asked.repeats}"]
    else:
        runs = {size: [each for each in answers if each.batch_size == size] for size in asked.sizes}
        short = [
            text for size, given in runs.items() for text in _short(given, asked, size, told=f" with batch size {size}")
        ]
    return short or _empty(answers, asked)


def _short(answers: Sequence[GivenAnswer], asked: Asked, size: int, *, told: str) -> list[str]:
    given = Counter(answer.lane for answer in answers)
    if strangers := sorted(given.keys() - set(range(size))):
        return [f"answers of batch {strangers[0]}{told}, but only {size} ran (they are counted from 0)"]
    wanted = asked.prompts * asked.repeats
    sums = f"{wanted} ({asked.prompts} prompts × {asked.repeats} repeats)"
    if not asked.traverse:
        found = len({(answer.repeat, answer.index) for answer in answers})
        return [] if found == wanted == len(answers) else [f"{found} answers instead of {sums} in all batches{told}"]
    return [
        f"{given[lane]} answers instead of {sums}{_in(lane) if size > 1 else ''}{told}"
        for lane in range(size)
        if given[lane] != wanted
    ]


def _empty(answers: Sequence[GivenAnswer], asked: Asked) -> list[str]:
    """A model may say nothing; one that says nothing at all has not run."""
    empty = [answer for answer in answers if not answer.text.strip()]
    most = len(answers) - 1 if asked.most_empty is None else asked.most_empty
    if not empty or len(empty) <= most:
        return []
    limit = "" if asked.most_empty is None else f", and most_empty allows {most}"
    return [f"{len(empty)} of {len(answers)} answers are empty{limit}; the first to {_which(empty[0])}"]


def _which(answer: GivenAnswer) -> str:
    return f"question {answer.index} of repeat {answer.repeat}{_in(answer.lane)}"


def _in(lane: int) -> str:
    return f" in batch {lane}" if lane else ""


def _placed(unplaced: Unplaced, counted: Counter[tuple[int | None, ...]], prompts: int) -> GivenAnswer:
    """The answer with its position in the order of the file, if the tool gives none."""
    given, index, repeat = unplaced.given, unplaced.index, unplaced.repeat
    among = (given.batch_size, given.lane, index, repeat)
    rounds = counted[among]
    counted[among] += 1
    if index is None:
        rounds, index = divmod(rounds, max(prompts, 1))
    return replace(given, index=index, repeat=rounds + 1 if repeat is None else repeat)
