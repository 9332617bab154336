"""Are these cards free? Which processes have them open, and which cards are missing.

A card is in use by every process that has its device node open, under any path: in a container the same card has
another node, with a device number of its own mount. Processes of other users are only seen by root; the number of
processes that could not be inspected is reported. An idle entry in `tsm_smi` only proves that no process uses the card;
whether it works is checked by a canary.
"""

import fnmatch
import glob
import os
import pwd
import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from sqlalchemy.orm import Session

from orchestrator.catalog.lookups import default_release
from orchestrator.errors import BadSpec
from orchestrator.model.profile import CardCheck, ProbeRule
from orchestrator.settings import Settings
from workers.host import open_files
from workers.host.open_files import Identity, Look, SharedLooks
from workers.processes.ask import ask
from workers.processes.matching import search
from workers.processes.process import Command
from workers.processes.tree import Shim

MOST_HOLDERS = 20
"""Told of one look; who has opened a card a thousand times is told once."""

_CARD = "TX81CARDNUMBER"
"""Stands for the number of a card in a pattern."""

_COMMAND_LENGTH = 300
_SAID_LENGTH = 2000


@dataclass(frozen=True)
class Holder:
    """A process that has a card open."""

    card: int
    pid: int
    command: str
    user: str
    attempt: str | None = None
    """The running attempt of another slot of this host that it belongs to (`workers.host.strays`)."""

    def __str__(self) -> str:
        whose = "" if self.attempt is None else f", a process of {self.attempt}, whose cards are others"
        return f"pid {self.pid} of {self.user} ({self.command or 'no command line'}){whose}"


@dataclass(frozen=True)
class Finding:
    """What one look at some cards has shown."""

    cards: tuple[int, ...]
    missing: tuple[tuple[int, str], ...] = ()
    """Cards that are not there, each with what was looked for."""
    holders: tuple[Holder, ...] = ()
    busy: tuple[tuple[int, str], ...] = ()
    """Cards that the vendor's check does not call free, each with what it printed."""
    unseen: int = 0
    """Processes of others that we may not look into."""
    began: float = 0.0
    """When the look began that has shown it, by the monotonic clock; it may be another worker's."""

    @property
    def free(self) -> bool:
        """Whether every card exists and is open in no process."""
        return not (self.missing or self.holders or self.busy)

    @property
    def strayed(self) -> bool:
        """Whether the cards are only open in tools of other attempts of this host, which are stopped for it."""
        others = all(holder.attempt is not None for holder in self.holders)
        return bool(self.holders) and others and not (self.missing or self.busy)

    @property
    def not_free(self) -> frozenset[int]:
        """The cards that something speaks against."""
        told = [card for card, _ in (*self.missing, *self.busy)]
        return frozenset([*told, *(holder.card for holder in self.holders)])

    def sentence(self) -> str:
        """What speaks against the cards, in one line."""
        if self.missing:
            card, what = self.missing[0]
            return f"card {card} is missing: {what}"
        if self.holders:
            return f"card {self.holders[0].card} is open in {self.holders[0]}"
        if self.busy:
            card, said = self.busy[0]
            last = next((line for line in reversed(said.splitlines()) if line.strip()), "it printed nothing")
            return f"card {card} is not free according to the vendor's check: {last.strip()}"
        return f"cards {', '.join(map(str, self.cards))} are free" if self.cards else "there is no card to check"

    def document(self) -> dict[str, Any]:
        """The same as JSON."""
        return {
            "cards": list(self.cards),
            "missing": [{"card": card, "looked_for": what} for card, what in self.missing],
            "holders": [vars(holder) for holder in self.holders],
            "busy": [{"card": card, "said": said} for card, said in self.busy],
            "unseen_processes": self.unseen,
        }


def default_probe(session: Session, settings: Settings) -> "Probe":
    """What a slot is looked at with where no attempt names a release: as the default one says, or the driver's way."""
    release = default_release(session)
    if release is not None:
        with suppress(ValidationError):
            rule = ProbeRule.model_validate(release.profile.get("probe", {}))
            root = settings.release_roots.get(release.name, release.root)
            return Probe(rule, devices=settings.devices_dir, root=str(root))
    return Probe(ProbeRule(), devices=settings.devices_dir, root="")


@dataclass(frozen=True)
class Opened:
    """The cards that some processes have open."""

    cards: Mapping[int, set[int]]
    """By process; those with none are left out."""
    unseen: int
    """Processes that we may not look into."""

    @property
    def all(self) -> set[int]:
        """Of all these processes."""
        return {card for cards in self.cards.values() for card in cards}


@dataclass(frozen=True)
class _Nodes:
    """The device nodes of some cards that are there."""

    files: dict[Path, Identity]
    cards: dict[Identity, int]


class Probe:
    """Looks at the cards of this host as one profile says."""

    def __init__(self, rule: ProbeRule, *, devices: Path, root: str, shared: SharedLooks | None = None) -> None:
        """`shared`: the looks of the other workers, where it is enough that one of them has looked."""
        self._rule = rule
        self._words = {"devices": str(devices), "root": root}
        self._shared = shared

    def __eq__(self, other: object) -> bool:
        """Whether the other looks at the same things in the same way."""
        return isinstance(other, Probe) and (self._rule, self._words) == (other._rule, other._words)

    __hash__ = None  # type: ignore[assignment]

    def look(
        self, cards: Sequence[int], *, since: float | None = None, own: Callable[[], Collection[int]] | None = None,
        shim: Shim | None = None, keep_fds: Sequence[int] = (),
    ) -> Finding:  # fmt: skip
        """Which of these cards are missing or held by any process but this one. None of ours may run now, unless `own`
        says which those are: then they, and what has ended when it is asked, hold nothing.

        If another worker has seen that they are free, at `since` by the monotonic clock or later, that will do. The
        vendor's check is asked too, if its program is there: under `shim` or one of its own, with `keep_fds`."""
        nodes, missing = self._nodes(cards)
        seen, shared = self._seen(nodes, since, own)
        foreign = self._foreign(nodes, seen, shared=shared, own=own)
        holders = [_holder(card, pid) for pid, card in foreign[:MOST_HOLDERS]]
        finding = Finding(tuple(cards), tuple(missing), tuple(holders), unseen=seen.unseen, began=seen.began)
        if not finding.free or self._rule.check is None:
            return finding
        return self._asked(self._rule.check, finding, shim, keep_fds)

    def opened_by(self, pids: Iterable[int]) -> Opened:
        """The cards of the whole host that each of these processes has open."""
        nodes, _ = self._nodes(self._numbers())
        seen = open_files.look(nodes.files, pids)
        return Opened({pid: {nodes.cards[one] for one in held} for pid, held in seen.opened.items()}, seen.unseen)

    def nodes(self) -> dict[Path, int]:
        """The device nodes of the whole host that are there, each with its card."""
        nodes, _ = self._nodes(self._numbers())
        return {path: nodes.cards[one] for path, one in nodes.files.items()}

    def _numbers(self) -> list[int]:
        """The numbers of all cards of the host, as many as it has and as its driver numbers them: by their nodes."""
        known = {name: glob.escape(text) for name, text in self._words.items()}
        found: set[int] = set()
        for pattern in self._rule.nodes:
            if "{card}" in pattern:
                number = re.compile(fnmatch.translate(_fill(pattern, known, _CARD)).replace(_CARD, "([0-9]{1,9})"))
                matches = map(number.fullmatch, glob.glob(_fill(pattern, known, "[0-9]*")))
                found |= {int(match[1]) for match in matches if match is not None and len(set(match.groups())) == 1}
        return sorted(found)

    def _nodes(self, cards: Iterable[int]) -> tuple[_Nodes, list[tuple[int, str]]]:
        files: dict[Path, Identity] = {}
        by_card: dict[Identity, int] = {}
        missing = []
        for card in cards:
            for pattern in self._rule.nodes:
                found = self._files(pattern, card)
                if "{card}" in pattern:
                    files |= found
                    by_card |= dict.fromkeys(found.values(), card)
                if not found:
                    missing.append((card, f"{_fill(pattern, self._words, card)}; is the driver loaded?"))
        return _Nodes(files, by_card), missing

    def _files(self, pattern: str, card: int) -> dict[Path, Identity]:
        paths = [_fill(pattern, self._words, card)]
        if glob.has_magic(pattern):
            paths = glob.glob(_fill(pattern, {name: glob.escape(text) for name, text in self._words.items()}, card))
        return {Path(path): found for path in paths if (found := open_files.identity(path))}

    def _seen(self, nodes: _Nodes, since: float | None, own: Callable[[], Collection[int]] | None) -> tuple[Look, bool]:
        """A look at these nodes, and whether it is another worker's."""
        if self._shared is None or since is None or not nodes.files:
            return open_files.look(nodes.files), False

        def every_node() -> dict[Path, Identity]:
            return self._nodes(self._numbers())[0].files | nodes.files

        def free_of_others(seen: Look) -> bool:
            # Who held a card when another worker looked may have closed it since.
            return seen.covers(nodes.files) and not self._foreign(nodes, seen, shared=True, own=own)

        return self._shared.look(every_node, since=since, enough=free_of_others)

    def _foreign(
        self, nodes: _Nodes, seen: Look, *, shared: bool, own: Callable[[], Collection[int]] | None
    ) -> list[tuple[int, int]]:
        """Process and card, where that is not its right. Who was seen by another worker and has ended holds nothing."""
        held = [(pid, nodes.cards[one]) for pid, files in seen.opened.items() for one in files if one in nodes.cards]
        ours = {os.getpid(), *(own() if held and own is not None else ())}
        foreign = sorted((pid, card) for pid, card in held if pid not in ours and not self._by_right(pid))
        if not shared and own is None:
            return foreign
        return [(pid, card) for pid, card in foreign if os.path.exists(f"/proc/{pid}")]

    def _by_right(self, pid: int) -> bool:
        try:
            return os.readlink(f"/proc/{pid}/exe") in self._rule.holders
        except OSError:
            return False

    def _asked(self, check: CardCheck, seen: Finding, shim: Shim | None, keep_fds: Sequence[int]) -> Finding:
        environment = {name: _fill(value, self._words, 0) for name, value in check.environment.items()}
        program = _fill(check.argv[0], self._words, 0)
        if shutil.which(program, path=environment.get("PATH", "")) is None:
            if self._rule.tells_cards:
                return seen
            why = f"{program} is not installed, and the one node of all cards does not tell who holds them"
            return replace(seen, busy=tuple((card, why) for card in seen.cards))
        missing, busy = [], []
        with tempfile.TemporaryDirectory(prefix="tx81-probe-") as folder:
            for card in seen.cards:
                argv = tuple(_fill(word, self._words, card) for word in check.argv)
                told = ask(
                    Command(argv, environment, Path("/")), folder=Path(folder), seconds=check.seconds, shim=shim,
                    keep_fds=keep_fds, limit=_SAID_LENGTH,
                )  # fmt: skip
                if told.exit_code != 0:
                    missing.append((card, f"{' '.join(argv)} ended with {told.exit_code or 'no answer'}: {told.last}"))
                elif search(check.free, told.said) is None:
                    busy.append((card, told.said))
        return replace(seen, missing=tuple(missing), busy=tuple(busy))


def command_of(pid: int) -> str:
    """The command line of a process as one line, shortened; empty if it has none or is gone."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()[: 4 * _COMMAND_LENGTH]
    except OSError:
        return ""
    line = words.replace(b"\0", b" ").decode("utf-8", "replace").strip()
    return "".join(char if char.isprintable() else "?" for char in line)[:_COMMAND_LENGTH]


def _holder(card: int, pid: int) -> Holder:
    try:
        uid = os.stat(f"/proc/{pid}").st_uid
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = f"uid {uid}"
    except OSError:
        user = "a process that has ended"
    return Holder(card, pid, command_of(pid), user)


def _fill(text: str, words: Mapping[str, str], card: int | str) -> str:
    known = {**words, "card": str(card)}

    def word(match: re.Match[str]) -> str:
        if match[1] not in known:
            raise BadSpec(
                f"the profile's probe uses {{{match[1]}}}, but only these are known: {', '.join(sorted(known))}"
            )
        return known[match[1]]

    return re.sub(r"\{(\w+)\}", word, text)
