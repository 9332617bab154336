"""What a job asks of slots. Jobs with equal demands form a class, so that placing never looks at every queued job."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.model.lacks import DISK, PORT
from orchestrator.model.slots import SlotKind, SlotName
from orchestrator.model.states import ServiceState

_NAMED = re.compile(r"([^!=@]+\.)?(g|cpu)[0-9]+")
_COUNT = re.compile(r"x([0-9]+)")
_LIMIT = re.compile(r"<([0-9]+)")
_CANARY = "canary"
_PROVISION = "provision"
_SERVE = "serve"


@dataclass(frozen=True)
class Demand:
    """Slots of `kind`, all of one host: those that `only` names if it names any, none of `exclude` (both as `g3` of any
    host, or `HOST.g3`), on a host that carries all of `labels` (`NAME=VALUE`)."""

    kind: SlotKind
    only: tuple[str, ...] = ()
    exclude: frozenset[str] = frozenset()
    labels: frozenset[str] = frozenset()
    count: int = 1
    """How many, where `only` does not name each of them."""
    limit: int | None = None
    """Power of two of seconds that the run limits of the class do not exceed, so that short jobs are found after long
    ones without reading the queue; None if it was not noted."""
    canary: bool = False
    """It may also have a slot that is quarantined, to find out whether its cards work."""
    provision: bool = False
    """It may have a slot whatever took it out of service, to set up its host."""
    release: str | None = None
    """Whose tools it needs: a host that turned out to lack them is left out."""
    serve: bool = False
    """It needs a port of the host."""

    @property
    def slots(self) -> int:
        """How many slots a job of this class holds at once; more than one is a gang."""
        return len(self.only) or self.count

    @property
    def unlimited(self) -> "Demand":
        """The same slots, however long the job may run: what jobs compete for."""
        return self if self.limit is None else replace(self, limit=None)

    def within(self, run_seconds: int) -> "Demand":
        """The class of jobs with the same demand whose run limit is about this one."""
        return replace(self, limit=1 << (run_seconds - 1).bit_length())

    def key(self) -> str:
        """The class as text, the same for equal demands: `card_group g3 <64`, `cpu !lab1.cpu0`, `card_group x2 a=b`."""
        count = [f"x{self.count}"] if self.count > 1 else []
        limit = [f"<{self.limit}"] if self.limit is not None else []
        special = [word for word, meant in self._specials.items() if meant]
        special += [f"@{self.release}"] if self.release is not None else []
        excluded = sorted(f"!{slot}" for slot in self.exclude)
        return " ".join([str(self.kind), *self.only, *special, *count, *limit, *excluded, *sorted(self.labels)])

    @property
    def _specials(self) -> dict[str, bool]:
        return {_CANARY: self.canary, _PROVISION: self.provision, _SERVE: self.serve}

    @classmethod
    def parse(cls, key: str) -> "Demand":
        """The demand that `key` was made from."""
        kind, *rest = key.split()
        labels = frozenset(part for part in rest if "=" in part)
        exclude = frozenset(part[1:] for part in rest if part.startswith("!"))
        release = next((part[1:] for part in rest if part.startswith("@")), None)
        only = tuple(part for part in rest if _NAMED.fullmatch(part))
        count, limit = _number(_COUNT, rest) or 1, _number(_LIMIT, rest)
        special = {"canary": _CANARY in rest, "provision": _PROVISION in rest, "serve": _SERVE in rest}
        return cls(SlotKind(kind), only, exclude, labels, count, limit, **special, release=release)

    def admits(self, slot: "FreeSlot") -> bool:
        """Whether a job of this class may run on `slot`."""
        return self.selects(slot) and not self.excludes(slot) and not self.misses(slot)

    def selects(self, slot: "FreeSlot") -> bool:
        """Whether `slot` is of the kind, the names and the labels that are asked for, excluded or not."""
        if slot.name.kind is not self.kind or not self._enters(slot.service) or not self.labels <= slot.labels:
            return False
        return not self.only or any(name in self.only for name in slot.names)

    def _enters(self, service: ServiceState) -> bool:
        if service is ServiceState.IN_SERVICE or self.provision:
            return True
        return self.canary and service is ServiceState.QUARANTINED

    def excludes(self, slot: "FreeSlot") -> bool:
        """Whether the request names `slot` as one it must not run on."""
        return bool(self.exclude) and not self.exclude.isdisjoint(slot.names)

    def misses(self, slot: "FreeSlot") -> bool:
        """Whether the host of `slot` turned out not to have something that is needed."""
        return bool(self.missing(slot))

    def missing(self, slot: "FreeSlot") -> list[str]:
        """What is needed of it and its host turned out not to have, by the names of `orchestrator.model.lacks`."""
        return [name for name in (DISK, PORT if self.serve else None, self.release) if name in slot.lacks]


@dataclass(frozen=True)
class FreeSlot:
    """A slot as placing sees it, whatever it is doing."""

    id: str
    name: SlotName
    labels: frozenset[str] = frozenset()
    """Of its host, each written `NAME=VALUE`."""
    kcore: str | None = None
    """Digest of the kernel image that was placed on it last."""
    service: ServiceState = ServiceState.IN_SERVICE
    """Quarantined: offered to canaries. Drained: to who sets up its host, who may have a quarantined one too."""
    lacks: frozenset[str] = frozenset()
    """What its host turned out not to have: releases, and the other names of `orchestrator.model.lacks`."""

    @property
    def host(self) -> str:
        """The server whose slot it is."""
        return self.id.rpartition(".")[0]

    @property
    def names(self) -> tuple[str, str]:
        """Both ways in which a request may name it: `HOST.g3`, and `g3`."""
        return self.id, str(self.name)


def _number(pattern: re.Pattern[str], parts: Iterable[str]) -> int | None:
    return next((int(found[1]) for part in parts if (found := pattern.fullmatch(part))), None)


def labels_of(given: Iterable[tuple[str, str]]) -> frozenset[str]:
    """Names and values of labels in the one form in which they are compared."""
    return frozenset(f"{name}={value}" for name, value in given)


def hosts_with_enough(demand: Demand, slots: Iterable[FreeSlot]) -> dict[str, list[FreeSlot]]:
    """Of `slots` those that the demand admits, by host, where one host has as many as it asks for."""
    hosts: dict[str, list[FreeSlot]] = {}
    for slot in slots:
        if demand.admits(slot):
            hosts.setdefault(slot.host, []).append(slot)
    return {host: found for host, found in hosts.items() if len(found) >= demand.slots}


def free_slot(
    slot_id: str,
    name: str,
    labels: Mapping[str, str] | None,
    kcore: str | None,
    service: ServiceState = ServiceState.IN_SERVICE,
    lacks: Mapping[str, Any] | None = None,
) -> FreeSlot:
    """A slot's row as placing sees it; every slot carries the label `host` with the name of its host."""
    host = slot_id.rpartition(".")[0]
    carried = labels_of({**(labels or {}), "host": host}.items())
    return FreeSlot(slot_id, SlotName.parse(name), carried, kcore, service, frozenset(lacks or ()))
