"""The host's locks on card groups: taken for one attempt at a time, and inherited by its vendor processes.

Beside the lock of a slot, which its worker holds for life: an attempt on several groups is run by the worker of the
first, which cannot have the slot locks of the others. What survives an attempt keeps the locks of its cards, so that
nothing starts there, whatever SQL says by then.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from orchestrator.errors import OrchestratorError
from orchestrator.model.failures import Failure, FailureKind, Suspicion
from orchestrator.model.slots import SlotName
from workers.host import locks

_PATIENCE = 3.0
"""Seconds in which a process that was killed is gone, and its locks with it; a survivor holds them longer."""

_LOOK_AGAIN = 0.1


class CardsHeld(OrchestratorError):
    """Someone still uses cards that SQL says are free: nothing was started, and their slot is suspect."""

    code = "cards_held"

    def __init__(self, slot_id: str, holder: str) -> None:
        reason = (
            f"the cards of {slot_id} are still locked by {holder}: end its remaining processes, then resume the slot"
        )
        super().__init__(reason, slot=slot_id)
        self.failure = Failure(kind=FailureKind.FAULT, reason=reason)
        self.suspicion = Suspicion(reason=reason, blames_job=False, slots=(slot_id,))


@contextmanager
def held(
    folder: Path, host: str, groups: Sequence[SlotName], *, owner: str, patience: float = _PATIENCE
) -> Iterator[list[int]]:
    """Hold the cards of these groups for the block; `CardsHeld` if somebody else does for longer than `patience`.

    Gives the descriptors, for the vendor process to inherit. In ascending order, as in every process.
    """
    give_up = time.monotonic() + patience
    with ExitStack() as taken:
        descriptors = []
        for group in sorted(groups, key=lambda group: group.index):
            try:
                descriptors.append(_taken(lock_path(folder, group), owner, give_up))
            except locks.Held as other:
                raise CardsHeld(f"{host}.{group}", other.holder) from None
            taken.callback(os.close, descriptors[-1])
        yield descriptors


def lock_path(folder: Path, group: SlotName) -> Path:
    """Where the lock on a group's cards lies among the host's locks."""
    return folder / f"{group}.cards.lock"


def _taken(path: Path, owner: str, give_up: float) -> int:
    while True:
        try:
            return locks.take(path, owner=owner)
        except locks.Held:
            if time.monotonic() >= give_up:
                raise
            time.sleep(_LOOK_AGAIN)
