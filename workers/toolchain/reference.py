"""Reference answers, computed with transformers: a script of its own, run by the interpreter that has it.

It asks one question at a time in the words of the model's own chat template (a bare question where there is none) and
takes the most likely token each time, as the cards do. What the model's generation_config.json would change about that
is left out. Rounding differs between devices and number formats, so a long answer may part from that of the cards.

Exit code 2: the call is wrong, or what it needs is not installed; the last line says which. The file of answers
appears when all of them are there.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

REMEDY = (
    "pip install '.[golden]' where the worker is installed, or name an interpreter that has them in TX81_GOLDEN_PYTHON"
)


NEEDED = ("torch", "transformers")

_LOOK = f"import importlib.util as u; raise SystemExit(None in map(u.find_spec, {NEEDED}))"


def can_run(interpreter: Path) -> bool:
    """Whether the interpreter has what the script imports; nothing of that is imported."""
    try:
        looked = subprocess.run([interpreter, "-I", "-c", _LOOK], capture_output=True, timeout=60, check=False, env={})
    except (OSError, subprocess.SubprocessError):
        return False
    return looked.returncode == 0


def main() -> int:
    """Answer every question of a file."""
    options = _parser().parse_args()
    try:
        answer = _model(options)
    except ImportError as missing:
        print(f"{missing.name or missing} is not installed for {sys.executable}: {REMEDY}", file=sys.stderr)
        return 2
    text = Path(options.prompts).read_text("utf-8-sig")
    questions = [line.strip() for line in text.split("\n") if line.strip()]
    aside = Path(f"{options.out}.part")
    with aside.open("w", encoding="utf-8") as written:
        for number, question in enumerate(questions, 1):
            print(f"question {number}/{len(questions)}", flush=True)
            row = {"question": question, **answer(question)}
            written.write(json.dumps(row, ensure_ascii=False) + "\n")
        written.flush()
        os.fsync(written.fileno())
    aside.rename(options.out)
    print(f"done: {len(questions)} answers")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="reference", allow_abbrev=False)
    parser.add_argument("--model", required=True, help="folder of the weights, with the publisher's config.json")
    parser.add_argument("--prompts", required=True, help="questions, one a line")
    parser.add_argument("--out", required=True, help="file of the answers, JSON lines")
    parser.add_argument("--max-tokens", type=int, required=True)
    parser.add_argument("--dtype", choices=("bfloat16", "float16", "float32"), required=True)
    parser.add_argument("--device", required=True, help="cpu, or cuda")
    return parser


def _model(options: argparse.Namespace) -> Callable[[str], dict[str, Any]]:
    """What answers a question; everything is loaded."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(options.model, local_files_only=True)
    dtype = getattr(torch, options.dtype)
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=dtype, local_files_only=True)
    model = model.to(options.device).eval()
    longest = model.config.max_position_embeddings

    def answer(question: str) -> dict[str, Any]:
        asked = _asked(tokenizer, question).to(options.device)
        length = asked["input_ids"].shape[1]
        with torch.inference_mode():
            said = model.generate(
                **asked, max_new_tokens=max(1, min(options.max_tokens, longest - length)), do_sample=False,
                num_beams=1, repetition_penalty=1.0, no_repeat_ngram_size=0, temperature=None, top_p=None, top_k=None,
                pad_token_id=tokenizer.pad_token_id or tokenizer.eos_token_id,
            )  # fmt: skip
        tokens = said[0][length:]
        return {"answer": tokenizer.decode(tokens, skip_special_tokens=True), "output_tokens": len(tokens)}

    return answer


def _asked(tokenizer: Any, question: str) -> Any:
    if tokenizer.chat_template is None:
        return tokenizer(question, return_tensors="pt")
    turns = [{"role": "user", "content": question}]
    return tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True, return_tensors="pt")


if __name__ == "__main__":
    raise SystemExit(main())
