"""The emulated cards: files that one process at a time may hold, for as long as it lives.

A card is held by an exclusive `flock` on its device node, which the kernel releases however the process ends;
the node's text names the owner. A text left without a lock means that the owner died without closing (`unclean`).
The real driver's behaviour towards a second opener is not documented; here it is refused, and recorded as a violation.
In the variant `slow-kill` a card that was left unclean is of no use until the driver's installer has run. In the
variant `legacy-nodes` the one node of all cards is open beside what the driver knows of each.
"""

import fcntl
import json
import os
import threading
import time
from collections.abc import Callable, Sequence

from emulator.cards.events import record
from emulator.cards.locks import lock_holder
from emulator.cards.strikes import Strikes
from emulator.tool import Failed, ToolError, complain
from emulator.tree import Tree

_RUNNING = "txStreamSynchronize(stream)"


class CardGroup:
    """Cards held by this process until `close` (or its death)."""

    def __init__(self, tree: Tree, cards: Sequence[int]) -> None:
        self.cards = list(cards)
        self.tokens = 0
        self._tree = tree
        self._handles: list[int] = []
        self._node: int | None = None
        self._strikes = {card: Strikes(tree, str(card)) for card in cards}
        self._held = False

    def open(self, tool: str) -> None:
        """Take all the cards or none; a card that is held elsewhere is `Failed`, and a violation in the log."""
        if not self._tree.manager.exists():
            raise Failed(f"no device: {self._tree.manager} is missing; run: {self._tree.driver} install silicon")
        self._take(tool, self._refuse_faulty_cards)

    def seize(self, tool: str) -> None:
        """Take the cards to work on the machine itself: with the driver down too, and dead ones as well."""
        self._take(tool, lambda: None)

    def _take(self, tool: str, check: Callable[[], None]) -> None:
        record(self._tree.events, "opening", cards=self.cards, tool=tool)
        try:
            for card in self.cards:
                self._handles.append(self._lock(card))
            self._open_one_node()
            check()
            self._sign(tool)
            self._held = True
            record(self._tree.events, "open", cards=self.cards, tool=tool)
        except ToolError as error:
            record(self._tree.events, "refused", cards=self.cards, reason=str(error))
            self.close()
            raise
        except BaseException:
            self.close()
            raise

    def _lock(self, card: int) -> int:
        path = self._tree.card(card)
        try:
            handle = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise Failed(f"no device: {path} is missing; run: {self._tree.driver} install silicon") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # The kernel first: the text may still be that of an owner who died.
            holder = lock_holder(os.fstat(handle)) or _owner(handle).get("pid", "unknown")
            record(self._tree.events, "violation", cards=[card], holder=holder)
            os.close(handle)
            raise Failed(f"{path}: Device or resource busy (held by pid {holder})") from None
        return handle

    def _open_one_node(self) -> None:
        if (node := self._tree.one_node) is not None:
            try:
                self._node = os.open(node, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:
                raise Failed(f"no device: {node} is missing; run: {self._tree.driver} install silicon") from None

    def _refuse_faulty_cards(self) -> None:
        if self._tree.is_variant("slow-kill"):
            self._refuse_unclean_cards()
        for card, strikes in self._strikes.items():
            for fault in strikes.due(0):
                self._lose(card, fault.kind, "txGetDevice(&device)")
                if fault.kind == "stuck":
                    raise Failed(f"{self._tree.card(card)}: Device or resource busy (held by nobody)")
                if fault.kind == "open-fail":
                    raise Failed(f"RuntimeError: TXDA error: (txSetDevice({card})) = cannot open device {card}")

    def _refuse_unclean_cards(self) -> None:
        for card, handle in zip(self.cards, self._handles, strict=True):
            if left_behind := _owner(handle):
                complain("HPGR: device error")
                raise Failed(f"device {card} was left by pid {left_behind.get('pid')} without being closed")

    def _lose(self, card: int, kind: str, call: str) -> None:
        """The card is away if that is what this kind of fault says; else nothing."""
        if kind == "dead":
            complain("HPGR: device error")
        elif kind == "gone":
            self._tree.card(card).unlink(missing_ok=True)
        else:
            return
        raise Failed(f"RuntimeError: TXDA error: ({call}) = device {card} is lost")

    def _sign(self, tool: str) -> None:
        text = json.dumps({"pid": os.getpid(), "tool": tool, "cards": self.cards, "since": round(time.time(), 3)})
        for card, handle in zip(self.cards, self._handles, strict=True):
            left_behind = _owner(handle)
            if left_behind:
                record(self._tree.events, "unclean", cards=[card], owner=left_behind)
            os.ftruncate(handle, 0)
            os.pwrite(handle, text.encode(), 0)

    def strike(self, stop: threading.Event) -> bool:
        """Let the injected faults that are due act before the next token; true if the token is to come out wrong."""
        wrong = False
        for card, strikes in self._strikes.items():
            for fault in strikes.due(self.tokens):
                self._lose(card, fault.kind, _RUNNING)
                if fault.kind == "error":
                    raise Failed(f"RuntimeError: TXDA error: ({_RUNNING}) = device {card} launch failure")
                wrong |= strikes.act(fault, stop.wait)
        self.tokens += 1
        return wrong

    def close(self) -> None:
        """Give the cards back; the log says so before anyone else can take them. Twice is fine."""
        if self._held:
            record(self._tree.events, "close", cards=self.cards, tokens=self.tokens)
            for handle in self._handles:
                os.ftruncate(handle, 0)
        self._held = False
        while self._handles:
            os.close(self._handles.pop())
        if self._node is not None:
            os.close(self._node)
            self._node = None


def _owner(handle: int) -> dict[str, object]:
    text = os.pread(handle, 4096, 0).decode("utf-8", "replace")
    if not text.strip("\0\n "):
        return {}
    try:
        owner = json.loads(text)
    except ValueError:
        owner = None
    return owner if isinstance(owner, dict) else {"text": text}
