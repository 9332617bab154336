"""The host's locks on card groups: held for one attempt at a time, whoever leads it, and by its vendor processes.

Beside the lock of a slot, which its worker holds for life: an attempt on several groups is run by the worker of the
first, which can not have the slot locks of the others. What survives an attempt keeps the locks of its cards, so that
nobody starts there, whatever SQL says by then.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from orchestrator.errors import OrchestratorError
from orchestrator.model.failures import Failure, FailureKind, Suspicion
from orchestrator.model.slots import SlotName
from workers import locks


class CardsHeld(OrchestratorError):
    """Someone still uses cards that SQL says are free: nothing was started, and their slot is suspect."""

    code = "cards_held"

    def __init__(self, slot_id: str, holder: str) -> None:
        reason = f"the cards of {slot_id} are still held by {holder}: end what is left of it, then resume the slot"
        super().__init__(reason, slot=slot_id)
        self.failure = Failure(kind=FailureKind.FAULT, reason=reason)
        self.suspicion = Suspicion(reason=reason, blames_job=False, slots=(slot_id,))


@contextmanager
def held(folder: Path, host: str, groups: Sequence[SlotName], *, owner: str) -> Iterator[list[int]]:
    """Hold the cards of these groups for the block, `CardsHeld` at once if somebody else does.

    Gives the descriptors, for the vendor process to inherit. Ascending, as everybody takes them.
    """
    with ExitStack() as taken:
        descriptors = []
        for group in sorted(groups, key=lambda group: group.index):
            try:
                descriptor = locks.take(lock_path(folder, group), owner=owner)
            except locks.Held as other:
                raise CardsHeld(f"{host}.{group}", other.holder) from None
            taken.callback(os.close, descriptor)
            descriptors.append(descriptor)
        yield descriptors


def lock_path(folder: Path, group: SlotName) -> Path:
    """Where the lock on a group's cards lies among the host's locks."""
    return folder / f"{group}.cards.lock"
