"""Perplexity of a model before and after quantising, measured with the same generated code that inference runs.

Text: the tree's golden answers, each scored after its own question. They are scored one by one, because run together
the answers to earlier questions would influence the result.
"""

import math
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emulator.compiler import codegen
from emulator.compiler.compile import build
from emulator.engine.kcore import Kcore, Session, Weights
from emulator.models import config
from emulator.models.chat import Chat
from emulator.models.weights import SafetensorsFile, Tensor, open_model
from emulator.runs.answers import read_golden
from emulator.tree import Precision, Tree

_MOST, _LEAST = 1024, 128
"""Tokens to score; more would move the third digit only."""
_WORK = 30 * 10**9
"""Weights times tokens: on a model of real size fewer tokens are scored, or it would take minutes."""


@dataclass(frozen=True)
class Perplexities:
    """Before and after quantising, over the same tokens."""

    before: float
    after: float
    tokens: int


def compare(tree: Tree, model: Path, quantised: Path) -> Perplexities:
    """Compile both forms of the model in a temporary folder and score them."""
    chat, dims = Chat(model), config.dimensions(config.read(model))
    pairs = [
        (chat.prompt(ask), [*chat.tokens(answer), chat.ends[0]]) for ask, answer in read_golden(tree.golden).items()
    ]
    forms = ((Precision.FLOAT, open_model(model)), (Precision.INT8, SafetensorsFile(quantised).tensors))
    weights = sum(math.prod(tensor.shape) for tensor in forms[0][1].values())
    enough = max(_LEAST, min(_MOST, _WORK // weights))
    with tempfile.TemporaryDirectory(prefix="tx8-quant-") as scratch, ThreadPoolExecutor(2) as pool:
        kcores = list(pool.map(lambda form: _compiled(dims, form[0], form[1], Path(scratch) / form[0]), forms))
        scored = [
            _score(Session(kcore, Weights(kcore, tensors)), pairs, enough)
            for kcore, (_, tensors) in zip(kcores, forms, strict=True)
        ]
    (before, tokens), (after, _) = scored
    return Perplexities(before, after, tokens)


def _compiled(dims: config.Dimensions, precision: Precision, tensors: dict[str, Tensor], folder: Path) -> Kcore:
    folder.mkdir()
    plan = codegen.plan("ppl", precision, dims, tensors, "ppl")
    codegen.emit(plan, folder, lambda layer: False)
    build(folder, quiet=True)
    return Kcore(folder)


def _score(session: Session, pairs: list[tuple[list[int], list[int]]], enough: int) -> tuple[float, int]:
    total, count = 0.0, 0
    with session:
        for prompt, answer in pairs:
            if count >= enough or len(prompt) + len(answer) > session.max_sequence:
                continue
            total += sum(_surprises(session, prompt, answer))
            count += len(answer)
    return math.exp(min(total / max(count, 1), 700.0)), count


def _surprises(session: Session, prompt: list[int], answer: list[int]) -> list[float]:
    found = []
    reading, position = prompt, 0
    for token in answer:
        session.forward(reading, position)
        position += len(reading)
        logits = np.frombuffer(memoryview(session.logits), np.float32).astype(np.float64)
        top = float(logits.max())
        found.append(top + math.log(float(np.exp(logits - top).sum())) - float(logits[token]))
        reading = [token]
    return found
