"""Which slots of a batch differ from the majority on the same prompts.

Attempts whose answers have equal digests gave identical answers, so only one attempt for each digest is read.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, Text, func, select
from sqlalchemy.orm import Session, aliased

from orchestrator.results.majority import Agreement, OddSlot, SlotAnswers, agreement
from orchestrator.storage.tables import Answer, Attempt, Job, JobInput

MOST_COMPARED = 200
"""Different sets of answers that are compared; a tool that is not deterministic would give one per job."""

REPEATS_COMPARED = 5
"""Only the first ones of each attempt: a job may repeat its prompts a hundred thousand times."""


@dataclass(frozen=True)
class _Sort:
    """Attempts on the same slots that gave identical answers."""

    slot_ids: Sequence[str]
    digest: str
    one: int
    count: int


def agreement_of(session: Session, batch_id: int) -> Agreement:
    """Compare slots where release, model, kernel image, prompts and longest answer are the same."""
    asked: dict[tuple[Any, ...], list[_Sort]] = defaultdict(list)
    for slot_ids, digest, one, count, *same in session.execute(sorts_of(batch_id)):
        asked[tuple(same)].append(_Sort(json.loads(slot_ids), digest, one, count))
    return _together([_compared(session, sorts[:MOST_COMPARED]) for sorts in asked.values()])


def asked_alike(kcore: Any, prompts: Any) -> tuple[Any, ...]:
    """Columns that are equal for jobs that asked the same of their slots; `kcore` and `prompts` are their inputs."""
    model, longest = Job.spec["model"].as_string(), Job.spec["max_tokens"].as_integer()
    return Job.release, model, longest, kcore.digest, prompts.digest


def sorts_of(batch_id: int) -> Select[Any]:
    """Slots, digest of the answers, one attempt and the number of them, for each set of answers and what was asked; the
    most frequent first."""
    kcore, prompts = aliased(JobInput), aliased(JobInput)
    same = asked_alike(kcore, prompts)
    # As text: databases cannot compare two JSON values.
    slots = Attempt.slot_ids.cast(Text)
    return (
        select(slots, Attempt.answers_digest, func.min(Attempt.id), func.count(), *same)
        .join(Job, Job.id == Attempt.job_id)
        .join(kcore, (kcore.job_id == Job.id) & (kcore.name == "kcore"))
        .join(prompts, (prompts.job_id == Job.id) & (prompts.name == "prompts"))
        .where(Job.batch_id == batch_id, Attempt.answers_digest.is_not(None))
        .group_by(slots, Attempt.answers_digest, *same)
        .order_by(func.count().desc(), func.min(Attempt.id))
    )


def _compared(session: Session, sorts: Iterable[_Sort]) -> Agreement:
    sorts = list(sorts)
    one_of = {sort.digest: sort.one for sort in sorts}
    answers: dict[int, dict[tuple[int, int], dict[int, str]]] = defaultdict(lambda: defaultdict(dict))
    read = select(Answer.attempt_id, Answer.batch, Answer.repeat, Answer.index, Answer.text).where(
        Answer.attempt_id.in_(one_of.values()), Answer.repeat <= REPEATS_COMPARED
    )
    for attempt_id, batch, repeat, prompt, text in session.execute(read):
        answers[attempt_id][batch, repeat][prompt] = text
    return agreement(
        SlotAnswers(sort.slot_ids[batch], given, sort.count)
        for sort in sorts
        for (batch, _repeat), given in answers[one_of[sort.digest]].items()
    )


def _together(found: list[Agreement]) -> Agreement:
    odd: dict[str, OddSlot] = {}
    for each in (slot for compared in found for slot in compared.odd):
        known = odd.setdefault(each.slot_id, OddSlot(each.slot_id, 0, each.first))
        odd[each.slot_id] = OddSlot(each.slot_id, known.prompts + each.prompts, known.first)
    return Agreement(
        prompts=sum(each.prompts for each in found),
        odd=tuple(odd[slot] for slot in sorted(odd)),
        undecided=sum(each.undecided for each in found),
        unsteady=tuple(sorted({slot for each in found for slot in each.unsteady})),
        slots=max((each.slots for each in found), default=0),
        distinct=max((each.distinct for each in found), default=0),
    )
