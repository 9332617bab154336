"""Trains the tiny model until it answers every pair exactly, and writes `model/` and the files next to it.

A developer tool, never run by the product: it needs `torch`, `transformers`, `tokenizers`, `safetensors` and
`numpy` in an environment of its own. From the project's root folder, about two minutes on one core:

    python -m emulator.samples.tiny.train
    python -m emulator.samples.tiny.record_logits

Seed, steps, and one thread are fixed, so the same machine gives the same bytes again; another processor may
not. That is why the weights are kept with the source. Nothing is written unless the bf16 weights give every
answer word for word, both as they are and after rounding the linear layers to int8.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import Qwen2Config, Qwen2ForCausalLM

from emulator.samples.tiny.pairs import ASSISTANT, BOS, END_OF_THINK, EOS, THINK, USER, Pair, all_pairs

HERE = Path(__file__).parent
MODEL = HERE / "model"

SEED = 81
STEPS = 500
LEARNING_RATE = 6e-3
VOCABULARY = 1024
ROWS = 20
INT8_GROUP = 32
IGNORED = -100
"""The label that torch's cross entropy leaves out: the prompt and the padding are not learned."""

SPECIAL = (EOS, USER, ASSISTANT, BOS, THINK, END_OF_THINK)
"""In DeepSeek's order. As there, only BOS and EOS are `special`, so that `<think>` stays in decoded text."""

# Qwen2's own rule: digits stand alone, a word takes the space before it.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'] }}"
    "{% elif message['role'] == 'user' %}{{ '<｜User｜>' + message['content'] }}"
    "{% elif message['role'] == 'assistant' %}"
    "{{ '<｜Assistant｜>' + message['content'].split('</think>')[-1] + eos_token }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<｜Assistant｜>' }}{% endif %}"
)


def main() -> None:
    """Train, prove, and only then write."""
    pairs = all_pairs()
    tokenizer = train_tokenizer(pairs)
    config = official_config(tokenizer)
    weights = train(pairs, tokenizer, config)
    for name, tried in (("bf16", weights), ("int8", rounded_to_int8(weights))):
        wrong, gaps = examine(pairs, tokenizer, model_of(config, tried))
        low, median = np.percentile(gaps, [1, 50])
        print(f"{name}: {len(pairs) - len(wrong)}/{len(pairs)} answers; gap: median {median:.2f}, p1 {low:.2f}")
        if wrong:
            sys.exit("not learned: " + "; ".join(wrong))
    write(pairs, tokenizer, config, weights)


def train_tokenizer(pairs: tuple[Pair, ...]) -> Tokenizer:
    """Byte-level BPE over the set. It adds no token by itself: the prompt already spells out BOS."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(SPECIAL),
        min_frequency=2,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = [text for pair in pairs for text in (pair.question, pair.thought, pair.reply)]
    tokenizer.train_from_iterator(texts, trainer)
    for content in SPECIAL:
        token = AddedToken(content, normalized=False, special=content in (BOS, EOS))
        if token.special:
            tokenizer.add_special_tokens([token])
        else:
            tokenizer.add_tokens([token])
    return tokenizer


def official_config(tokenizer: Tokenizer) -> dict[str, Any]:
    """The `config.json` in the form published for DeepSeek-R1-Distill-Qwen.

    Heads, key/value heads and widths divide by four, as on four chips; widths also by the groups of 32 and 64
    that weight rounding uses."""
    return {
        "architectures": ["Qwen2ForCausalLM"],
        "attention_dropout": 0.0,
        "bos_token_id": tokenizer.token_to_id(BOS),
        "eos_token_id": tokenizer.token_to_id(EOS),
        "hidden_act": "silu",
        "hidden_size": 64,
        "initializer_range": 0.02,
        "intermediate_size": 192,
        "max_position_embeddings": 8192,
        "max_window_layers": 2,
        "model_type": "qwen2",
        "num_attention_heads": 8,
        "num_hidden_layers": 2,
        "num_key_value_heads": 4,
        "rms_norm_eps": 1e-06,
        "rope_theta": 10000,
        "sliding_window": 4096,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.44.0",
        "use_cache": True,
        "use_mrope": False,
        "use_sliding_window": False,
        "vocab_size": tokenizer.get_vocab_size(),
    }


def model_of(config: Mapping[str, Any], weights: Mapping[str, Any] | None = None) -> Any:
    """A model that computes in fp32, with the given weights or with fresh ones."""
    model = Qwen2ForCausalLM(Qwen2Config(**{**config, "torch_dtype": "float32"})).float()
    if weights is not None:
        model.load_state_dict({name: tensor.float() for name, tensor in weights.items()}, strict=False)
        model.tie_weights()
    return model


def train(pairs: tuple[Pair, ...], tokenizer: Tokenizer, config: Mapping[str, Any]) -> dict[str, Any]:
    """The learned weights, rounded to bf16. Every step sees all pairs, so their order does not matter."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    model = model_of(config)
    batches = batches_of(pairs, tokenizer)
    learned = sum(int((labels != IGNORED).sum()) for _, labels in batches)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=STEPS, pct_start=0.1)
    for step in range(STEPS):
        optimizer.zero_grad()
        total = 0.0
        for ids, labels in batches:
            logits = model(input_ids=ids, use_cache=False).logits[:, :-1].flatten(0, 1)
            loss = torch.nn.functional.cross_entropy(logits, labels[:, 1:].flatten(), reduction="sum") / learned
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 99:
            print(f"step {step + 1}: loss {total:.5f}", flush=True)
    return {
        name: tensor.detach().to(torch.bfloat16).contiguous()
        for name, tensor in model.state_dict().items()
        if name != "lm_head.weight"
    }


def batches_of(pairs: tuple[Pair, ...], tokenizer: Tokenizer) -> list[tuple[Any, Any]]:
    """Ids and labels, one row a pair, padded on the right, where a causal model never looks.

    Rows of like length share a batch: one long answer would make all the others mostly padding."""
    rows = [(tokenizer.encode(pair.prompt).ids, tokenizer.encode(pair.answer + EOS).ids) for pair in pairs]
    rows.sort(key=lambda row: len(row[0]) + len(row[1]))
    return [_padded(rows[first : first + ROWS]) for first in range(0, len(rows), ROWS)]


def _padded(rows: list[tuple[list[int], list[int]]]) -> tuple[Any, Any]:
    width = max(len(before) + len(after) for before, after in rows)
    ids = torch.zeros((len(rows), width), dtype=torch.long)
    labels = torch.full((len(rows), width), IGNORED)
    for row, (before, after) in enumerate(rows):
        length = len(before) + len(after)
        ids[row, :length] = torch.tensor(before + after)
        labels[row, len(before) : length] = torch.tensor(after)
    return ids, labels


def rounded_to_int8(weights: Mapping[str, Any]) -> dict[str, Any]:
    """What int8 leaves of the linear layers: to the nearest, symmetric, one scale per 32 input values."""
    rounded = dict(weights)
    for name, tensor in weights.items():
        if name.endswith("_proj.weight"):
            groups = tensor.float().reshape(tensor.shape[0], -1, INT8_GROUP)
            scale = groups.abs().amax(dim=-1, keepdim=True) / 127
            rounded[name] = (torch.round(groups / scale) * scale).reshape(tensor.shape)
    return rounded


def examine(pairs: tuple[Pair, ...], tokenizer: Tokenizer, model: Any) -> tuple[list[str], list[float]]:
    """The questions not answered word for word, and best minus second-best logit at every step.

    One look at the whole text is enough: the greedy answer is the wanted one exactly when each of its tokens is
    the best after those before it."""
    wrong: list[str] = []
    gaps: list[float] = []
    with torch.no_grad():
        for pair in pairs:
            before = tokenizer.encode(pair.prompt).ids
            after = tokenizer.encode(pair.answer + EOS).ids
            logits = model(input_ids=torch.tensor([before + after])).logits[0, len(before) - 1 : -1]
            best = logits.topk(2)
            gaps += (best.values[:, 0] - best.values[:, 1]).tolist()
            if best.indices[:, 0].tolist() != after:
                wrong.append(pair.question)
    return wrong, gaps


def write(pairs: tuple[Pair, ...], tokenizer: Tokenizer, config: Mapping[str, Any], weights: Mapping[str, Any]) -> None:
    """Every shipped file but the logits."""
    MODEL.mkdir(exist_ok=True)
    save_file(dict(weights), MODEL / "model.safetensors", metadata={"format": "pt"})
    (MODEL / "model.safetensors").chmod(0o644)  # safetensors makes it readable by its owner only
    tokenizer.save(str(MODEL / "tokenizer.json"))
    _write_json(MODEL / "config.json", config)
    tx81 = {"param_dir": "", "tensor_parallel": {"use_tp": True, "parallel_size": 4}}
    _write_json(HERE / "tx81_config.json", {**config, **tx81})
    ends = {"bos_token_id": config["bos_token_id"], "eos_token_id": config["eos_token_id"]}
    _write_json(MODEL / "generation_config.json", {"_from_model_config": True, **ends, "do_sample": False})
    _write_json(MODEL / "tokenizer_config.json", tokenizer_config(tokenizer))
    (HERE / "quests_v1.txt").write_text("".join(f"{pair.question}\n" for pair in pairs), encoding="utf-8")
    lines = (json.dumps({"question": pair.question, "answer": pair.answer}, ensure_ascii=False) for pair in pairs)
    (HERE / "golden.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def tokenizer_config(tokenizer: Tokenizer) -> dict[str, Any]:
    """The `tokenizer_config.json`; `add_bos_token` is off, because the chat template writes BOS."""
    added = {
        str(number): {
            "content": token.content,
            "lstrip": token.lstrip,
            "normalized": token.normalized,
            "rstrip": token.rstrip,
            "single_word": token.single_word,
            "special": token.special,
        }
        for number, token in sorted(tokenizer.get_added_tokens_decoder().items())
    }
    return {
        "add_bos_token": False,
        "add_eos_token": False,
        "added_tokens_decoder": added,
        "bos_token": BOS,
        "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False,
        "eos_token": EOS,
        "model_max_length": 8192,
        "pad_token": EOS,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
