"""Whether the inference engine is installed in its conda environment: offline test and server need it."""

from emulator.tool import Refused
from emulator.tree import ENGINE, Tree

INFERENCE = "tx8_txnn"
"""The conda environment of the inference engine."""
_MODULE = "txnn"


def require_engine(tree: Tree) -> None:
    """Refuse a tree whose inference environment was not deployed."""
    if not any(tree.packages(INFERENCE).glob(f"{_MODULE}-*.dist-info")):
        script = tree.script / "deploy" / "install_vllm.sh"
        raise Refused(f"No module named {_MODULE!r}; run: bash {script} {tree.home} {ENGINE}")
