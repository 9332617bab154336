"""An attempt at setting up a host: what becomes of its slots, of the release and of the job."""

import hashlib
import json
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from builders.databases import both_databases
from eventually import eventually

from orchestrator.model.failures import FailureKind
from orchestrator.model.profile import Profile
from orchestrator.model.slots import SlotKind, SlotName, all_groups
from orchestrator.model.states import AttemptState, JobState, ServiceState
from orchestrator.slots import service
from orchestrator.storage.tables import Artifact, Release, Slot
from workers.attempt.kinds.host_setup import Fate, fate
from workers.slot import OwnedSlot, owned

pytestmark = pytest.mark.slow

OTHERS = tuple(str(group) for group in all_groups()[1:])
IN_SERVICE, DRAINED, QUARANTINED = ServiceState.IN_SERVICE, ServiceState.DRAINED, ServiceState.QUARANTINED


@dataclass
class Host:
    """All eight card groups of a host, and packages for it."""

    lab: Any
    lead: OwnedSlot
    folder: Path

    def assigned(self, **facts: Any) -> int:
        """A job that sets this host up, placed on it."""
        spec = {
            "kind": "provision", "host": "lab", "packages": str(self.folder / "packages"),
            "root": str(self.folder / "fresh"), "release": "r2", "profile": "setup", **facts,
        }  # fmt: skip
        about = {"request": {"by": "alice"}, "release": None}
        if spec.get("dry_run"):
            return self.lab.assigned(spec, slot="cpu0", **about)
        return self.lab.assigned(spec, others=OTHERS, **about)

    def run(self, **facts: Any) -> int:
        attempt_id = self.assigned(**facts)
        self.lab.run(attempt_id, self.lead)
        return attempt_id

    def step(self, script: str) -> None:
        """What the one step of the profile does."""
        (self.folder / "step.sh").write_text(script)

    def move_into(self, docker: Any) -> None:
        """From now on the profile's tools, and its one step, are run in a container."""
        file = self.folder / "setup.yaml"
        told = yaml.safe_load(file.read_text())
        mounts = {str(self.folder): str(self.folder)}
        told["launcher"] = {"docker": {"container": "txnn", "program": docker.program, "mounts": mounts}}
        told["provision"]["steps"][0]["inside"] = True
        file.write_text(yaml.safe_dump(told))

    def slots(self) -> list[Slot]:
        with self.lab.database.read() as session:
            return [session.get_one(Slot, f"lab.{group}") for group in all_groups()]

    def states(self) -> set[ServiceState]:
        return {slot.service_state for slot in self.slots()}

    def change(self, arrow: Any, name: str = "g3") -> None:
        """Order something of one slot, as a person."""
        with self.lab.database.write() as session:
            arrow(session, f"lab.{name}", by="bob", note="bob's", now=self.lab.database.now(session))

    def steps(self, attempt_id: int) -> dict[str, str]:
        """The outcome of each step, by the artifact that was kept."""
        with self.lab.database.read() as session:
            query = session.query(Artifact).filter_by(attempt_id=attempt_id, name="provision")
            (row,) = query.all()
        with self.lab.store.open(row.digest) as stored:
            return {step["step"]: step["state"] for step in json.load(stored)["steps"]}


def pids_in(folder: Path) -> list[int]:
    return [int(pid) for pid in (folder / "fresh" / "pids").read_text().split()]


@pytest.fixture
def host(lab: Any, tiny_profile: Profile) -> Iterator[Host]:
    (lab.folder / "packages").mkdir()
    (lab.folder / "codegen").mkdir()
    with tarfile.open(lab.folder / "packages" / "tools.tar", "w") as tools:
        tools.add(lab.folder / "codegen", "codegen")
    digest = hashlib.sha256((lab.folder / "packages" / "tools.tar").read_bytes()).hexdigest()
    (lab.folder / "packages" / "SHA256SUMS").write_text(f"{digest}  tools.tar\n")
    step = {
        "name": "touch", "title": "Touch", "done": {"argv": ["test", "-e", "{root}/touched"]},
        "do": [{"argv": ["sh", str(lab.folder / "step.sh"), "{root}"]}],
    }  # fmt: skip
    told = {"profile": "setup", "provision": {"archives": ["tools.tar"], "steps": [step]}}
    (lab.folder / "setup.yaml").write_text(yaml.safe_dump({**tiny_profile.model_dump(mode="json"), **told}))
    settings = lab.settings.model_copy(update={"profile_dirs": (lab.folder,)})
    with lab.database.write() as session:
        for name in (*OTHERS, "cpu0"):
            kind = SlotName.parse(name).kind
            session.add(Slot(id=f"lab.{name}", host="lab", name=name, kind=kind, heartbeat_at=None))
    with owned(settings, lab.database, SlotName(SlotKind.CARD_GROUP, 0)) as lead:
        made = Host(replace(lab, settings=settings), lead, lab.folder)
        made.step("touch $1/touched")
        yield made


@both_databases
def test_what_was_set_up_is_registered_and_every_group_waits_for_its_canary(host: Host):
    attempt_id = host.run()

    assert host.lab.job(attempt_id).state is JobState.SUCCEEDED
    assert host.lab.job(attempt_id).release == "r2"
    assert host.states() == {QUARANTINED}
    assert all(slot.quarantined_because["by"] is None for slot in host.slots())
    assert "which set the host up with release r2" in host.slots()[7].quarantined_because["reason"]
    assert host.steps(attempt_id) == {
        "packages": "done", "touch": "done", "register": "done", "prove": "left_to_canaries",
    }  # fmt: skip
    with host.lab.database.read() as session:
        release = session.get_one(Release, "r2")
    assert (release.root, release.is_default) == (str(host.folder / "fresh"), False)


@both_databases
def test_a_step_that_fails_leaves_every_group_drained_with_the_reason(host: Host):
    host.step("echo no licence; exit 4")

    attempt_id = host.run()

    job = host.lab.job(attempt_id)
    assert (job.state, job.failure["kind"], job.release) == (JobState.FAILED, FailureKind.TOOL, None)
    assert "failed at step touch" in job.failure["reason"]
    assert host.states() == {DRAINED}
    notes = {slot.service_change["note"] for slot in host.slots()}
    assert len(notes) == 1
    assert "failed at step touch: sh " in notes.pop()
    assert {slot.quarantined_because["job_id"] for slot in host.slots()} == {job.id}
    assert host.steps(attempt_id) == {
        "packages": "done", "touch": "failed", "register": "not_reached", "prove": "not_reached",
    }  # fmt: skip


def test_a_host_that_was_drained_for_a_failure_can_be_set_up_once_more(host: Host):
    host.step("exit 4")
    host.run()
    host.step("touch $1/touched")

    attempt_id = host.run()

    assert host.steps(attempt_id)["packages"] == "done_before"
    assert host.states() == {QUARANTINED}


def test_nothing_is_touched_and_every_group_serves_again_if_a_package_is_wrong(host: Host):
    (host.folder / "packages" / "tools.tar").write_bytes(b"something else")

    attempt_id = host.run()

    assert "does not match SHA256SUMS" in host.lab.job(attempt_id).failure["reason"]
    assert host.states() == {IN_SERVICE}
    assert not (host.folder / "fresh").exists()


def test_a_host_on_which_there_was_nothing_to_do_goes_on_serving(host: Host):
    host.run()
    for name in map(str, all_groups()):
        with host.lab.database.write() as session:
            service.restore(session, f"lab.{name}", job_id=1, now=host.lab.database.now(session))

    attempt_id = host.run()

    assert host.states() == {IN_SERVICE}
    assert set(host.steps(attempt_id).values()) == {"done_before"}


def test_a_group_that_a_person_quarantined_stays_theirs(host: Host):
    host.change(service.quarantine)

    host.run()

    theirs = host.slots()[3]
    assert (theirs.service_state, theirs.quarantined_because["by"]) == (QUARANTINED, "bob")


def test_a_group_that_was_drained_before_is_proven_like_the_others(host: Host):
    host.change(service.drain)

    host.run()

    assert host.states() == {QUARANTINED}


def test_what_is_not_to_be_proven_stays_drained(host: Host):
    attempt_id = host.run(steps=["packages", "touch", "register"])

    assert host.lab.job(attempt_id).state is JobState.SUCCEEDED
    assert host.states() == {DRAINED}


def test_a_cancelled_one_leaves_the_host_drained_where_it_was_being_changed(host: Host):
    host.step("touch $1/begun; sleep 60")
    attempt_id = host.assigned()
    running = host.lab.run_aside(attempt_id, host.lead)
    eventually((host.folder / "fresh" / "begun").exists, within=60)

    host.lab.cancel(attempt_id)
    running.join()

    assert host.lab.job(attempt_id).state is JobState.CANCELLED
    assert host.states() == {DRAINED}
    assert "failed at step touch: cancelled on request" in host.slots()[5].service_change["note"]
    assert host.steps(attempt_id)["touch"] == "interrupted"


def test_a_step_is_done_in_the_container_of_the_tools(host: Host, docker: Any):
    host.move_into(docker)
    host.step("echo image $OF_THE_IMAGE > $1/touched")

    attempt_id = host.run()

    assert host.lab.job(attempt_id).state is JobState.SUCCEEDED, host.lab.job(attempt_id).failure
    assert (host.folder / "fresh" / "touched").read_text() == "image 1\n"


def test_a_cancelled_one_leaves_nothing_running_in_the_container(host: Host, docker: Any):
    host.move_into(docker)
    host.step("trap '' INT TERM; setsid sleep 1000 & echo $! $$ > $1/pids; wait")
    attempt_id = host.assigned()
    running = host.lab.run_aside(attempt_id, host.lead)
    pids = eventually(lambda: (host.folder / "fresh" / "pids").exists() and pids_in(host.folder), within=60)

    host.lab.cancel(attempt_id)
    running.join()

    assert host.lab.job(attempt_id).state is JobState.CANCELLED
    assert host.states() == {DRAINED}
    eventually(lambda: not any(Path(f"/proc/{pid}/cwd").exists() for pid in pids))


def test_a_host_whose_container_is_yet_to_be_made_can_be_set_up(host: Host, docker: Any):
    host.move_into(docker)
    docker.call("stop", "txnn")

    attempt_id = host.run()

    failure = host.lab.job(attempt_id).failure
    assert failure["kind"] == FailureKind.TOOL
    assert "failed at step touch" in failure["reason"]
    assert "is not running" in failure["reason"]


def test_a_person_is_named_while_it_goes_on(host: Host):
    host.step("touch $1/begun; until test -e $1/go; do sleep 0.1; done; touch $1/touched")
    attempt_id = host.assigned()
    running = host.lab.run_aside(attempt_id, host.lead)
    eventually((host.folder / "fresh" / "begun").exists, within=60)

    meanwhile = host.slots()
    (host.folder / "fresh" / "go").touch()
    running.join()

    assert {slot.service_state for slot in meanwhile} == {ServiceState.DRAINING}
    assert {slot.service_change["by"] for slot in meanwhile} == {"alice"}
    assert all("has not finished" in slot.quarantined_because["reason"] for slot in meanwhile)


def test_a_host_without_device_nodes_can_be_set_up(host: Host):
    for node in (host.folder / "dev").glob("dev-*"):
        node.unlink()

    attempt_id = host.run()

    assert host.lab.job(attempt_id).state is JobState.SUCCEEDED


def test_nothing_is_begun_while_somebody_has_a_card_open(host: Host):
    opens = ["sh", "-c", 'exec 9<"$0"; echo open; exec sleep 60', str(host.folder / "dev" / "dev-9")]
    foreigner = subprocess.Popen(opens, stdout=subprocess.PIPE)
    foreigner.stdout.readline()

    attempt_id = host.run()
    foreigner.kill()
    foreigner.communicate()

    assert host.lab.attempt(attempt_id).state is AttemptState.FAILED
    assert "card 9 is open in" in host.lab.attempt(attempt_id).failure["reason"]
    assert host.states() == {IN_SERVICE}
    assert not (host.folder / "fresh").exists()


def test_a_dry_run_takes_no_slot_out_of_service(host: Host):
    with owned(host.lab.settings, host.lab.database, SlotName.parse("cpu0")) as seat:
        attempt_id = host.assigned(dry_run=True)
        host.lab.run(attempt_id, seat)

    assert host.lab.job(attempt_id).state is JobState.SUCCEEDED
    assert set(host.steps(attempt_id).values()) == {"would_do"}
    assert host.states() == {IN_SERVICE}
    assert not (host.folder / "fresh").exists()


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"packages": "/etc"}, "not under an allowed root"),
        ({"packages": "{folder}/nowhere"}, "cannot be read"),
        ({"root": "/opt/tools"}, "not under an allowed root"),
        ({"root": "{folder}/out/tools"}, "not under an allowed root"),
        ({"profile": "unknown"}, "no profile 'unknown'"),
        ({"release": "tiny"}, "registered at"),
    ],
)
def test_what_does_not_fit_on_the_host_is_refused_before_anything_is_done(host: Host, facts, told):
    (host.folder / "out").symlink_to("/usr")
    named = {name: value.format(folder=host.folder) for name, value in facts.items()}

    attempt_id = host.run(**named)

    failure = host.lab.job(attempt_id).failure
    assert told in failure["reason"]
    assert host.states() == {IN_SERVICE}


def test_tools_that_are_not_what_the_profile_says_are_not_registered(host: Host):
    host.step("touch $1/touched; rmdir $1/codegen")
    profile = yaml.safe_load((host.folder / "setup.yaml").read_text())
    profile["folders"]["tools"] = "codegen"
    (host.folder / "setup.yaml").write_text(yaml.safe_dump(profile))

    attempt_id = host.run()

    assert "failed at step register" in host.lab.job(attempt_id).failure["reason"]
    assert host.steps(attempt_id)["register"] == "failed"
    assert host.states() == {DRAINED}


def test_two_releases_stand_side_by_side(host: Host):
    host.run()

    host.run(release="r3", root=str(host.folder / "second"))

    with host.lab.database.read() as session:
        roots = {name: session.get_one(Release, name).root for name in ("r2", "r3")}
    assert roots == {"r2": str(host.folder / "fresh"), "r3": str(host.folder / "second")}
    assert (host.folder / "fresh" / "touched").exists()


def test_a_host_that_has_a_release_elsewhere_needs_the_same_build_there(host: Host):
    host.run()
    elsewhere = host.folder / "elsewhere"
    settings = host.lab.settings.model_copy(update={"release_roots": {"r2": elsewhere}})
    host.lead = replace(host.lead, settings=settings)

    same = host.run(root=str(elsewhere))
    with host.lab.database.write() as session:
        session.get_one(Release, "r2").digest = "sha256:of another build"
    other = host.run(root=str(elsewhere))

    assert host.steps(same)["register"] == "done_before"
    assert host.lab.job(same).release == "r2"
    assert "is not the registered r2" in host.lab.job(other).failure["reason"]
    assert host.steps(other)["register"] == "failed"


@pytest.mark.parametrize(
    ("before", "failed", "changed", "prove", "after"),
    [
        (IN_SERVICE, False, False, True, Fate.HANDED_BACK),
        (IN_SERVICE, True, False, True, Fate.HANDED_BACK),
        (DRAINED, True, False, True, Fate.HANDED_BACK),
        (DRAINED, False, False, True, Fate.TO_PROVE),
        (IN_SERVICE, False, True, True, Fate.TO_PROVE),
        (IN_SERVICE, False, True, False, Fate.KEPT_OUT),
        (QUARANTINED, True, True, True, Fate.KEPT_OUT),
    ],
)
def test_the_fate_of_a_group(before, failed, changed, prove, after):
    assert fate(before, failed=failed, changed=changed, prove=prove) is after
