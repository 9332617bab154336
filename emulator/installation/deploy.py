"""The guide's two installing scripts: `install_vllm.sh HOME VERSION` and `install_tx8_cpu.sh`.

The first unpacks the engine's archive `VERSION.tar.gz`, checked against the checksum next to it, and installs its
wheels into the environment for inference: without them offline test and server refuse to run. The second installs
`tx8-quant` into the active environment.
"""

import gzip
import hashlib
import os
import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from emulator.archives import MOST_ENTRIES, Counted, Left
from emulator.engine.deployed import INFERENCE
from emulator.installation import wheels
from emulator.installation.scripts import BASE, ENVIRONMENTS
from emulator.tool import CONDA, Failed, Parser, Refused, require_conda, run, say
from emulator.tree import ENGINE, Tree, this_tree

_MOST_BYTES = 64 << 20
"""Of an engine's archive, unpacked; the emulated ones have some KiB."""


def main(argv: Sequence[str]) -> int:
    """Run the script that the first word names."""
    tree, script = this_tree(), argv[0]
    parser = Parser(script)
    if script == "install_tx8_cpu.sh":
        parser.parse_args(argv[1:])
        return _install_quantiser(tree)
    parser.add_argument("home", type=Path, help="the folder that the packages were unpacked in")
    parser.add_argument("version", help="like txnn.1.2.1_build0307")
    options = parser.parse_args(argv[1:])
    require_conda(INFERENCE)
    return _install_engine(tree, options.home, options.version)


def _install_engine(tree: Tree, home: Path, version: str) -> int:
    if not re.fullmatch(r"\w[\w.]*", version):
        raise Refused(f"VERSION {version!r} is not a name like {ENGINE}")
    if not home.is_dir():
        raise Refused(f"HOME {home}: no such folder")
    found = sorted(home.glob(f"txnn_*/{version}.tar.gz"))
    if not found:
        raise Refused(f"{home}: no txnn_*/{version}.tar.gz in it; unpack the package first, or correct VERSION")
    say(f"[deploy] {found[0]}")
    for name in deploy(tree, found[0]):
        say(f"[deploy] Successfully installed {name}")
    say(f"[deploy] install vllm success, environment {INFERENCE}")
    return 0


def deploy(tree: Tree, archive: Path) -> list[str]:
    """Install the wheels of an archive that is what its checksum says; answers their names."""
    _require_checksum(archive)
    with tempfile.TemporaryDirectory(prefix="txnn-") as folder:
        try:
            _unpack(archive, Path(folder))
        except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise Failed(f"{archive}: cannot be unpacked: {error}") from None
        return [wheels.install(tree, INFERENCE, wheel) for wheel in sorted(Path(folder).glob("*.whl"))]


def _unpack(archive: Path, folder: Path) -> None:
    with gzip.open(archive) as unpacked:
        counted = Counted(cast(BinaryIO, unpacked), Left(archive.name, _MOST_BYTES))
        with tarfile.open(fileobj=cast(BinaryIO, counted), mode="r|") as packed:
            for number, member in enumerate(packed, 1):
                if number > MOST_ENTRIES:
                    raise Failed(f"{archive.name} has more than {MOST_ENTRIES} entries")
                if ".." in PurePosixPath(member.name).parts or member.name.startswith("/"):
                    raise Failed(f"{archive}: cannot be unpacked: {member.name!r} is a path outside its folder")
                # Nothing but the wheels is of use, each by its own name, wherever in the archive it is.
                if member.isreg() and (name := PurePosixPath(member.name).name).endswith(".whl"):
                    with (folder / name).open("wb") as wheel:
                        shutil.copyfileobj(cast(BinaryIO, packed.extractfile(member)), wheel)


def _require_checksum(archive: Path) -> None:
    """The digest that `sha256sum` wrote beside the archive must be the archive's."""
    beside = archive.with_name(archive.name + ".sha256")
    if not beside.is_file():
        raise Failed(f"{beside}: no such file; the archive cannot be trusted without its checksum")
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if beside.read_text("utf-8", "replace").split()[:1] != [found]:
        raise Failed(f"{archive}: checksum is not that of {beside.name}; fetch the package again")


def _install_quantiser(tree: Tree) -> int:
    environment = os.environ.get(CONDA) or BASE
    if environment not in (BASE, *ENVIRONMENTS):
        raise Refused(f"conda environment {environment!r} is none of {', '.join((BASE, *ENVIRONMENTS))}")
    for wheel in sorted(tree.quantiser.glob("*.whl")):
        say(f"Successfully installed {wheels.install(tree, environment, wheel)}")
    say(f"tx8-quant is installed, environment {environment}")
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
