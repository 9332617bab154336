"""Card, toolchain or model: from the outcomes of a small cross of runs to the cause of wrong answers or faults. Pure.

The cross: the same kernel image on another card group (`elsewhere`), and the last good kernel image on the same card
group (`here`), each repeated. It is held against what was observed: the job that somebody asks about.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class CrossOutcome(StrEnum):
    """The outcome of one run, or of all repeats of a cell."""

    RIGHT = "right"  #: All answers are right.
    WRONG = "wrong"  #: Some answer is wrong, or the tool failed by itself.
    FAULTED = "faulted"  #: Cards, hosts or the system failed.
    MIXED = "mixed"  #: Repeats of the same run disagree.
    UNFINISHED = "unfinished"  #: Cancelled, or not placed in time: nothing is known.
    ABSENT = "absent"  #: It could not be run.


class Cause(StrEnum):
    """What is to blame."""

    CARD = "card"
    TOOLCHAIN = "toolchain"
    MODEL = "model"
    CANNOT_TELL = "cannot_tell"


@dataclass(frozen=True)
class Decision:
    """The verdict, in one word and in one sentence."""

    cause: Cause
    why: str


def of_repeats(runs: Sequence[CrossOutcome]) -> CrossOutcome:
    """One outcome for all repeats of a cell; what is not known of one repeat, the others tell."""
    known = {run for run in runs if run not in (CrossOutcome.UNFINISHED, CrossOutcome.ABSENT)}
    if not runs:
        return CrossOutcome.ABSENT
    if not known:
        return CrossOutcome.UNFINISHED
    if len(known) == 1:
        return known.pop()
    return CrossOutcome.MIXED if CrossOutcome.RIGHT in known else CrossOutcome.WRONG


def decide(observed: CrossOutcome, elsewhere: CrossOutcome, here: CrossOutcome, *, healed: int = 0) -> Decision:
    """The cause. A fault on the other group says nothing about wrong answers on this one: that group may be broken.

    `healed` prompts were answered wrong by the job, and right by every run on the other group: wrong answers to other
    prompts there do not clear the card."""
    if healed and elsewhere is CrossOutcome.WRONG and here is not CrossOutcome.RIGHT:
        return Decision(
            Cause.CANNOT_TELL,
            f"{healed} prompts that were answered wrong on this card group are answered right on another one, and "
            "others are wrong there too: the card may be one of several causes; golden answers that max_tokens cuts "
            "short are always wrong",
        )
    if elsewhere is CrossOutcome.MIXED:
        return Decision(
            Cause.CANNOT_TELL, "repeats with the same kernel image on another card group disagree with each other"
        )
    works_elsewhere = _works(elsewhere, unknown=() if observed is CrossOutcome.FAULTED else (CrossOutcome.FAULTED,))
    works_here = _works(here)
    if (
        works_elsewhere is False
        and works_here is False
        and (elsewhere, here) != (CrossOutcome.WRONG, CrossOutcome.WRONG)
    ):
        if elsewhere is here is CrossOutcome.FAULTED:
            return Decision(Cause.CANNOT_TELL, "runs fault on both card groups: look at the host and its driver first")
        return Decision(
            Cause.CANNOT_TELL,
            f"the kernel image is {elsewhere} on another card group, and the last good one is {here} on this one: "
            "there is more than one cause",
        )
    return _TABLE[works_elsewhere, works_here]


def _works(outcome: CrossOutcome, unknown: Sequence[CrossOutcome] = ()) -> bool | None:
    """Whether a cell works; None if it says nothing."""
    if outcome in (CrossOutcome.ABSENT, CrossOutcome.UNFINISHED, *unknown):
        return None
    return outcome is CrossOutcome.RIGHT


_TABLE = {
    (True, False): Decision(
        Cause.CARD,
        "the same kernel image is right on another card group, and the last good one is wrong on this card group",
    ),
    (True, None): Decision(
        Cause.CARD,
        "the same kernel image is right on another card group (half of the cross: no good kernel image was run here)",
    ),
    (None, False): Decision(
        Cause.CARD, "a kernel image that was good before is wrong on this card group (half of the cross)"
    ),
    (False, True): Decision(
        Cause.TOOLCHAIN,
        "the kernel image is wrong on another card group too, and the last good one is right on this card group",
    ),
    (None, True): Decision(
        Cause.TOOLCHAIN, "the last good kernel image is right on this card group (half of the cross)"
    ),
    (False, False): Decision(
        Cause.MODEL,
        "both kernel images are wrong, on both card groups: they share the model, its prompts and its reference",
    ),
    (True, True): Decision(
        Cause.CANNOT_TELL,
        "each half is right by itself: the fault did not repeat, or needs this kernel image on this card group",
    ),
    (False, None): Decision(
        Cause.CANNOT_TELL,
        "the kernel image is wrong on another card group too, so it is not the card; without a good kernel image, "
        "toolchain and model cannot be told apart",
    ),
    (None, None): Decision(Cause.CANNOT_TELL, "no run of the cross gave a result"),
}
