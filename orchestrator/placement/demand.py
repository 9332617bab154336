"""What a job asks of a slot. Jobs with equal demands form a class, so that placing never looks at every queued job."""

from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.model.slots import SlotKind, SlotName

_CANARY = "canary"
"""In a key; no slot is called that."""


@dataclass(frozen=True)
class Demand:
    """One slot of `kind`: `only` that one if given, none of `exclude` (`g3` of any host, or `HOST.g3`), and on a host
    that carries all of `labels` (`NAME=VALUE`)."""

    kind: SlotKind
    only: str | None = None
    exclude: frozenset[str] = frozenset()
    labels: frozenset[str] = frozenset()
    canary: bool = False
    """It may also have a slot that is quarantined, to find out whether its cards work."""

    def key(self) -> str:
        """The class as text, the same for equal demands: `card_group g3`, `cpu !lab1.cpu0`, `card_group rack=a`."""
        pin = [self.only] if self.only else []
        canary = [_CANARY] if self.canary else []
        return " ".join(
            [str(self.kind), *pin, *canary, *sorted(f"!{slot}" for slot in self.exclude), *sorted(self.labels)]
        )

    @classmethod
    def parse(cls, key: str) -> "Demand":
        """The demand that `key` was made from."""
        kind, *rest = key.split()
        labels = frozenset(part for part in rest if "=" in part)
        exclude = frozenset(part[1:] for part in rest if part.startswith("!"))
        pins = [part for part in rest if part != _CANARY and part not in labels and not part.startswith("!")]
        return cls(SlotKind(kind), next(iter(pins), None), exclude, labels, canary=_CANARY in rest)

    def admits(self, slot: "FreeSlot") -> bool:
        """Whether a job of this class may run on `slot`."""
        return self.selects(slot) and not self.excludes(slot)

    def selects(self, slot: "FreeSlot") -> bool:
        """Whether `slot` is of the kind, the name and the labels that are asked for, excluded or not."""
        wanted = self.only is None or self.only in slot.names
        allowed = self.canary or not slot.quarantined
        return slot.name.kind is self.kind and wanted and allowed and self.labels <= slot.labels

    def excludes(self, slot: "FreeSlot") -> bool:
        """Whether the request names `slot` as one it must not run on."""
        return not self.exclude.isdisjoint(slot.names)


@dataclass(frozen=True)
class FreeSlot:
    """A slot as placing sees it; given to `place`, one with a live worker and no lease, in service or quarantined."""

    id: str
    name: SlotName
    labels: frozenset[str] = frozenset()
    """Of its host, each written `NAME=VALUE`."""
    kcore: str | None = None
    """Digest of the kernel image that was placed on it last."""
    quarantined: bool = False
    """Offered to canaries alone."""

    @property
    def names(self) -> tuple[str, str]:
        """Both ways in which a request may name it: `HOST.g3`, and `g3`."""
        return self.id, str(self.name)


def labels_of(given: Iterable[tuple[str, str]]) -> frozenset[str]:
    """Names and values of labels in the one form in which they are compared."""
    return frozenset(f"{name}={value}" for name, value in given)


def classes_with_a_slot(keys: Iterable[str], free: Iterable[FreeSlot]) -> list[str]:
    """The demand classes that some free slot admits; jobs of the others need not be looked at."""
    slots = list(free)
    return [key for key in keys if any(Demand.parse(key).admits(slot) for slot in slots)]
