"""`tsm_smi`: a table of the chips and of the processes that hold them.

Three layouts are known from real hosts; `TSM_SMI_LAYOUT` (a, b or c), else the tree's file `smi_layout`, chooses one,
and b is the default. Numbers are invented but constant: a held chip works, another one idles with its base memory. The
holder of a chip comes from the kernel's list of locks: the device nodes are not opened, so that listing a chip is never
counted as use, and a process outside this container is not seen. `-l` lists the chips, `-t` prints the table without
the processes: that is our interpretation, since only the names of the options are known.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emulator.cards.group import CardGroup
from emulator.cards.locks import lock_holder
from emulator.tool import Failed, Parser, Refused, run, say
from emulator.tree import CARDS, DRIVER, GROUP, Tree, this_tree

_LAYOUT = "TSM_SMI_LAYOUT"
_BAR = "+" + "-" * 98 + "+"
_LIMIT_WATT = 200
_TOTAL = {"a": 65536, "b": 131072, "c": 65536}
"""Megabytes of a chip, as each layout's sample shows them."""


@dataclass(frozen=True)
class _Chip:
    """What a row says of one chip."""

    number: int
    holder: int
    """The pid that holds it; 0 for none."""

    @property
    def bus(self) -> str:
        """Its place on the PCI bus; four chips share a board."""
        return f"00000000:{0x3A + self.number // GROUP * 8 + self.number % GROUP:02x}:00.0"

    @property
    def celsius(self) -> int:
        return (52 if self.holder else 41) + self.number % 5

    @property
    def watt(self) -> int:
        return (96 if self.holder else 60) + self.number % 7

    @property
    def megabytes(self) -> int:
        return 22269 if self.holder else 15146

    @property
    def percent(self) -> int:
        return 87 if self.holder else 0


def main(argv: Sequence[str]) -> int:
    """Show the cards, or reset them all."""
    tree, options = this_tree(), _parser().parse_args(argv)
    if options.version:
        say(f"| TSM-SMI Version | {DRIVER} |\n| Driver Version  | {DRIVER} |")
        return 0
    if not tree.manager.exists():
        raise Failed(f"driver is not loaded: {tree.manager} is missing; run: {tree.driver} install silicon")
    if options.reset:
        return _reset(tree)
    chips = _chips(tree, options.index)
    if options.list:
        for chip in chips:
            say(f"Card {chip.number}: TX8110 (bus {chip.bus})")
        return 0
    _show(tree, chips)
    if not options.table:
        _show_processes(chips)
    return 0


def _parser() -> Parser:
    parser = Parser("tsm_smi")
    one = parser.add_mutually_exclusive_group()
    parser.add_argument("-i", dest="index", metavar="id", help="this chip only")
    one.add_argument("-l", dest="list", action="store_true", help="list the chips")
    one.add_argument("-t", dest="table", action="store_true", help="the table without processes")
    one.add_argument("--version", action="store_true")
    one.add_argument("--reset", action="store_true", help="reset all cards of this machine")
    return parser


def _chips(tree: Tree, index: str | None) -> list[_Chip]:
    there = [number for number in range(CARDS) if tree.card(number).exists()]
    if index is not None:
        # The number may be of any length; comparing texts knows no overflow.
        there = [number for number in there if str(number) == index]
        if not there:
            raise Failed(f"Invalid device index: {index}")
    return [_Chip(number, lock_holder(os.stat(tree.card(number)))) for number in there]


def _layout(tree: Tree) -> str:
    chosen = os.environ.get(_LAYOUT) or (tree.smi_layout.read_text().strip() if tree.smi_layout.is_file() else "b")
    if chosen not in _TOTAL:
        raise Refused(f"{_LAYOUT}: {chosen!r} is none of the layouts a, b, c")
    return chosen


def _show(tree: Tree, chips: list[_Chip]) -> None:
    layout = _layout(tree)
    say(_BAR)
    title = f"TSM-SMI {DRIVER}    Driver Version: {DRIVER}    Card count: {len(chips)}    {time.strftime('%F %T')}"
    say(f"| {title:<97}|")
    say(_BAR)
    if layout == "c":
        say("| Card  Name          | Chip  Bus-Id            Temp  Power         Memory-Usage      NPU-Util |")
    else:
        say("| Card  Name            Temp     Power       |  Bus-Id            |   Memory-Usage     NPU-Util | State |")
    say(_BAR)
    for chip in chips:
        say(_row(layout, chip, first=chip.number % GROUP == 0 or len(chips) == 1))
    say(_BAR)


def _row(layout: str, chip: _Chip, *, first: bool) -> str:
    total = _TOTAL[layout]
    if layout == "c":
        card = f"{chip.number // GROUP} TX8110-256-00" if first else ""
        power = f"{chip.watt}W / {_LIMIT_WATT}W"
        memory = f"{chip.megabytes}M / {total}M"
        return f"| {card:<20}| {chip.number} {chip.bus} {chip.celsius}C {power} {memory} {chip.percent}% |"
    name = "TX8110-64GB-PCIe   11100" if layout == "a" else "TX8110-128GB-PCIe  "
    space = " " if layout == "a" else ""
    memory = f"{chip.megabytes}M /{space}{total}M"
    return (
        f"| {chip.number:>3}   {name}   {chip.celsius}C     {chip.watt}W / {_LIMIT_WATT}W  |  {chip.bus}  "
        f"|   {memory}     {chip.percent}%    |  1  |"
    )


def _show_processes(chips: list[_Chip]) -> None:
    say(_BAR)
    say("| Processes:")
    say("|  Card    PID        Process name")
    say(_BAR)
    busy = [chip for chip in chips if chip.holder]
    for chip in busy:
        say(f"| {chip.number}    {chip.holder}    {_name(chip.holder)}")
    if not busy:
        say("| No running processes found")
    say(_BAR)


def _name(pid: int) -> str:
    """The program of a process, as the kernel knows it."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return "-"
    return Path(os.fsdecode(words[0])).name or "-"


def _reset(tree: Tree) -> int:
    """Reset the machine's cards, if nobody at all uses one."""
    cards = CardGroup(tree, [number for number in range(CARDS) if tree.card(number).exists()])
    try:
        cards.seize("tsm_smi --reset")
        for number in cards.cards:
            say(f"reset card {number}: success")
    finally:
        cards.close()
    say("All cards are reset.")
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
