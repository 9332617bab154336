"""The compiled kernels against two strangers: numpy in double precision, and recorded Hugging Face logits."""

import threading
from pathlib import Path

import numpy as np
import pytest

from emulator.cards.strikes import StageFaults
from emulator.compiler import codegen
from emulator.compiler.compile import build
from emulator.compiler.quantise import quantise
from emulator.engine.kcore import Kcore, Session, Weights, generate
from emulator.models import config
from emulator.models.weights import SafetensorsFile, open_model
from emulator.samples.shipped import SHIPPED
from emulator.tool import Failed
from emulator.tree import Precision, Tree
from tests.emulator.builders import a_model
from tests.emulator.engine import reference
from tests.emulator.kinds import INPUT, KINDS, POSITIONS

pytestmark = pytest.mark.slow

IDS = [3, 250, 17, 17, 99, 0, 271, 42, 8, 130]


def a_session(model, node, *, precision=Precision.FLOAT, weights=None, march=None):
    """Generate, compile and open a model without any of the tools around."""
    tensors = open_model(model) if weights is None else SafetensorsFile(weights).tensors
    node.mkdir()
    plan = codegen.plan("test", precision, config.dimensions(config.read(model)), tensors, "weights")
    codegen.emit(plan, node, lambda layer: False)
    build(node, march=march, quiet=True)
    kcore = Kcore(node)
    return Session(kcore, Weights(kcore, tensors))


def logits(session, ids):
    """Scores after each token, decoding one at a time."""
    rows = []
    for at, token in enumerate(ids):
        session.forward([token], at)
        rows.append(np.array(session.logits))
    return np.stack(rows)


RECORDED = Path(__file__).with_name("hugging_face.npz")


@pytest.fixture(scope="module")
def recorded():
    with np.load(RECORDED, allow_pickle=False) as file:
        return dict(file)


@pytest.mark.parametrize("kind", KINDS)
def test_logits_agree_with_double_precision_and_with_hugging_face(tmp_path, kind, recorded):
    model = a_model(tmp_path / "model", **KINDS[kind])
    wanted = reference.logits(config.read(model), reference.weights(*model.glob("*.safetensors")), INPUT)

    with a_session(model, tmp_path / "node") as session:
        found = logits(session, INPUT)

    assert np.abs(found - wanted).max() < 1e-4 * wanted.std()
    assert np.abs(found[POSITIONS] - recorded[f"{kind}, float"]).max() < 1e-4 * wanted.std()


@pytest.mark.parametrize("kind", KINDS)
def test_int8_logits_agree_with_those_of_the_multiplied_out_weights(tmp_path, kind, recorded):
    model, gm = a_model(tmp_path / "model", **KINDS[kind]), tmp_path / "x.gm"
    dims, faults = config.dimensions(config.read(model)), StageFaults(Tree(tmp_path), "quant")
    quantise(dims, open_model(model), gm, source="x", faults=faults)
    wanted = reference.logits(config.read(model), reference.weights(gm), INPUT)

    with a_session(model, tmp_path / "node", precision=Precision.INT8, weights=gm) as session:
        found = logits(session, INPUT)

    assert np.abs(found - wanted).max() < 1e-4 * wanted.std()
    assert np.abs(found[POSITIONS] - recorded[f"{kind}, int8"]).max() < 1e-4 * wanted.std()


def test_logits_of_the_tiny_model_agree_with_hugging_face(built):
    recorded = np.load(SHIPPED / "logits.npz", allow_pickle=False)
    names = sorted({key.split(".")[0] for key in recorded})
    kcore = Kcore(built.node())

    with Session(kcore, Weights(kcore, open_model(built.model))) as session:
        found = {name: logits(session, recorded[f"{name}.ids"].tolist()) for name in names}

    assert names
    for name in names:
        wanted = recorded[f"{name}.logits"]
        assert np.abs(found[name][recorded[f"{name}.positions"]] - wanted).max() < 1e-4 * wanted.std(), name


def test_a_build_without_vector_instructions_gives_the_same_bits(built, tmp_path):
    kcore = Kcore(built.node())

    with (
        Session(kcore, Weights(kcore, open_model(built.model))) as fast,
        a_session(built.model, tmp_path / "node", march="") as plain,
    ):
        assert np.array_equal(logits(fast, IDS), logits(plain, IDS))


def test_the_same_model_gives_the_same_kcore_wherever_it_is_built(built, desk):
    desk.convert(f"--backend-model-type qwen2_7b_bf16 --input_model {desk.model}")
    done = desk.compile(desk.node())

    assert done.returncode == 0, done.stderr
    assert (desk.node() / "kcore.bin").read_bytes() == (built.node() / "kcore.bin").read_bytes()


def test_reading_at_once_and_token_by_token_give_the_same_bits(built):
    kcore = Kcore(built.node())

    with Session(kcore, Weights(kcore, open_model(built.model))) as session:
        session.forward(IDS, 0)
        at_once = np.array(session.logits)
        assert np.array_equal(logits(session, IDS)[-1], at_once)


@pytest.mark.parametrize(
    ("tokens", "start", "reason"),
    [
        ([-1], 0, "token out of range"),
        ([10**6], 0, "token out of range"),
        ([1], 5, "context is full"),
        ([], 0, "context"),
    ],
)
def test_nonsense_given_to_the_kernels_is_an_error_and_no_crash(built, tokens, start, reason):
    kcore = Kcore(built.node())

    with Session(kcore, Weights(kcore, open_model(built.model))) as session, pytest.raises(Failed, match=reason):
        session.forward(tokens, start)


def test_a_conversation_ends_at_the_compiled_length(tmp_path):
    model = a_model(tmp_path / "model", max_position_embeddings=8)

    with a_session(model, tmp_path / "node") as session:
        session.forward([1] * 8, 0)
        with pytest.raises(Failed, match="context is full"):
            session.forward([1], 8)


def test_weights_that_are_not_numbers_are_a_device_error(tmp_path):
    model = a_model(tmp_path / "model", dtype="F32")
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + np.float32("nan").tobytes())

    with a_session(model, tmp_path / "node") as session, pytest.raises(Failed, match="logits are not numbers"):
        session.forward([1], 0)


def test_a_stopped_generation_says_so(built):
    kcore, stop = Kcore(built.node()), threading.Event()
    stop.set()

    with Session(kcore, Weights(kcore, open_model(built.model))) as session:
        answer = generate(session, IDS, room=5, ends={0}, stop=stop, strike=lambda: False)

    assert (answer.tokens, answer.finish_reason) == ([], "interrupted")
