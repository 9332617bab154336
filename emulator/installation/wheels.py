"""`pip`, as far as the guide uses it: wheels into and out of one conda environment of the tree.

    pip install FILE.whl …      pip uninstall NAME -y      pip list

The real pip is never run: it would change the interpreter that runs the emulator. A wheel is read according to its
specification (a zip whose RECORD has a digest for every file; scripts in `NAME.data/scripts`), except that its
tags are not compared with the interpreter: the vendor's wheels are for Python 3.10, and nothing imports these.
"""

import base64
import csv
import hashlib
import io
import os
import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from emulator.archives import BROKEN_ZIP, MOST_RECORD_BYTES, Left, entries, pieces, require_small_directory
from emulator.tool import Failed, Parser, Refused, complain, run, say
from emulator.tree import Tree, this_tree

_NAME = re.compile(r"(?P<name>[A-Za-z0-9_.]+)-(?P<version>[A-Za-z0-9_.+!]+)(?:-[A-Za-z0-9_.]+){3}\.whl")


def main(argv: Sequence[str]) -> int:
    """Run pip for the environment that the first word names."""
    tree, environment = this_tree(), argv[0]
    parser = Parser("pip")
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("install").add_argument("wheel", nargs="+", type=Path)
    uninstall = actions.add_parser("uninstall")
    uninstall.add_argument("name", nargs="+")
    uninstall.add_argument("-y", "--yes", action="store_true", required=True)
    actions.add_parser("list")
    options = parser.parse_args(argv[1:])
    if options.action == "install":
        say(f"Successfully installed {' '.join(install(tree, environment, wheel) for wheel in options.wheel)}")
    elif options.action == "uninstall":
        for name in options.name:
            _say_uninstalled(name, uninstalled(tree, environment, name))
    else:
        for name, version in sorted(installed(tree, environment).items()):
            say(f"{name:<20} {version}")
    return 0


def _say_uninstalled(name: str, version: str | None) -> None:
    if version is None:
        complain(f"WARNING: Skipping {name} as it is not installed.")
    else:
        say(f"Successfully uninstalled {name}-{version}")


def installed(tree: Tree, environment: str) -> dict[str, str]:
    """Version by name of what an environment holds."""
    found = (path.name.removesuffix(".dist-info") for path in tree.packages(environment).glob("*.dist-info"))
    return dict(name.split("-", 1) for name in found if "-" in name)


def install(tree: Tree, environment: str, wheel: Path) -> str:
    """Unpack one wheel whose every file is what its RECORD says; answers name and version."""
    named = _NAME.fullmatch(wheel.name)
    if named is None:
        raise Refused(f"{wheel.name} is not a valid wheel filename")
    with _opened(wheel) as archive:
        files = _checked(archive, wheel.name, f"{named['name']}-{named['version']}.dist-info")
        for info in files:
            _place(tree, environment, info.filename)
        uninstalled(tree, environment, named["name"])
        left = Left(wheel.name)
        # RECORD comes last: what it lists is there.
        for info in sorted(files, key=lambda info: info.filename.endswith(".dist-info/RECORD")):
            _put(archive, info, _place(tree, environment, info.filename), left)
    return f"{named['name']}-{named['version']}"


def uninstalled(tree: Tree, environment: str, name: str) -> str | None:
    """Remove a package; its version, or None if it was not there."""
    wanted = name.replace("-", "_")
    version = installed(tree, environment).get(wanted)
    if version is None:
        return None
    facts = tree.packages(environment) / f"{wanted}-{version}.dist-info"
    record = facts / "RECORD"
    for entry in _record(record.read_bytes()) if record.is_file() else {}:
        _place(tree, environment, entry).unlink(missing_ok=True)
    shutil.rmtree(facts, ignore_errors=True)
    return version


def _place(tree: Tree, environment: str, name: str) -> Path:
    """Where a file of a wheel goes; a name that leads out of the environment is refused."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise Refused(f"a wheel with the file name {name!r} is not installed")
    if len(path.parts) == 3 and path.parts[0].endswith(".data") and path.parts[1] == "scripts":
        return tree.environment(environment) / "bin" / path.name
    return tree.packages(environment) / path


def _put(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, left: Left) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not into what is there: that may be a link to another environment's script.
        fresh = path.with_name(f".{os.getpid()}.tx81-fresh")
        try:
            with fresh.open("wb") as written:
                for piece in pieces(archive, info, left):
                    written.write(piece)
            fresh.chmod(0o755 if ".data/scripts/" in info.filename else 0o644)
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)
    except OSError as error:
        raise Failed(f"{info.filename[:100]!r} cannot be installed: {error.strerror}") from None


@contextmanager
def _opened(wheel: Path) -> Iterator[zipfile.ZipFile]:
    """A wheel as a zip; Refused or Failed for whatever is wrong with it, also while it is read."""
    try:
        require_small_directory(wheel)
        with zipfile.ZipFile(wheel) as archive:
            yield archive
    except FileNotFoundError:
        raise Refused(f"{wheel}: no such file") from None
    except (*BROKEN_ZIP, csv.Error) as error:
        raise Failed(f"{wheel.name} is an invalid wheel: {error}") from None


def _checked(archive: zipfile.ZipFile, wheel: str, facts: str) -> list[zipfile.ZipInfo]:
    """The files of a wheel, each of which is what RECORD says; their content is not kept."""
    files, left = entries(archive, wheel), Left(wheel)
    record = f"{facts}/RECORD"
    digests = _record(b"".join(pieces(archive, archive.getinfo(record), Left(record, MOST_RECORD_BYTES))))
    for info in files:
        found = hashlib.sha256()
        for piece in pieces(archive, info, left):
            found.update(piece)
        if info.filename != record and digests.get(info.filename) != _spelled(found.digest()):
            raise Failed(f"{wheel} is an invalid wheel: {info.filename} is not what RECORD says")
    return files


def digest(data: bytes) -> str:
    """A file's digest as RECORD spells it."""
    return _spelled(hashlib.sha256(data).digest())


def _spelled(found: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(found).decode().rstrip("=")


def _record(text: bytes) -> Mapping[str, str]:
    rows: Iterator[list[str]] = csv.reader(io.StringIO(text.decode("utf-8")))
    return {row[0]: row[1] for row in rows if len(row) == 3}


if __name__ == "__main__":
    raise SystemExit(run(main))
