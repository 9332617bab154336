"""`Tsm_driver_…_installer.run install silicon`: makes the device nodes of the 32 cards.

No process may use a card meanwhile: if a card is held, the whole call is refused, and is a violation in the log. While
it works the manager's node does not exist, and a tool that starts then finds no device. An existing node stays the same
file, so that a process that has it open and one that opens it later use the same lock. Cards that were `dead`, `gone`
or `stuck` work again: their fault lines with those words are removed. `faults/driver` applies to the installer, counted
in cards. In the variant `foreground-driver` it stays until SIGINT or SIGTERM, and the driver is down afterwards.
"""

import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path

from emulator.cards.faults import LASTING, FaultFile
from emulator.cards.group import CardGroup
from emulator.cards.strikes import StageFaults
from emulator.tool import Parser, run, say
from emulator.tree import CARDS, Tree, this_tree

_SECONDS_A_CARD = 0.01
"""A third of a second for all: long enough to be seen, short enough for a test."""


def main(argv: Sequence[str]) -> int:
    """Run the installer as the guide's chapter on starting the devices does."""
    tree = this_tree()
    parser = Parser(tree.driver.name)
    parser.add_argument("action", choices=("install",))
    parser.add_argument("target", choices=("silicon",))
    parser.parse_args(argv)
    tree.events.parent.mkdir(parents=True, exist_ok=True)
    _make_cards(tree)
    cards = CardGroup(tree, range(CARDS))
    try:
        cards.seize(tree.driver.name)
        tree.manager.unlink(missing_ok=True)
        say("[driver] module tsingmicro loaded")
        _start(tree)
    finally:
        cards.close()
    _make_node(tree.manager)
    say(f"[driver] {CARDS} devices ready")
    if tree.is_variant("foreground-driver"):
        _stay(tree)
    return 0


def bring_up(tree: Tree) -> None:
    """Make what is missing, and touch nothing else; the manager's node comes last, because it is the sign that the
    driver is up."""
    _make_cards(tree)
    _make_node(tree.manager)


def _stay(tree: Tree) -> None:
    """Be the driver, until somebody ends it."""
    ends = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    try:
        signal.sigwait(ends)
    finally:
        tree.manager.unlink(missing_ok=True)
        say("[driver] module tsingmicro unloaded")


def _make_cards(tree: Tree) -> None:
    tree.cards.mkdir(parents=True, exist_ok=True)
    if tree.one_node:
        _make_node(tree.one_node)
    for card in range(CARDS):
        _make_node(tree.card(card))


def _make_node(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644))


def _start(tree: Tree) -> None:
    faults, moment = StageFaults(tree, "driver"), threading.Event()
    for card in range(CARDS):
        faults.step(card)
        moment.wait(_SECONDS_A_CARD)
        FaultFile(tree, str(card)).clear(LASTING)
        say(f"[driver] {tree.card(card)} ready")


if __name__ == "__main__":
    raise SystemExit(run(main))
