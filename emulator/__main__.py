"""`python -m emulator install DIR` creates a tree; `audit DIR` looks for double-booked cards in its log; `package DIR`
writes the archives that a tree can be unpacked from; `models KIND DIR` creates a model for it; `kcore MODEL DIR`
compiles one and packs it in the format that the vendor delivers."""

import json
from collections.abc import Sequence
from pathlib import Path

from emulator.cards.events import audit
from emulator.compiler import prebuilt
from emulator.installation.install import install, lay_out
from emulator.installation.packages import package
from emulator.samples import make
from emulator.tool import Parser, Refused, run, say
from emulator.tree import CARDS, MODEL_TYPES, VARIANTS, Tree


def main(argv: Sequence[str]) -> int:
    """Do what the command line asks; `install` prints one JSON object with the tree's places as its last line."""
    if argv[:1] == ["models"]:
        return make.main(argv[1:])
    if argv[:1] == ["kcore"]:
        return prebuilt.main(argv[1:])
    parser = Parser("python -m emulator")
    parser.add_argument("action", choices=("install", "audit", "package", "models", "kcore"))
    parser.add_argument("folder", type=Path)
    parser.flag("--no-driver", action="store_true", help="leave running the driver's installer to you")
    parser.flag("--variant", action="append", choices=VARIANTS, default=[], help="tools that read the guide otherwise")
    options = parser.parse_args(argv)
    tree = Tree(options.folder.resolve())
    if options.action == "audit":
        return _audit(tree)
    if options.action == "package":
        for archive in package(options.folder.resolve(), lay_out):
            say(str(archive))
        return 0
    found = install(tree, with_driver=not options.no_driver, variants=options.variant)
    say(f"installed in {tree.home}: {CARDS} cards, {len(MODEL_TYPES)} backend model types")
    say(json.dumps(found, ensure_ascii=False))
    return 0


def _audit(tree: Tree) -> int:
    if not tree.events.is_file():
        raise Refused(f"{tree.events}: no such file")
    findings = audit(tree.events)
    for finding in findings:
        say(finding)
    say(f"{len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    raise SystemExit(run(main))
