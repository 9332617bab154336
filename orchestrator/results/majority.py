"""The same prompts, the same kernel image, several slots: which of them differs from the majority?

Greedy answers of one image should be equal everywhere. Each slot has one vote per prompt, whatever the number of its
runs, so that a slot with more runs does not outvote the others. Pure.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

LEAST_SLOTS = 3
"""If two disagree, it is unknown which one is wrong."""


@dataclass(frozen=True)
class SlotAnswers:
    """What one slot answered: its answers by prompt, and the number of runs with exactly these answers."""

    slot_id: str
    answers: Mapping[int, str]
    times: int = 1


@dataclass(frozen=True)
class OddSlot:
    """A slot that differs from the majority: on how many prompts, and the first of them."""

    slot_id: str
    prompts: int
    first: int


@dataclass(frozen=True)
class Agreement:
    """How far the answers of the slots agree."""

    prompts: int
    odd: tuple[OddSlot, ...]
    undecided: Annotated[int, Field(description="Prompts without a majority answer.")]
    unsteady: Annotated[
        tuple[str, ...], Field(description="Slots that are not deterministic: different answers to the same prompt.")
    ]
    slots: Annotated[int, Field(description="Number of slots whose answers were compared.")] = 0
    distinct: Annotated[
        int, Field(description="Number of different answers to the prompt that has the most; 1 if all are equal.")
    ] = 0


def differences(found: Agreement) -> list[str]:
    """What does not agree, one sentence each; nothing if all slots give the same answers."""
    said = [f"{odd.slot_id} differs from the majority on {odd.prompts} of {found.prompts} prompts" for odd in found.odd]
    said += [f"{found.undecided} prompts without a majority answer"] if found.undecided else []
    return said + [f"{slot} is not deterministic" for slot in found.unsteady]


def disagreement(found: Agreement) -> str | None:
    """Why it is not shown that all slots agree, where that is required; None if they do."""
    if said := differences(found):
        return "; ".join(said)
    return None if found.slots > 1 else f"answers of {found.slots} slots: nothing to compare"


def agreement(runs: Iterable[SlotAnswers]) -> Agreement:
    """Compare the answers of each slot with the majority answer to each prompt."""
    votes: dict[int, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for run in runs:
        for prompt, answer in run.answers.items():
            votes[prompt][run.slot_id][answer] += run.times
    unlike: dict[str, list[int]] = defaultdict(list)
    unsteady: set[str] = set()
    undecided = 0
    for prompt, slots in sorted(votes.items()):
        unsteady |= {slot for slot, answers in slots.items() if len(answers) > 1}
        usual = _majority([answers.most_common(1)[0][0] for answers in slots.values()])
        if usual is None:
            undecided += 1
            continue
        for slot, answers in slots.items():
            if set(answers) != {usual}:
                unlike[slot].append(prompt)
    odd = tuple(OddSlot(slot, len(prompts), prompts[0]) for slot, prompts in sorted(unlike.items()))
    return Agreement(
        len(votes), odd, undecided, tuple(sorted(unsteady)),
        slots=max((len(slots) for slots in votes.values()), default=0),
        distinct=max((len({text for said in slots.values() for text in said}) for slots in votes.values()), default=0),
    )  # fmt: skip


def _majority(votes: Sequence[str]) -> str | None:
    """The answer of more than half of the slots; None if there is none, or there are too few slots for a majority."""
    answer, count = Counter(votes).most_common(1)[0]
    if count == len(votes):
        return answer
    return answer if len(votes) >= LEAST_SLOTS and 2 * count > len(votes) else None
