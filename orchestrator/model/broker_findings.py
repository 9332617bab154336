"""What a look at the broker has shown: does it answer, and do exactly the workers of this installation use it. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

_MOST_NAMES = 5
"""Names in a sentence; the others are counted."""

_COMPARE = "compare TX81_BROKER_URL of the dispatcher and of every worker"


@dataclass(frozen=True)
class BrokerFinding:
    """What speaks against the broker; nothing if all fields are empty."""

    error: str | None = None
    """Why it does not answer."""
    foreign: tuple[str, ...] = ()
    """Workers that use it and belong to no slot of ours, or are one too many for their slot."""
    silent: tuple[str, ...] = ()
    """Slots whose workers send heartbeats and did not answer through the broker."""

    def sentence(self, *, names: bool = True) -> str | None:
        """What is wrong and what to do; None if nothing is. Without `names` for a caller without a token."""
        told = []
        if self.error is not None:
            why = f": {self.error}" if names else "; the log of the dispatcher says why"
            told.append(f"the broker does not answer{why}; no job starts until it does")
        if self.silent:
            told.append(f"live workers do not answer through the broker{_listed(self.silent, names)}; {_COMPARE}")
        if self.foreign:
            whose = "workers of other installations use this broker"
            told.append(f"{whose}{_listed(self.foreign, names)}; give each installation its own")
        return "; ".join(told) or None

    def document(self) -> dict[str, Any]:
        """The same as JSON."""
        return asdict(self)

    @classmethod
    def of(cls, document: Mapping[str, Any] | None) -> Self:
        """The finding of a document; an empty one of None."""
        stored = document or {}
        return cls(stored.get("error"), tuple(stored.get("foreign", ())), tuple(stored.get("silent", ())))


def finding(
    answers: Mapping[str, int], *, slots: Mapping[str, str], alive: Collection[str], silent_before: Collection[str]
) -> tuple[BrokerFinding, frozenset[str]]:
    """What the answers show, and the slots that were silent this time.

    `answers`: how many workers of each node name have answered. `slots`: all slots by node name. A live worker is only
    reported if it was silent before as well: it may have been about to start or to stop."""
    foreign = sorted(
        name if name not in slots else f"{name} (second)" for name in answers if answers[name] > 1 or name not in slots
    )
    silent = frozenset(slot for name, slot in slots.items() if slot in alive and name not in answers)
    return BrokerFinding(None, tuple(foreign), tuple(sorted(silent & frozenset(silent_before)))), silent


def _listed(things: Collection[str], names: bool) -> str:
    if not names:
        return f" ({len(things)})"
    more = len(things) - _MOST_NAMES
    return f": {', '.join(list(things)[:_MOST_NAMES])}{f' and {more} more' if more > 0 else ''}"
