"""The vendor's packages: the wheels in a tree, and the archives from which a tree can be unpacked.

`python -m emulator package DIR` writes the archives with `SHA256SUMS`. Unpacked in one folder they give a tree
for which the guide's installation chapters are still to be done. Everything is packed with fixed times and owners: the
same source gives the same bytes.
"""

import hashlib
import io
import json
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from gzip import GzipFile
from pathlib import Path

from emulator.installation.image import image
from emulator.installation.packing import add, packed
from emulator.installation.scripts import SOURCE, launcher_text
from emulator.installation.wheels import digest
from emulator.tree import BUILD, ENGINE, MARKER, Tree

SUMS = "SHA256SUMS"
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
_VERSION = BUILD.split("_")[0]
_TORCH = "torch-2.0.0a0+gitd8b87bc-cp310-cp310-linux_x86_64.whl"
_TORCH_XLA = "torch_xla-2.0.0+2cfaf58.tf.180e6e1-cp310-cp310-linux_x86_64.whl"


def marker_text() -> str:
    """What stands in the file by which a tree is known."""
    return json.dumps({"python": sys.executable, "source": str(SOURCE)}) + "\n"


def write_wheels(tree: Tree) -> None:
    """The wheels in their places: the converter's `whl` folder, the quantiser's, and the engine's archive."""
    for name in (_TORCH, _TORCH_XLA):
        _write_if_new(tree.convert / "whl" / name, _wheel(name))
    quantiser = f"tx8_quant-{_VERSION}-py3-none-any.whl"
    script = {"tx8-quant": launcher_text("compiler.quantise").encode()}
    _write_if_new(tree.quantiser / quantiser, _wheel(quantiser, script))
    engine = {name: _wheel(name) for name in (f"txnn-{_VERSION}-py3-none-any.whl", "vllm-0.4.0+tx8-py3-none-any.whl")}
    archive = _packed(partial(_add_all, files={f"{ENGINE}/{name}": data for name, data in engine.items()}))
    _write_if_new(tree.engine, archive)
    beside = tree.engine.with_name(tree.engine.name + ".sha256")
    _write_if_new(beside, f"{hashlib.sha256(archive).hexdigest()}  {tree.engine.name}\n".encode())


def package(target: Path, lay_out: Callable[[Tree], None]) -> list[Path]:
    """Write the archives of a fresh tree (`lay_out` makes it) and their checksums into a folder."""
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tx81-") as folder:
        tree = Tree(Path(folder))
        lay_out(tree)
        archives = {
            "opt.miniconda.tar.gz": [tree.conda],
            "TX8100_REX1032_Release_v4.3.7.p3.tar.gz": [tree.image, tree.driver],
            f"txnn_convert_{BUILD}.tar.gz": [tree.convert.parent],
            f"txnn_{BUILD}.tar.gz": [tree.script.parent],
        }
        for name, tops in archives.items():
            _write_if_new(target / name, _packed(partial(_add_tree, tree=tree, tops=tops)))
    written = [target / name for name in archives]
    sums = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in written)
    _write_if_new(target / SUMS, sums.encode())
    return written


def _wheel(filename: str, scripts: Mapping[str, bytes] | None = None) -> bytes:
    """A small wheel of that name: a package that knows its version, and scripts."""
    name, version, *tags = filename.removesuffix(".whl").split("-")
    facts = f"{name}-{version}.dist-info"
    files = {
        f"{name}/__init__.py": f'"""An emulated package."""\n\n__version__ = "{version}"\n'.encode(),
        **{f"{name}-{version}.data/scripts/{script}": text for script, text in (scripts or {}).items()},
        f"{facts}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{facts}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {'-'.join(tags)}\n".encode(),
    }
    record = "".join(f'"{path}",{digest(data)},{len(data)}\n' for path, data in files.items())
    files[f"{facts}/RECORD"] = f"{record}{facts}/RECORD,,\n".encode()
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for path, data in files.items():
            archive.writestr(zipfile.ZipInfo(path, _LONG_AGO), data)
    return made.getvalue()


def write_image(tree: Tree) -> None:
    """The archive of the container image, where the driver is."""
    _write_if_new(tree.image, image())


def _packed(fill: Callable[[tarfile.TarFile], None]) -> bytes:
    made = io.BytesIO()
    with GzipFile(fileobj=made, mode="wb", mtime=0) as stream:
        stream.write(packed(fill))
    return made.getvalue()


def _add_all(archive: tarfile.TarFile, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        add(archive, name, data)


def _add_tree(archive: tarfile.TarFile, tree: Tree, tops: Sequence[Path]) -> None:
    """Parts of the tree, after what every tree has: whichever archive comes first makes it one."""
    add(archive, MARKER, marker_text().encode())
    for folder in (tree.events.parent, tree.faults):
        _add_path(archive, tree, folder)
    for path in [path for top in tops for path in (top, *sorted(top.rglob("*")))]:
        _add_path(archive, tree, path)


def _add_path(archive: tarfile.TarFile, tree: Tree, path: Path) -> None:
    entry = archive.gettarinfo(path, arcname=str(path.relative_to(tree.home)))
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = "root"
    if entry.isreg():
        with path.open("rb") as file:
            archive.addfile(entry, file)
    else:
        archive.addfile(entry)


def _write_if_new(path: Path, data: bytes) -> None:
    """Leave a file alone that is right already: somebody may be reading it."""
    if path.is_file() and path.read_bytes() == data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.tmp")
    fresh.write_bytes(data)
    fresh.replace(path)
