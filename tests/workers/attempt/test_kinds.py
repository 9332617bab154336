"""What a kind of job adds to the steps of an attempt, and what holds for every kind."""

from typing import Literal, get_args

import pytest
from sqlalchemy import select

from orchestrator.model.calling import OwnProgram
from orchestrator.model.profile import DefaultLimits, OutputRule, Profile
from orchestrator.model.provision import ProvisionSpec
from orchestrator.model.specs import Spec, Strict
from orchestrator.model.states import JobState, ServiceState
from orchestrator.storage.tables import Artifact, Slot
from workers.attempt.facts import Prepared
from workers.attempt.kinds import table
from workers.attempt.kinds.build import Build
from workers.attempt.kinds.tool import Tool
from workers.attempt.launch import Launch
from workers.host import cards, locks
from workers.processes.process import Command
from workers.toolchain.commands import Plan
from workers.toolchain.view import View

QUANTIZE = {"kind": "quantize", "model": "tiny-model"}
CONVERT = {"kind": "convert", "model": "tiny-model", "backend_type": "qwen2_bf16"}
CONVERTED = 'mkdir -p "$1/t/node_0_0"; echo "int x;" > "$1/t/node_0_0/x.c"'


def outputs_of(lab, attempt_id):
    with lab.database.read() as session:
        return {row.name: row for row in session.scalars(select(Artifact).where(Artifact.attempt_id == attempt_id))}


def added(monkeypatch, name, kind):
    """From now on jobs called `name` are run by the class `kind`."""
    monkeypatch.setattr(table, "KINDS", {**table.KINDS, name: kind})


def test_every_kind_of_spec_is_run_by_one_class():
    specs = (*get_args(get_args(Spec)[0]), ProvisionSpec)

    assert set(table.KINDS) == {spec.model_fields["kind"].default for spec in specs}


class GreetingSpec(Strict):
    kind: Literal["greeting"] = "greeting"


class Greeting(Tool):
    """A kind that nobody has thought of: a program of its own, that needs no release."""

    def prepare(self):
        work, argv = self._claimed.work, ("sh", "-c", "echo hello > greeting; echo greeted")
        environment = {"PATH": "/usr/bin:/bin"}
        program = OwnProgram(
            cwd=str(work), argv=argv, environment=environment,
            outputs={"greeting": OutputRule(search="{work}", glob="greeting", kind="file")},
            limits=DefaultLimits(run_seconds=60, silence_seconds=60),
        )  # fmt: skip
        plan = Plan(
            spec=GreetingSpec(), profile=Profile.model_validate(self._claimed.assignment.profile), kind=program,
            words={"root": self._claimed.assignment.root, "work": str(work)}, inputs=(), overlay=None,
            command=Command(argv, environment, work), exclusive=None, view=View(),
        )  # fmt: skip
        return Prepared(plan, Launch())


def test_a_kind_that_is_added_to_the_table_goes_through_every_step(lab, g0, monkeypatch):
    added(monkeypatch, "greeting", Greeting)
    attempt_id = lab.assigned({"kind": "greeting"})

    lab.run(attempt_id, g0)

    assert lab.job(attempt_id).failure is None
    assert lab.job(attempt_id).state is JobState.SUCCEEDED
    stored = outputs_of(lab, attempt_id)
    assert lab.store.path(stored["greeting"].digest).read_bytes() == b"hello\n"
    assert lab.attempt(attempt_id).log_digest == stored["log"].digest
    assert list(g0.work.iterdir()) == []


def test_a_stored_spec_of_an_unknown_kind_fails_and_says_so(lab, cpu0):
    attempt_id = lab.assigned({"kind": "divine"}, slot="cpu0")

    lab.run(attempt_id, cpu0)

    failure = lab.job(attempt_id).failure
    assert failure["kind"] == "bad_spec"
    assert "'divine'" in failure["reason"]


def held(path):
    try:
        locks.take(path, owner="a test")
    except locks.Held:
        return True
    return False


@pytest.mark.parametrize("step", ["run", "judge", "collect", "accept"])
def test_cards_and_installed_tools_stay_locked_until_the_outputs_are_stored(lab, g0, monkeypatch, step):
    seen = {}

    def looking(self, *arguments):
        seen["cards"] = held(cards.lock_path(lab.settings.locks, g0.name))
        seen["tools"] = [held(path) for path in lab.settings.locks.glob("convert-qwen2_bf16@*.lock")]
        return getattr(Build, step)(self, *arguments)

    added(monkeypatch, "convert", type("Looking", (Build,), {step: looking}))
    lab.tool(CONVERTED)
    attempt_id = lab.assigned(CONVERT)

    lab.run(attempt_id, g0)

    assert lab.job(attempt_id).state is JobState.SUCCEEDED
    assert seen == {"cards": True, "tools": [True]}


class Full(Build):
    """A store that has no room when the outputs are to be stored."""

    def collect(self, ran):
        raise OSError("No space left on device")


@pytest.mark.parametrize(("kind", "failure"), [(Full, "fault"), (Build, "bad_spec")], ids=["no room", "other weights"])
def test_what_speaks_against_a_slot_is_known_before_anything_is_stored(lab, cpu0, monkeypatch, kind, failure):
    added(monkeypatch, "quantize", kind)
    weights = lab.folder / "models/tiny-model/model.safetensors"
    at = weights.stat().st_size - 4
    change = f"printf other | dd of={weights} bs=1 seek={at} count=4 conv=notrunc"
    lab.tool(f"""touch "$2/weights.gm"; echo 'E card is gone: 7'; {change if kind is Build else "true"}""")
    attempt_id = lab.assigned(QUANTIZE, slot="cpu0")

    lab.run(attempt_id, cpu0)

    attempt = lab.attempt(attempt_id)
    assert attempt.failure["kind"] == failure
    assert attempt.suspicion["signature"] == "card_gone"
    assert "gm" not in outputs_of(lab, attempt_id)
    with lab.database.read() as session:
        assert session.get_one(Slot, cpu0.id).service_state is ServiceState.QUARANTINED
