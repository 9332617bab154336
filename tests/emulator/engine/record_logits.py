"""Records `hugging_face.npz`: what Hugging Face transformers computes in fp32 for every kind of `kinds.py`.

A developer tool that needs torch and transformers, which no test does. From the project's root folder:

    python -m tests.emulator.engine.record_logits

For each kind there are the logits of the weights as they are, and of the int8 ones multiplied out. Last made with torch
2.13.0 (CPU), transformers 5.23.0 and numpy 2.4.6 on x86-64.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from emulator.cards.strikes import StageFaults
from emulator.compiler.quantise import quantise
from emulator.models import config
from emulator.models.weights import open_model
from emulator.tree import Tree
from tests.emulator.builders import a_model
from tests.emulator.engine import reference
from tests.emulator.kinds import INPUT, KINDS, POSITIONS


def main():
    torch.set_num_threads(1)
    arrays = {}
    for kind, changes in KINDS.items():
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            model = a_model(folder / "model", **changes)
            known = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32, attn_implementation="eager")
            arrays[f"{kind}, float"] = logits(known)
            faults = StageFaults(Tree(folder), "quant")
            quantise(
                config.dimensions(config.read(model)), open_model(model), folder / "x.gm", source="", faults=faults
            )
            restored = {name: torch.from_numpy(values) for name, values in reference.weights(folder / "x.gm").items()}
            known.load_state_dict(restored, strict=not known.config.tie_word_embeddings)
            arrays[f"{kind}, int8"] = logits(known)
    np.savez_compressed(Path(__file__).with_name("hugging_face.npz"), **arrays)


def logits(model):
    with torch.no_grad():
        rows = model(input_ids=torch.tensor([INPUT])).logits[0]
    return rows[POSITIONS].numpy().astype(np.float32)


if __name__ == "__main__":
    main()
