"""A kernel image that was made for something else is refused when a job names it."""

import json

import pytest
from builders.desk import Desk, compile_of, convert, quantize
from builders.rows import a_model
from sqlalchemy import select

from orchestrator.catalog.kcore_imports import KcoreImport, KcoreImports
from orchestrator.errors import BadSpec
from orchestrator.storage.tables import Artifact, Model

OTHER, SAME = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"


@pytest.fixture
def desk(desk: Desk, database) -> Desk:
    """Models of one family: qwen, a copy of it with other papers, and one that was tuned."""
    with database.write() as session:
        session.get_one(Model, "qwen").weights = SAME
        a_model(session, "copy", weights=SAME, digest=f"sha256:{'d' * 64}")
        a_model(session, "tuned", weights=OTHER, digest=f"sha256:{'e' * 64}")
        a_model(session, "llama", family="llama")
    return desk


def kcore_of(job: int | str) -> dict:
    return {"job": job, "artifact": "kcore"}


def gm_of(job: int | str) -> dict:
    return {"job": job, "artifact": "gm"}


def an_import(desk: Desk, *, chips: int | None = 4, image: str = "kernel", **facts) -> dict:
    folder = desk.files / image / "node_0_0"
    folder.mkdir(parents=True)
    (folder / "kcore.bin").write_text(image)
    if chips is not None:
        (folder / "model_info.json").write_text(json.dumps({"chip_num": chips}))
    made = KcoreImports(desk.settings, desk.database, desk.store).take_in(KcoreImport(path=str(folder), **facts))
    return {"digest": made.digest}


def refused(desk: Desk, spec: dict) -> BadSpec:
    with pytest.raises(BadSpec) as refusal:
        desk.submit(spec)
    return refusal.value


def built(desk: Desk) -> int:
    """A job that compiled qwen."""
    converting = desk.submit(convert())
    desk.build(converting)
    compiling = desk.submit(compile_of(converting))
    desk.build(compiling)
    return compiling


def test_another_models_kcore_is_refused_however_it_is_named(desk):
    compiling = built(desk)
    with desk.database.read() as session:
        kcore = session.scalars(select(Artifact.digest).where(Artifact.job_id == compiling)).one()

    by_number = refused(desk, desk.infer(model="tuned", kcore=kcore_of(compiling)))
    by_digest = refused(desk, desk.infer(model="tuned", kcore={"digest": kcore}))

    assert by_number.field == by_digest.field == "spec.kcore"
    assert "compiled from model qwen, and tuned has other weights" in by_number.detail
    assert by_number.detail == by_digest.detail
    assert desk.submit(desk.infer(model="copy", kcore=kcore_of(compiling)))


def test_a_pipeline_that_would_run_another_models_kcore_is_refused_as_a_whole(desk):
    jobs = {"a": convert(), "b": compile_of("a"), "c": desk.infer(model="tuned", kcore=kcore_of("b"))}

    with pytest.raises(BadSpec) as refusal:
        desk.pipeline(jobs)

    assert refusal.value.field == "jobs.c.spec.kcore"
    assert desk.pipeline({**jobs, "c": desk.infer(kcore=kcore_of("b"))})


def test_models_without_a_record_of_their_weights_are_told_apart_by_family(desk):
    with pytest.raises(BadSpec, match="llama has other weights"):
        desk.pipeline({"a": convert(), "b": compile_of("a"), "c": desk.infer(model="llama", kcore=kcore_of("b"))})


def test_quantised_weights_do_not_go_with_a_kcore_for_others(desk):
    compiling = built(desk)
    gm = desk.stored("gm")

    assert "omit gm" in refused(desk, desk.infer(kcore=kcore_of(compiling), gm=gm)).detail
    assert "omit gm" in refused(desk, desk.infer(kcore=an_import(desk, precision="bf16"), gm=gm)).detail


def test_a_quantised_kcore_wants_the_weights_that_it_was_converted_with(desk):
    mine, others = desk.stored("gm", b"mine"), desk.stored("gm", b"others")
    jobs = {"a": convert(backend_type="qwen2_7b_quant", gm=mine), "b": compile_of("a")}

    with pytest.raises(BadSpec, match="give those that its conversion used") as refusal:
        desk.pipeline({**jobs, "c": desk.infer(kcore=kcore_of("b"), gm=others)})

    assert refusal.value.field == "jobs.c.spec.gm"
    assert desk.pipeline({**jobs, "c": desk.infer(kcore=kcore_of("b"), gm=mine)})


def test_weights_that_are_still_to_be_quantised_are_taken_on_trust(desk):
    quant = convert(backend_type="qwen2_7b_quant", gm=gm_of("q"))

    assert desk.pipeline(
        {"q": quantize(), "a": quant, "b": compile_of("a"), "c": desk.infer(kcore=kcore_of("b"), gm=gm_of("q"))}
    )


@pytest.mark.parametrize(
    ("chips", "cards", "told"),
    [
        (1, None, 'use cards: "0"'),
        (1, "4..7", 'use cards: "0"'),
        (4, "0", "request a whole card group"),
        (16, None, "compiled for 16 cards, but this job runs on 4"),
    ],
)
def test_a_kcore_for_another_number_of_cards_is_refused(desk, chips, cards, told):
    spec = desk.infer(kcore=an_import(desk, chips=chips), **({} if cards is None else {"cards": cards}))

    refusal = refused(desk, spec)

    assert told in refusal.detail
    assert refusal.field == "spec.kcore"


@pytest.mark.parametrize(("chips", "cards"), [(1, {"cards": "0"}), (4, {"groups": 2}), (None, {"cards": "0"})])
def test_a_kcore_for_these_cards_or_one_that_does_not_say_is_taken(desk, chips, cards):
    assert desk.submit(desk.infer(kcore=an_import(desk, chips=chips), **cards))


def test_a_server_wants_a_kcore_for_its_model_and_whole_groups_too(desk):
    serve = {"kind": "serve", "model": "qwen"}

    single = refused(desk, {**serve, "kcore": an_import(desk, chips=1, model="qwen")})
    others = refused(desk, {**serve, "model": "tuned", "kcore": kcore_of(built(desk))})

    assert "not for a card group" in single.detail
    assert "compiled from model qwen" in others.detail


def test_a_server_computes_in_what_its_kcore_was_compiled_for(desk):
    serve = {"kind": "serve", "model": "qwen"}
    quant, bf16 = (an_import(desk, image=each, precision=each) for each in ("quant", "bf16"))

    unsaid = refused(desk, {**serve, "kcore": quant})
    wrong = refused(desk, {**serve, "kcore": bf16, "dtype": "int8"})

    assert "compiled for quant weights, but dtype says bfloat16" in unsaid.detail
    assert "compiled for bf16 weights, but dtype says int8" in wrong.detail
    assert desk.submit({**serve, "kcore": quant, "dtype": "int8", "gm": desk.stored("gm")})


def test_an_imported_kcore_is_for_the_model_that_was_named_with_it(desk):
    kcore = an_import(desk, model="qwen")

    assert "compiled from model qwen" in refused(desk, desk.infer(model="tuned", kcore=kcore)).detail
    assert desk.submit(desk.infer(kcore=kcore))


# ── what is known is refused before a card is used ─────────────────────────────────────────────────────────────────


def test_a_quantised_kcore_without_its_weights_is_refused_however_it_is_named(desk):
    imported = refused(desk, desk.infer(kcore=an_import(desk, precision="quant")))
    jobs = {"a": convert(backend_type="qwen2_7b_quant", gm=desk.stored("gm")), "b": compile_of("a")}
    with pytest.raises(BadSpec) as of_pipeline:
        desk.pipeline({**jobs, "c": desk.infer(kcore=kcore_of("b"))})

    assert (imported.field, of_pipeline.value.field) == ("spec.gm", "jobs.c.spec.gm")
    assert "give gm" in imported.detail
    assert imported.detail == of_pipeline.value.detail


@pytest.mark.parametrize(
    ("size", "cards", "told"),
    [(8, {}, "parallel_size 8"), (4, {"cards": "0"}, "register the model with parallel_size 1")],
)
def test_a_model_whose_parallel_size_is_not_that_of_the_cards_is_refused(desk, size, cards, told):
    with desk.database.write() as session:
        a_model(session, "split", tx81_config={"param_dir": "k", "tensor_parallel": {"parallel_size": size}})

    refusal = refused(desk, desk.infer(model="split", **cards))

    assert refusal.field == "spec.model"
    assert told in refusal.detail


@pytest.mark.parametrize(("size", "cards"), [(4, {"groups": 2}), (1, {"cards": "0"})])
def test_a_model_whose_parallel_size_is_that_of_the_cards_is_taken(desk, size, cards):
    with desk.database.write() as session:
        a_model(session, "split", tx81_config={"param_dir": "k", "tensor_parallel": {"parallel_size": size}})

    assert desk.submit(desk.infer(model="split", **cards))


def test_a_server_for_longer_texts_than_its_kcore_holds_is_refused(desk):
    kcore = an_import(desk, image="deepseek_7b_bf16_seq4096_c4")
    serve = {"kind": "serve", "model": "qwen", "kcore": kcore}

    refusal = refused(desk, serve)

    assert (refusal.field, "use at most 4096" in refusal.detail) == ("spec.max_model_len", True)
    assert desk.submit({**serve, "max_model_len": 4096})


def test_a_server_whose_cache_cannot_hold_one_text_is_refused(desk):
    serve = {"kind": "serve", "model": "qwen", "kcore": an_import(desk), "max_model_len": 8200}

    refusal = refused(desk, serve)

    assert refusal.field == "spec.gpu_blocks"
    assert "use at least 513 blocks" in refusal.detail
    assert desk.submit({**serve, "gpu_blocks": 513})
