"""What is retired is hidden and refused for new jobs, until it is used again."""

import pytest
from builders.desk import Desk, compile_of, convert, quantize
from builders.lifecycle import LEASE, a_slot, now
from builders.rows import a_model, a_release
from sqlalchemy import update

from orchestrator.catalog import queries, retirement
from orchestrator.errors import BadSpec, IllegalTransition, NotFound
from orchestrator.model.retirements import Retirable, Retiree, RetireRequest
from orchestrator.model.slots import SlotName
from orchestrator.slots import hosts, presence
from orchestrator.storage.tables import Release, Slot


def _retire(desk: Desk, kind: str, name: str, note: str | None = None) -> None:
    with desk.database.write() as session:
        request = RetireRequest(kind=Retirable(kind), name=name, note=note)
        retirement.retire(session, request, by="ann", now=now(), lost_after=LEASE)


def _refused(desk: Desk, spec: dict, **facts) -> BadSpec:
    with pytest.raises(BadSpec) as refusal:
        desk.submit(spec, **facts)
    return refusal.value


def test_a_retired_model_is_hidden_and_refused_until_it_is_used_again(desk: Desk):
    with desk.database.write() as session:
        a_model(session, "old")
    _retire(desk, "model", "old", "weights are broken")

    refusal = _refused(desk, convert(model="old"))

    assert refusal.field == "spec.model"
    assert "model old was retired by ann" in refusal.detail
    assert "weights are broken" in refusal.detail
    assert "tx81 unretire model old" in refusal.detail
    with desk.database.write() as session:
        assert [model.name for model in queries.models(session)] == ["qwen"]
        assert [model.name for model in queries.models(session, retired=True)] == ["old"]
        retirement.unretire(session, Retiree(kind=Retirable.MODEL, name="old"), by="bob", now=now())
    assert desk.submit(convert(model="old"))


def test_a_retired_release_is_refused_and_the_default_one_cannot_be_retired(desk: Desk):
    with desk.database.write() as session:
        a_release(session, "old", is_default=False)
        default = queries.releases(session)[0].name if queries.releases(session)[0].name != "old" else "r1"
        session.execute(update(Release).where(Release.name == default).values(is_default=True))
    _retire(desk, "release", "old")

    assert _refused(desk, convert(), release="old").field == "release"
    with pytest.raises(IllegalTransition, match="is the default"):
        _retire(desk, "release", default)


def test_a_retired_artifact_is_refused_by_its_digest(desk: Desk):
    kcore = desk.stored("kcore")
    _retire(desk, "artifact", kcore["digest"])

    assert _refused(desk, desk.infer(kcore=kcore)).field == "spec.kcore"
    with desk.database.read() as session:
        assert {row.digest for row in queries.artifacts(session, limit=9, retired=True)} == {kcore["digest"]}
        assert kcore["digest"] not in [row.digest for row in queries.artifacts(session, limit=9)]


def test_a_retired_artifact_is_refused_by_the_job_that_made_it_too(desk: Desk):
    quantising = desk.submit(quantize())
    desk.build(quantising)
    with desk.database.read() as session:
        (digest,) = {row.digest for row in queries.artifacts(session, limit=9, name="gm")}
    _retire(desk, "artifact", digest)

    gm = {"job": quantising, "artifact": "gm"}
    assert _refused(desk, convert(backend_type="qwen2_7b_quant", gm=gm)).field == "spec.gm"


def test_the_kcore_of_a_retired_model_still_runs_with_another_registration_of_its_weights(desk: Desk):
    with desk.database.write() as session:
        for name in ("old", "new"):
            a_model(session, name, weights=f"sha256:{'7' * 64}")
    converting = desk.submit(convert(model="old"))
    desk.build(converting)
    compiling = desk.submit(compile_of(converting))
    desk.build(compiling)
    _retire(desk, "model", "old")

    assert desk.submit(desk.infer(model="new", kcore={"job": compiling, "artifact": "kcore"}))


def test_a_retired_host_is_named_by_no_new_job_and_is_back_when_a_worker_starts_there(desk: Desk):
    with desk.database.write() as session:
        slot = a_slot(session, "g0")
    with pytest.raises(IllegalTransition, match="stop the workers of host lab1 first"):
        _retire(desk, "host", slot.host)
    with desk.database.write() as session:
        session.execute(update(Slot).values(heartbeat_at=None))
        session.add(Slot(id="lab2.g0", host="lab2", name="g0", kind=slot.kind))
    _retire(desk, "host", "lab1")

    assert "placement" in str(_refused(desk, desk.infer(), placement={"slot": "lab1.g0"}).field)
    with desk.database.write() as session:
        assert hosts.retired(session) == {"lab1"}
        presence.announce(
            session, host="lab1", name=SlotName.parse("g0"), worker="w", pid=1, lock_domain="d", now=now(),
            lost_after=LEASE,
        )  # fmt: skip
        assert hosts.retired(session) == set()


def test_what_does_not_exist_is_neither_retired_nor_used_again(desk: Desk):
    for kind in Retirable:
        with pytest.raises(NotFound):
            _retire(desk, kind, "none")
    with desk.database.write() as session, pytest.raises(NotFound, match="is not retired"):
        retirement.unretire(session, Retiree(kind=Retirable.MODEL, name="qwen"), by="ann", now=now())
