"""Fetches the packages that the `manifest.json` of each named folder pins with the npm client and renews their files.

`make assets` names the folders.

To take another version, change `version` in the manifest, remove its `integrity`, and run this. What a registry serves
for a pinned version must have the recorded integrity: else nothing is written.
"""

import hashlib
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

_MIT = """MIT License

{copyright}

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""
"""For a package that names this licence and ships no copy of it; the holders are in the head of its files."""


def main() -> None:
    """Renew every file of the folders that are named, then their manifests."""
    for folder in sys.argv[1:]:
        renew(Path(folder))


def renew(here: Path) -> None:
    """Renew every file of a folder, then its manifest."""
    manifest = here / "manifest.json"
    packages = json.loads(manifest.read_text("utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        found = [_renewed(package, Path(folder)) for package in packages]
    for written in found:
        for name, content in written.items():
            (here / name).write_bytes(content)
    manifest.write_text(json.dumps(packages, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _renewed(package: dict[str, Any], folder: Path) -> dict[str, bytes]:
    """The files of a package by their names here; completes its entry of the manifest."""
    pinned = f"{package['package']}@{package['version']}"
    told = subprocess.run(
        ["npm", "pack", "--json", "--silent", "--pack-destination", folder, pinned],
        check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    packed = json.loads(told.stdout)
    (report,) = packed if isinstance(packed, list) else packed.values()
    if package.setdefault("integrity", report["integrity"]) != report["integrity"]:
        sys.exit(f"{pinned}: the registry serves {report['integrity']}, the manifest has {package['integrity']}")
    written = {}
    with tarfile.open(folder / Path(report["filename"]).name) as archive:
        for name, entry in package["files"].items():
            written[name] = _read(archive, entry["from"])
            entry["sha256"] = hashlib.sha256(written[name]).hexdigest()
        licence = _licence(archive, package, next(iter(written.values()))) + _notices(archive, package)
    return {**written, package["licence_file"]: licence}


def _licence(archive: tarfile.TarFile, package: dict[str, Any], head: bytes) -> bytes:
    if "package/LICENSE" in archive.getnames():
        return _read(archive, "LICENSE")
    holders = re.findall(r"Copyright [^\n]+", head[:1000].decode())
    if package["licence"] != "MIT" or not holders:
        sys.exit(f"{package['package']} has no licence file")
    return _MIT.format(copyright="\n".join(holders)).encode()


def _notices(archive: tarfile.TarFile, package: dict[str, Any]) -> bytes:
    """What a package asks to be passed on beside its licence, and the licences of what is bundled in its files."""
    wanted = ["NOTICE", *(f"{entry['from']}.LICENSE.txt" for entry in package["files"].values())]
    found = [name for name in wanted if f"package/{name}" in archive.getnames()]
    return b"".join(b"\n" + _read(archive, name) for name in found)


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    stream = archive.extractfile(f"package/{name}")
    assert stream is not None, name
    return stream.read()


if __name__ == "__main__":
    main()
