"""`Tsm_driver_…_installer.run install silicon`: makes the device nodes of the 32 cards.

Running it again changes nothing: a node that exists keeps its owner.
"""

import os
from collections.abc import Sequence

from emulator.tool import Parser, run, say
from emulator.tree import CARDS, Tree, this_tree


def main(argv: Sequence[str]) -> int:
    """Run the installer as the guide's chapter on starting the devices does."""
    tree = this_tree()
    parser = Parser(tree.driver.name)
    parser.add_argument("action", choices=("install",))
    parser.add_argument("target", choices=("silicon",))
    parser.parse_args(argv)
    bring_up(tree)
    for card in range(CARDS):
        say(f"[driver] {tree.card(card)} ready")
    say(f"[driver] {CARDS} devices ready")
    return 0


def bring_up(tree: Tree) -> None:
    """Make what is missing; the manager's node comes last, because it is the sign that the driver is up."""
    tree.cards.mkdir(parents=True, exist_ok=True)
    for path in (*(tree.card(card) for card in range(CARDS)), tree.manager):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644))


if __name__ == "__main__":
    raise SystemExit(run(main))
