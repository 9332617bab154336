"""What `pip install tx81-orchestrator` makes, without pip and without a network: our wheel and what it requires."""

import subprocess
import sys
import venv
import zipfile
from importlib.metadata import distribution
from pathlib import Path

from house.licences import needed

ROOT = Path(__file__).parents[1]


def install_client(folder: Path) -> Path:
    """A virtual environment with the wheel of this source and the packages that it requires without extras, which are
    links to those that are installed here; its Python."""
    venv.create(folder, symlinks=True)
    site = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], cwd=ROOT, check=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(site)
    for package in required():
        for entry in {file.parts[0] for file in distribution(package).files or ()} - {"..", "__pycache__"}:
            (site / entry).symlink_to(distribution(package).locate_file(entry))
    return folder / "bin" / "python"


def required() -> list[str]:
    """The names of the packages that are installed without extras."""
    return [package.name for package in needed(extras=("",))]
