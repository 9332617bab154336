"""A job that sets up its host: the plan, the slots before it, and the consequences of its end.

The steps are run like any vendor tool. Before them the slots are taken over; after them the release is registered, and
every card group waits for its canary, is restored to its previous state, or is drained with the reason.
"""

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from pydantic import ValidationError
from sqlalchemy.orm import Session

from orchestrator.catalog.paths import allowed_path, allowed_target
from orchestrator.catalog.profile_files import load_profile
from orchestrator.errors import BadSpec
from orchestrator.jobs import host_setups, lifecycle
from orchestrator.model.calling import OwnProgram
from orchestrator.model.failures import Failure, FailureKind, Suspicion
from orchestrator.model.profile import DefaultLimits, Profile
from orchestrator.model.provision import PROVE, REGISTER, ProvisionRule, ProvisionSpec
from orchestrator.model.states import ServiceState
from orchestrator.slots import lacks, service
from orchestrator.slots.service import Before
from workers.attempt.collect import Output
from workers.attempt.facts import Claimed, Concluded, Prepared
from workers.attempt.guard import CardGuard
from workers.attempt.kinds.tool import Start, Tool
from workers.attempt.launch import ENTERED, HostLaunch, Launch, SetupLaunch, mark_of
from workers.processes.container import Container
from workers.processes.process import Command
from workers.processes.process import Outcome as ToolOutcome
from workers.provision import registering
from workers.provision.outcomes import Outcome, StepState, failed, read
from workers.provision.plan import Steps, ToolsContainer, steps_of, words_of
from workers.provision.tasks import PackagesTask
from workers.toolchain.commands import Plan, container_of, view_of
from workers.toolchain.view import View

ARTIFACT = "provision"
"""The artifact with the outcome of every step."""

_PROVE_TITLE = "Prove each card group with a canary"


class Fate(Enum):
    """The state of a card group after the setup of its host has ended."""

    HANDED_BACK = auto()  #: Its previous state: nothing on the host was changed.
    TO_PROVE = auto()  #: Quarantined until a canary passes.
    KEPT_OUT = auto()  #: Drained, with the reason, until a person resumes it.


def fate(before: ServiceState, *, failed: bool, changed: bool, prove: bool) -> Fate:
    """The state after the setup of a group with this state before. Pure."""
    if not changed and (failed or before is ServiceState.IN_SERVICE):
        return Fate.HANDED_BACK
    return Fate.TO_PROVE if prove and not failed else Fate.KEPT_OUT


@dataclass(frozen=True)
class _Planned:
    spec: ProvisionSpec
    """The request with every link in its paths resolved."""
    chosen: tuple[str, ...]
    steps: Steps


class HostSetup(Tool):
    """Takes its slots over before the setup process starts, and sets the state of each after its end."""

    def __init__(self, claimed: Claimed) -> None:
        super().__init__(claimed)
        self._assignment = claimed.assignment
        self._slot = claimed.slot
        self._work = claimed.work
        self._journal = claimed.work / "outcomes.jsonl"
        self._planned: _Planned | None = None
        self._before: dict[str, Before] = {}
        self._registration = Outcome(REGISTER, registering.TITLE, StepState.NOT_REACHED)
        self._proof = Outcome(PROVE, _PROVE_TITLE, StepState.NOT_REACHED)

    def prepare(self) -> Prepared:
        """Decide what is run; BadSpec or PathRefused names what does not fit on this host."""
        settings = self._slot.settings
        spec, profile, rule = self._asked()
        packages = allowed_path(settings, spec.packages, "packages")
        root = allowed_target(settings, spec.root, "root")
        spec = spec.model_copy(update={"packages": str(packages), "root": str(root)})
        chosen = rule.chosen(spec.steps, driver=spec.driver)
        if REGISTER in chosen:
            registering.refuse_another_installation(settings, self._slot.database, spec)
        tools = self._tools(spec, profile)
        inside = any(step.inside and step.name in chosen for step in rule.steps)
        devices = settings.devices_dir.absolute()
        steps = steps_of(spec, profile, rule, devices=devices, work=self._work, tools=tools)
        self._planned = _Planned(spec, chosen, steps)
        argv = (sys.executable, "-P", "-m", "workers.provision", str(self._steps_path), str(self._journal))
        limits = DefaultLimits(run_seconds=rule.run_seconds, silence_seconds=rule.silence_seconds)
        environment = {"PATH": os.defpath, "LANG": "C.UTF-8"}
        plan = Plan(
            spec=spec,
            profile=profile,
            kind=OwnProgram(cwd=str(self._work), argv=argv, environment=environment, outputs={}, limits=limits),
            words={"root": spec.root},
            inputs=(),
            overlay=None,
            command=Command(argv, environment, self._work),
            exclusive=None,
            view=tools.view if tools is not None and inside else View(),
        )
        launch: Launch = HostLaunch()
        if tools is not None and inside:
            mark = mark_of(self._assignment, self._slot)
            launch = SetupLaunch(plan, tools.docker, mark, slot=self._slot, work=self._work)
        return Prepared(plan, launch, may_miss_cards=True)

    def run(self, plan: Plan, start: Start, guard: CardGuard) -> ToolOutcome:
        """Store the list of steps, take over all slots of the attempt (none for a dry run), and run the process to its
        end."""
        assert self._planned is not None, "it was planned"
        self._steps_path.write_text(self._planned.steps.model_dump_json(), "utf-8")
        if not self._planned.spec.dry_run:
            self._before = self._taken_over(self._planned.spec.release)
        return start(plan)

    def _taken_over(self, release: str) -> dict[str, Before]:
        """Drain every slot for this job; returns their previous states."""
        job_id = self._assignment.job_id
        note = f"job {job_id} is setting up the host with release {release}"
        reason = f"job {job_id} has not finished setting up the host with release {release}"
        with self._slot.database.admission() as (session, now):
            self._require_ours(session)
            by = host_setups.asked_by(session, job_id)
            return {
                slot_id: service.take_over(
                    session,
                    slot_id,
                    by=by,
                    note=note,
                    reason=reason,
                    job_id=job_id,
                    attempt_id=self._assignment.attempt_id,
                    now=now,
                )
                for slot_id in sorted(self._assignment.slot_ids)
            }

    def conclude(self, failure: Failure | None, suspicion: Suspicion | None) -> Concluded:
        """Register the release, set the state of every slot, and store the outcome of every step.

        If registering fails, the attempt fails; a group that needs a canary is under suspicion until it has passed."""
        failure, suspicion = self._end(failure, suspicion)
        return Concluded(failure, suspicion, outputs=(self._stored(),))

    def _end(self, failure: Failure | None, suspicion: Suspicion | None) -> tuple[Failure | None, Suspicion | None]:
        """The attempt's end as it is reported; a repeated call changes nothing."""
        planned, outcomes = self._planned, read(self._journal)
        if planned is None:
            return failure, None
        if failure is None and REGISTER in planned.chosen:
            failure = self._register(planned.spec)
        if planned.spec.dry_run:
            self._proof = Outcome(PROVE, _PROVE_TITLE, StepState.WOULD_DO)
        if not self._before:
            # Not started: a canary must not return to service what an earlier attempt may have left incomplete.
            return failure, None
        changed = suspicion is not None or any(outcome.changed for outcome in outcomes)
        fates = {
            slot_id: fate(before.state, failed=failure is not None, changed=changed, prove=PROVE in planned.chosen)
            for slot_id, before in self._before.items()
        }
        reason = self._reason(failure, suspicion, outcomes)
        self._leave(fates, reason)
        to_prove = tuple(slot_id for slot_id, its_fate in fates.items() if its_fate is Fate.TO_PROVE)
        if failure is None:
            state = StepState.LEFT_TO_CANARIES if to_prove else StepState.DONE_BEFORE
            self._proof = Outcome(PROVE, _PROVE_TITLE, state, ", ".join(to_prove))
        if not to_prove:
            return failure, None
        evidence = None if suspicion is None else suspicion.evidence
        return failure, Suspicion(reason=reason, blames_job=False, slots=to_prove, evidence=evidence)

    def _stored(self) -> Output:
        """The outcome of every step, as JSON."""
        asked = {name: self._assignment.spec.get(name) for name in ("host", "release", "profile", "root", "dry_run")}
        document = {**asked, "steps": [outcome.document() for outcome in self._outcomes()]}
        content = json.dumps(document, ensure_ascii=False, indent=2).encode("utf-8", "replace")
        stored = self._claimed.store.put_bytes(content)
        return Output(name=ARTIFACT, digest=stored.digest, tree=False, file_name=f"{ARTIFACT}.json", size=stored.size)

    @property
    def _steps_path(self) -> Path:
        return self._work / "steps.json"

    def _asked(self) -> tuple[ProvisionSpec, Profile, ProvisionRule]:
        try:
            spec = ProvisionSpec.model_validate(self._assignment.spec)
        except ValidationError as trouble:
            raise BadSpec(f"its stored spec is no longer valid: {trouble.errors()[0]['msg']}") from None
        profile = load_profile(self._slot.settings, spec.profile)
        if profile.provision is None:
            raise BadSpec(f"profile {spec.profile} of this host has no provision: it cannot be set up", field="profile")
        return spec, profile, profile.provision

    def _tools(self, spec: ProvisionSpec, profile: Profile) -> ToolsContainer | None:
        """The container of the tools, if they do not run on the host; BadSpec if the working folder is not mounted."""
        docker = container_of(profile)
        if docker is None:
            return None
        view = view_of(docker, words_of(spec, profile, work=self._work))
        mark, entered = mark_of(self._assignment, self._slot), view.path(str(self._work / ENTERED))
        container = Container(docker, mark, entered=entered, folder=self._work, shim=self._slot.shim)
        return ToolsContainer(docker, view, container)

    def _register(self, spec: ProvisionSpec) -> Failure | None:
        self._registration = registering.register(self._slot.settings, self._slot.database, spec)
        if self._registration.state is not StepState.FAILED:
            return None
        reason = f"provisioning failed at step {REGISTER}: {self._registration.why}"
        return Failure(kind=FailureKind.BAD_SPEC, reason=reason)

    def _leave(self, fates: dict[str, Fate], reason: str) -> None:
        """Write the new states of the slots; those that need a canary are quarantined by the attempt's end."""
        job_id, attempt_id = self._assignment.job_id, self._assignment.attempt_id
        with self._slot.database.admission() as (session, now):
            # Before the attempt and its slots, in the order of locking that all use.
            host_setups.lock(session, job_id)
            self._require_ours(session)
            if self._registration.state in (StepState.DONE, StepState.DONE_BEFORE):
                release = str(self._assignment.spec["release"])
                host_setups.note_release(session, job_id, release)
                lacks.regain(session, self._slot.settings.host, release, now=now)
            for slot_id, its_fate in fates.items():
                match its_fate:
                    case Fate.HANDED_BACK:
                        before = self._before[slot_id]
                        service.hand_back(session, slot_id, before, note=reason, job_id=job_id, now=now)
                    case Fate.KEPT_OUT:
                        service.keep_out(session, slot_id, reason=reason, job_id=job_id, attempt_id=attempt_id, now=now)

    def _require_ours(self, session: Session) -> None:
        """OwnershipLost, which rolls the transaction back, if this worker no longer owns the attempt."""
        now, lease = self._slot.database.now(session), self._slot.settings.lease
        lifecycle.renew(session, self._assignment.attempt_id, owner=self._slot.owner, now=now, lease=lease)

    def _reason(self, failure: Failure | None, suspicion: Suspicion | None, outcomes: Iterable[Outcome]) -> str:
        what = f"job {self._assignment.job_id}, which set the host up with release {self._assignment.spec['release']},"
        stopped = failed(outcomes)
        if failure is None:
            told = f"{what} has ended; the cards must pass a canary"
        elif stopped is None:
            told = f"{what} failed: {failure.reason}"
        else:
            why = stopped.why if stopped.state is StepState.FAILED else failure.reason
            told = f"{what} failed at step {stopped.step}: {why}"
        return told if suspicion is None else f"{told}; {suspicion.reason}"

    def _outcomes(self) -> list[Outcome]:
        """The outcome of every step of the plan, including steps that were not reached."""
        if self._planned is None:
            return []
        steps = [(step.name, step.title) for step in self._planned.steps.steps]
        if self._planned.steps.packages is not None:
            steps.insert(0, (PackagesTask.name, PackagesTask.title))
        found = {outcome.title: outcome for outcome in read(self._journal)}
        outcomes = [found.get(title) or Outcome(name, title, StepState.NOT_REACHED) for name, title in steps]
        return outcomes + [each for each in (self._registration, self._proof) if each.step in self._planned.chosen]
