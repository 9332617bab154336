"""The container image as `docker load -i` takes it: an archive as `docker save` writes it, always with the same bytes.

It has the guide's name and no programs of its own: links and empty folders. The emulated tools are those of this
machine, so a container needs this machine's /usr, its interpreter and this source mounted.
"""

import hashlib
import io
import json
import tarfile
from functools import partial

from emulator.installation.packing import add, packed

NAME = "hub.tsingmicro.com/tx8/v4.3.7.p3:kuiper-rex1032-release"
_FOLDERS = ("dev", "etc", "home", "mnt", "opt", "proc", "root", "run", "sys", "tmp", "usr", "var")
_LINKS = {"bin": "usr/bin", "lib": "usr/lib", "lib64": "usr/lib64", "sbin": "usr/sbin"}
_COMMAND = ("sleep", "infinity")


def image() -> bytes:
    """The archive."""
    layer = packed(_layer)
    config = json.dumps(
        {
            "architecture": "amd64", "os": "linux", "created": "1980-01-01T00:00:00Z",
            "config": {"Cmd": _COMMAND, "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
            "history": [{"created": "1980-01-01T00:00:00Z", "created_by": "the emulated toolchain"}],
        }
    ).encode()  # fmt: skip
    named = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = [{"Config": named, "RepoTags": [NAME], "Layers": ["layer.tar"]}]
    return packed(partial(_fill, {named: config, "layer.tar": layer, "manifest.json": json.dumps(manifest).encode()}))


def _fill(files: dict[str, bytes], archive: tarfile.TarFile) -> None:
    for name, data in files.items():
        add(archive, name, data)


def _layer(archive: tarfile.TarFile) -> None:
    for folder in _FOLDERS:
        entry = tarfile.TarInfo(folder)
        entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
        archive.addfile(entry)
    for name, to in _LINKS.items():
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = tarfile.SYMTYPE, to
        archive.addfile(entry)
    release = b'NAME="emulated kuiper-rex1032-release"\n'
    entry = tarfile.TarInfo("etc/os-release")
    entry.size = len(release)
    archive.addfile(entry, io.BytesIO(release))
