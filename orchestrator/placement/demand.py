"""What a job asks of a slot. Jobs with equal demands form a class, so that placing never looks at every queued job."""

from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.model.slots import SlotKind, SlotName


@dataclass(frozen=True)
class Demand:
    """One slot of `kind`: `only` that one if given, and none of `exclude` (`g3` of any host, or `HOST.g3`)."""

    kind: SlotKind
    only: str | None = None
    exclude: frozenset[str] = frozenset()

    def key(self) -> str:
        """The class as text, the same for equal demands: `card_group`, `card_group g3`, `cpu !lab1.cpu0`."""
        parts = [str(self.kind), *([self.only] if self.only else []), *sorted(f"!{slot}" for slot in self.exclude)]
        return " ".join(parts)

    @classmethod
    def parse(cls, key: str) -> "Demand":
        """The demand that `key` was made from."""
        kind, *rest = key.split()
        only = next((part for part in rest if not part.startswith("!")), None)
        return cls(SlotKind(kind), only, frozenset(part[1:] for part in rest if part.startswith("!")))

    def admits(self, slot: "FreeSlot") -> bool:
        """Whether a job of this class may run on `slot`."""
        names = {slot.id, str(slot.name)}
        wanted = self.only is None or self.only in names
        return slot.name.kind is self.kind and wanted and not names & self.exclude


@dataclass(frozen=True)
class FreeSlot:
    """A slot that is in service, has a live worker and no lease."""

    id: str
    name: SlotName


def classes_with_a_slot(keys: Iterable[str], free: Iterable[FreeSlot]) -> list[str]:
    """The demand classes that some free slot admits; jobs of the others need not be looked at."""
    slots = list(free)
    return [key for key in keys if any(Demand.parse(key).admits(slot) for slot in slots)]
