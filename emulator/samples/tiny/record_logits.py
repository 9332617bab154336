"""Records `logits.npz`: what Hugging Face transformers computes in fp32 from the shipped bf16 weights.

A developer tool, needing what `train.py` needs. Run it after training, from the project's root folder:

    python -m emulator.samples.tiny.record_logits

An engine is compared with this file, so that torch is not needed to test one. Nothing is written unless the
shipped folder, loaded and run in the usual way, gives every line of `golden.jsonl`.
"""

import json
import sys
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import Qwen2ForCausalLM

from emulator.samples.tiny.pairs import EOS, all_pairs, prompt
from emulator.samples.tiny.train import HERE, MODEL

LONG = 300
"""Tokens of the longest input: enough to show a wrong rotation or a wrong mask far from the start."""


def main() -> None:
    """Check the answers, then record."""
    torch.set_num_threads(1)
    tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    model = Qwen2ForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
    wrong = wrong_answers(model, tokenizer)
    if wrong:
        sys.exit("differs from golden.jsonl: " + "; ".join(wrong))
    arrays: dict[str, Any] = {}
    for name, ids in inputs(tokenizer).items():
        positions = sorted({0, len(ids) // 3, 2 * len(ids) // 3, len(ids) - 1})
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids])).logits[0]
        arrays[f"{name}.ids"] = np.array(ids, dtype=np.int32)
        arrays[f"{name}.positions"] = np.array(positions, dtype=np.int32)
        arrays[f"{name}.logits"] = logits[positions].numpy().astype(np.float32)
        print(f"{name}: {len(ids)} tokens, std of logits {arrays[f'{name}.logits'].std():.3f}")
    np.savez_compressed(HERE / "logits.npz", **arrays)


def wrong_answers(model: Any, tokenizer: Tokenizer) -> list[str]:
    """The questions whose greedy answer, decoded step by step with a cache, is not the golden one."""
    wrong = []
    for line in (HERE / "golden.jsonl").read_text(encoding="utf-8").splitlines():
        pair = json.loads(line)
        ids = tokenizer.encode(prompt(pair["question"])).ids
        given = model.generate(
            input_ids=torch.tensor([ids]),
            attention_mask=torch.ones((1, len(ids)), dtype=torch.long),
            max_new_tokens=512,
            do_sample=False,
            pad_token_id=tokenizer.token_to_id(EOS),
        )[0].tolist()[len(ids) :]
        if given[-1] != tokenizer.token_to_id(EOS) or tokenizer.decode(given) != pair["answer"]:
            wrong.append(pair["question"])
    return wrong


def inputs(tokenizer: Tokenizer) -> dict[str, list[int]]:
    """Token ids by name: questions alone, questions with their answers, an unknown one, and a long text."""
    pairs = {pair.question: pair for pair in all_pairs()}
    chinese = pairs["请背诵《静夜思》。"]
    emoji = pairs["Reply with one emoji: are you well?"]
    everything = "".join(pair.prompt + pair.answer + EOS for pair in pairs.values())
    texts = {
        "english_prompt": prompt("What is the capital of France?"),
        "chinese_prompt": prompt("9.11和9.8哪个大？"),
        "chinese_answered": chinese.prompt + chinese.answer,
        "emoji_answered": emoji.prompt + emoji.answer,
        "unknown_prompt": prompt("Что такое 量子 (quantum) тунель? 🤔"),
        "long_text": everything,
    }
    return {name: tokenizer.encode(text).ids[:LONG] for name, text in texts.items()}


if __name__ == "__main__":
    main()
