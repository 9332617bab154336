"""The paths in an installed tree, and the meaning of every backend model type.

The names are the guide's; `xxx` is build 0307 as in its footnote, and of its different spellings we use the
underscore form.
"""

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from emulator.tool import Refused

ROOT_VARIABLE = "TX81_EMULATOR_ROOT"
MARKER = ".tx81-emulator"
DRIVER = "4.3.7.P3"
BUILD = "1.2.1_build0307"
ENGINE = f"txnn.{BUILD}"
"""What `install_vllm.sh` is given as VERSION."""
CARDS = 32
GROUP = 4
MAX_SEQUENCE = 8192
"""The guide's kcore is `seq8192` and no flag chooses it."""
TINY = "DeepSeek-R1-Distill-Qwen-Tiny"
VARIANTS = ("bs-wins", "no-jsonl", "legacy-nodes", "slow-kill", "firmware-tree", "foreground-driver", "qwen2-gm")
"""Trees whose tools read the guide in another way; the profile that fits each is in `emulator/variants`."""


class Family(StrEnum):
    """The kinds of models as the converter's types and the conda environments tell them apart."""

    QWEN2 = "qwen2"
    LLAMA2 = "llama2"
    LLAMA3 = "llama3"

    @property
    def architecture(self) -> str:
        """What `config.json` calls it."""
        return "Qwen2ForCausalLM" if self is Family.QWEN2 else "LlamaForCausalLM"


class Precision(StrEnum):
    """How the linear weights are stored: as in the checkpoint, or int8 from a `.gm` file."""

    FLOAT = "float"
    INT8 = "int8"


@dataclass(frozen=True)
class ModelType:
    """One value of `--backend-model-type`: what it takes and which folder it writes to."""

    family: Family
    precision: Precision
    folder: str


def _folder(stem: str, layers: int) -> str:
    return f"{stem}_{layers}b_c{GROUP}_2"


def _type(family: Family, stem: str, layers: int) -> ModelType:
    precision = Precision.INT8 if stem.endswith("_quant") else Precision.FLOAT
    return ModelType(family, precision, _folder(stem, layers))


MODEL_TYPES = {
    "deepseek_qwen2_1.5b_bf16": _type(Family.QWEN2, "deepseek_qwen2_1.5b_bf16", 28),
    "deepseek_qwen2_7b_bf16": _type(Family.QWEN2, "deepseek_qwen2_7b_bf16", 28),
    "deepseek_qwen2_14b_bf16": _type(Family.QWEN2, "deepseek_qwen2_14b_bf16", 48),
    "qwen2_14b_quant": _type(Family.QWEN2, "deepseek_qwen2_14b_quant", 48),
    "deepseek_qwen2_32b_bf16": _type(Family.QWEN2, "deepseek_qwen2_32b_bf16", 64),
    "qwen2_32b_quant": _type(Family.QWEN2, "deepseek_qwen2_32b_quant", 64),
    "deepseek_llama3_8b_bf16": _type(Family.LLAMA3, "deepseek_llama3_8b_bf16", 32),
    "deepseek_llama3_8b_quant": _type(Family.LLAMA3, "deepseek_llama3_8b_quant", 32),
    "deepseek_llama3_70b_bf16": _type(Family.LLAMA3, "deepseek_llama3_70b_bf16", 80),
    "deepseek_llama3_70b_quant": _type(Family.LLAMA3, "deepseek_llama3_70b_quant", 80),
    "llama2_7b_fp16": _type(Family.LLAMA2, "llama2_7b_fp16", 32),
    "llama2_7b_quant": _type(Family.LLAMA2, "llama2_7b_quant", 32),
    "qwen2_7b_bf16": _type(Family.QWEN2, "deepseek_qwen2_7b_bf16", 28),
    "qwen2_7b_quant": _type(Family.QWEN2, "deepseek_qwen2_7b_quant", 28),
}
"""The guide's fourteen types. It shows the folder of the two 7b Qwen types; the others follow that pattern, with the
layer count of the published model. Sizes are not checked: a small model may be converted under any type of its
family."""


@dataclass(frozen=True)
class Tree:
    """The paths below one installation's home folder."""

    home: Path

    @property
    def marker(self) -> Path:
        """The file by which an installation knows its own home folder."""
        return self.home / MARKER

    @property
    def driver(self) -> Path:
        """The driver's installer."""
        return self.home / f"Tsm_driver_{DRIVER}_x86_64_installer.run"

    @property
    def image(self) -> Path:
        """The container image, as `docker load` takes it."""
        return self.home / f"TX8100_REX1032_Release_v{DRIVER.lower()}.tar"

    @property
    def cards(self) -> Path:
        """The folder of the device nodes; absent until the driver was installed. With one node for all cards: of what
        the driver itself knows of each."""
        return self.home / "state" / "chips" if self.one_node else self.home / "dev" / "accel"

    @property
    def one_node(self) -> Path | None:
        """The device node of all cards, in the variant that has no node for each."""
        return self.home / "dev" / "tsm" / "txnpu" if self.is_variant("legacy-nodes") else None

    @property
    def manager(self) -> Path:
        """The driver manager's node: its absence means that the driver is not up."""
        return self.home / "dev" / ("tsm/txnpu_ctrl" if self.one_node else "accel_drv_mgr")

    @property
    def events(self) -> Path:
        """The log of everything that happened to a card."""
        return self.home / "state" / "events.jsonl"

    @property
    def faults(self) -> Path:
        """The folder of injected faults."""
        return self.home / "faults"

    @property
    def smi_layout(self) -> Path:
        """A file with the letter of the layout that `tsm_smi` prints in, where that is not the usual one."""
        return self.home / "smi_layout"

    @property
    def variants(self) -> Path:
        """A file with the names of the variants of this tree, one a line; absent where it has none."""
        return self.home / "variants"

    def is_variant(self, name: str) -> bool:
        """Whether its tools read the guide as this variant does."""
        try:
            return name in self.variants.read_text("utf-8").split()
        except FileNotFoundError:
            return False

    @property
    def models(self) -> Path:
        """One folder per model."""
        return self.home / "models"

    @property
    def conda(self) -> Path:
        """The unpacked conda folder."""
        return self.home / "miniconda"

    def environment(self, name: str) -> Path:
        """One conda environment's folder; `base` is conda's own."""
        return self.conda if name == "base" else self.conda / "envs" / name

    def packages(self, environment: str) -> Path:
        """The folder that a conda environment imports Python packages from."""
        return self.environment(environment) / "lib" / "python3.10" / "site-packages"

    @property
    def convert(self) -> Path:
        """The converter's folder, with `convert_weight.py`."""
        return self.home / f"txnn_convert_{BUILD}" / "convert_weight"

    @property
    def toolchain(self) -> Path:
        """`toolchain_release`, the first argument of `soc_compile.sh`."""
        return self.convert / "toolchain_release"

    @property
    def quantiser(self) -> Path:
        """The folder with `install_tx8_cpu.sh`."""
        return self.convert / "install_tx8_quant"

    @property
    def engine(self) -> Path:
        """The inference engine's archive."""
        return self.home / f"txnn_{BUILD}" / f"{ENGINE}.tar.gz"

    @property
    def script(self) -> Path:
        """The inference package's scripts."""
        return self.home / f"txnn_{BUILD}" / "script"

    @property
    def infer(self) -> Path:
        """The folder with `offline_auto_test.py`."""
        return self.script / "run_infer"

    @property
    def prompts(self) -> Path:
        """The vendor's questions, one a line."""
        return self.infer / "quests_v1.txt"

    @property
    def golden(self) -> Path:
        """The answers expected to them, JSON lines."""
        return self.infer / "golden_v1.jsonl"

    def card(self, number: int) -> Path:
        """The device node of one card."""
        return self.cards / f"dev-{number}"

    def node(self, model_type: ModelType) -> Path:
        """The fixed folder the converter writes a type to."""
        return self.toolchain / "codegen_tool" / "bin" / model_type.folder / "node_0_0"


def this_tree() -> Tree:
    """The tree whose script is running; the script says so through the environment."""
    root = os.environ.get(ROOT_VARIABLE, "")
    if not root:
        raise Refused(f"{ROOT_VARIABLE} is not set; call the tools by their scripts in an installed tree")
    tree = Tree(Path(root).resolve())
    if not tree.marker.is_file():
        raise Refused(f"{tree.home} is not an installed tree; run: python -m emulator install {tree.home}")
    return tree
