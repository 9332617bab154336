"""One attempt, from claim to report, as a list of steps."""

import hashlib
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from orchestrator.errors import BadRequest, EndpointClosed, OrchestratorError, OwnershipLost
from orchestrator.jobs import lifecycle
from orchestrator.jobs.assignments import Assignment, claim
from orchestrator.jobs.lifecycle import Ending, Started
from orchestrator.model.failures import Failure, FailureKind, Suspicion
from orchestrator.model.specs import BUILD_KINDS, ServeSpec
from orchestrator.model.states import AttemptState
from orchestrator.model.suspects import COUNTED
from orchestrator.slots import suspicion as suspicions
from orchestrator.storage.artifacts import ArtifactStore
from workers.attempt import judge, model_unchanged, release_here, report, server_gone
from workers.attempt.blackbox import kernel_lines, store_black_box, tail
from workers.attempt.collect import Results, collect, logs_beside, seal_log, store_logs
from workers.attempt.guard import CardGuard, CardsNotFree
from workers.attempt.heartbeat import Heartbeat
from workers.attempt.host_setup import Setup
from workers.attempt.judge import EVIDENCE_BYTES, Clocks, Evidence
from workers.attempt.launch import Launch, LeftInContainer, launch_of
from workers.attempt.log_shipping import LogShipper
from workers.attempt.server import Server
from workers.host import cards, locks
from workers.host.open_files import SharedLooks
from workers.host.probe import Probe
from workers.processes import process
from workers.processes.process import KillStep, Limits, Outcome, StopReason, StopSignal
from workers.slot import OwnedSlot, clear
from workers.toolchain import commands
from workers.toolchain.commands import Plan
from workers.toolchain.overlay import lay_out, refuse_unfit

log = logging.getLogger(__name__)

_REPORT_AGAIN = 1.0
"""Seconds before an attempt's end is reported again to a database that did not answer."""

_REASON_LENGTH = 300

_BRIEF = timedelta(seconds=0.2)
"""A tool that ends within this is written down as started together with its end: one transaction less."""


@dataclass(frozen=True)
class Ended:
    """How an attempt ended here; LOST if it was given back or taken away."""

    state: AttemptState
    reason: str = ""


def execute(attempt_id: int, slot: OwnedSlot, store: ArtifactStore, stop: StopSignal) -> Ended | None:
    """Run one attempt to its end and report it; None if it was not there to take.

    Nothing of it runs any more and its working folder is gone when this returns."""
    settings, began = slot.settings, time.monotonic()
    assignment = claim(slot.database, attempt_id, worker=slot.worker, lease=settings.lease)
    if assignment is None:
        return None
    work = slot.work / assignment.label
    try:
        uses = [used.attempt_id for used in assignment.endpoints]
        with Heartbeat(slot.database, settings, attempt_id, worker=slot.worker, stop=stop, renewed_at=began, uses=uses):
            return _Execution(assignment, slot, store, stop, work).through()
    except OwnershipLost as lost:
        return Ended(AttemptState.LOST, lost.detail)
    finally:
        clear(work)


class _Execution:
    """The steps of one attempt, which share what they have found out so far."""

    def __init__(
        self, assignment: Assignment, slot: OwnedSlot, store: ArtifactStore, stop: StopSignal, work: Path
    ) -> None:
        self.assignment = assignment
        self.slot = slot
        self.store = store
        self.stop = stop
        self.work = work
        self.began = time.monotonic()
        self.deadline = self.began + assignment.seconds_left
        self.log_path = work / "log"
        self.outcome: Outcome | None = None
        self.start_noted = False
        self.started: Started | None = None
        self.failure: Failure | None = None
        self.suspicion: Suspicion | None = None
        self.results = Results()
        self.plan: Plan | None = None
        self.guard: CardGuard | None = None
        self.launch = Launch()
        self.server: Server | None = None
        self.setup = Setup(assignment, slot, work=work) if assignment.spec.get("kind") == "provision" else None
        self.shipper = LogShipper(slot.database, assignment.attempt_id, self.log_path, progress=None)

    def through(self) -> Ended:
        """Everything between claim and report; no exception of ours leaves an attempt stuck."""
        try:
            self.work.mkdir(parents=True)
            self.assignment = release_here.here(self.assignment, self.slot.settings)
            self.plan = plan = self._planned()
            model_unchanged.refuse_written(self.assignment.model, self.slot.settings)
            refuse_unfit(plan, self.store)
            lay_out(plan, self.store, self.work)
            self._run_and_collect(plan)
        except release_here.NotInstalled as lacking:
            report.lack(self.slot.database, self.slot.settings.host, self.assignment.release, why=lacking.detail)
            return self._give_back(lacking.detail)
        except (cards.CardsHeld, CardsNotFree, LeftInContainer) as held:
            self.failure, self.suspicion = held.failure, held.suspicion
        except BadRequest as bad:
            self.failure = Failure(kind=FailureKind.BAD_SPEC, reason=bad.detail)
        except EndpointClosed as closed:
            self.failure = Failure(kind=FailureKind.SERVER_GONE, reason=closed.detail)
        except Exception as trouble:
            log.exception("attempt failed unexpectedly", extra={"attempt": self.assignment.attempt_id})
            # What the tool itself died of comes first.
            self.failure = self.failure or _fault(trouble)
        match self.outcome and self.outcome.stopped:
            case StopReason.LEASE_LOST:
                self._warn_of_slot()
                raise OwnershipLost("the lease was lost while the tool ran", attempt=self.assignment.attempt_id)
            case StopReason.SHUTDOWN:
                return self._give_back()
            case _:
                return self._report()

    def _planned(self) -> Plan:
        if self.setup is not None:
            return self.setup.plan()
        python = self.slot.settings.golden_python or sys.executable
        return commands.plan(self.assignment, work=self.work, golden_python=str(python))

    def _run_and_collect(self, plan: Plan) -> None:
        with ExitStack() as held:
            keep = [self.slot.lock, *held.enter_context(self._cards())]
            if plan.exclusive is not None:
                # Held until the outputs are stored: they lie where the next one would overwrite them.
                lock = held.enter_context(self._exclusively(plan, plan.exclusive))
                keep += [] if lock is None else [lock]
            settings = self.slot.settings
            probe = Probe(
                plan.profile.probe, devices=settings.devices_dir, root=plan.words["root"],
                shared=SharedLooks(settings.locks),
            )  # fmt: skip
            self.launch = launch_of(plan, self.assignment, slot=self.slot, work=self.work)
            self.guard = CardGuard(
                probe, self.assignment.groups, slot=self.slot, stop=self.stop, may_miss=self.setup is not None,
                elsewhere=self.launch.processes,
            )  # fmt: skip
            self.launch.clear()
            self.guard.require_free()
            if self.setup is not None:
                self.setup.begin()
            since_ns = _mark(self.work)
            try:
                with self.guard, self.launch:
                    ran = self._run(plan, keep)
                self.outcome = self.launch.settled(ran)
                if self.outcome.pid and not self.start_noted:
                    self.started = Started(self.outcome.pid, (self.plan or plan).document)
                if self.outcome.unkillable:
                    # They may still hold cards, and they hold the slot's lock: it is not free until they are gone.
                    self.slot.abandon(f"processes {self.outcome.unkillable} cannot be killed")
                self._judge(plan, self.outcome, self.guard, since_ns)
            finally:
                left = self.guard.left_behind(() if self.outcome is None else self.outcome.unkillable)
                self.suspicion = self.suspicion or left or self.launch.doubt
            self.failure = self.guard.excused(self.failure)

    def _exclusively(self, plan: Plan, name: str) -> AbstractContextManager[int | None]:
        # The lock belongs to the installed tools: two releases at one root share it.
        root = hashlib.sha256(os.fsencode(plan.words["root"])).hexdigest()[:12]
        path = self.slot.settings.locks / f"{locks.file_name(name)}@{root}.lock"
        return locks.waited_for(path, owner=self._owner, log=self.log_path, stop=self.stop)

    def _cards(self) -> AbstractContextManager[list[int]]:
        settings = self.slot.settings
        return cards.held(settings.locks, settings.host, self.assignment.groups, owner=self._owner)

    @property
    def _owner(self) -> str:
        """Who holds a lock, as the next one reads it."""
        return f"job {self.assignment.job_id} on {self.slot.id} (pid {os.getpid()})"

    def _run(self, plan: Plan, keep: Sequence[int]) -> Outcome:
        self.shipper = LogShipper(
            self.slot.database, self.assignment.attempt_id, self.log_path, progress=plan.kind.progress
        )
        with self.shipper:
            if not isinstance(plan.spec, ServeSpec):
                return self._start(plan, keep)
            self.server = Server(
                plan, slot=self.slot, attempt_id=self.assignment.attempt_id, stop=self.stop, log=self.log_path
            )
            return self.server.run(lambda begun: self._start(begun, keep))

    def _start(self, plan: Plan, keep: Sequence[int]) -> Outcome:
        self.plan = plan
        return process.run(
            self.launch.started(plan.command),
            log=self.log_path,
            limits=Limits(
                run=timedelta(seconds=max(0.0, min(self.assignment.run_seconds, self.deadline - time.monotonic()))),
                # A server that nobody asks has nothing to say.
                silence=None if self.server else timedelta(seconds=self.assignment.silence_seconds),
                log_bytes=self.assignment.log_bytes,
            ),
            ladder=[
                KillStep(signal.Signals[step.signal], timedelta(seconds=step.grace_seconds))
                for step in plan.profile.kill_ladder
            ],
            keep_fds=keep,
            stop=self.stop,
            shim=self.slot.shim,
            on_started=lambda pid: self._note_start(plan, pid),
            settle=_BRIEF,
            on_growth=self.shipper.grown,
        )

    def _note_start(self, plan: Plan, pid: int) -> None:
        database, attempt_id = self.slot.database, self.assignment.attempt_id
        started = Started(pid, plan.document)
        try:
            with database.write() as session:
                now = database.now(session)
                lifecycle.note_start(session, attempt_id, started, worker=self.slot.worker, now=now)
            self.start_noted = True
        except OwnershipLost:
            self.stop.request(StopReason.LEASE_LOST, within=timedelta(0))
        except SQLAlchemyError:
            # Not worth a running tool; the heartbeat decides what a database that does not answer means.
            log.warning("start not recorded", exc_info=True, extra={"attempt": attempt_id})

    def _judge(self, plan: Plan, outcome: Outcome, guard: CardGuard, since_ns: int) -> None:
        known = plan.fault_signatures
        if outcome.stopped in (StopReason.LEASE_LOST, StopReason.SHUTDOWN):
            # Not an end of the job; the signatures in its log prove nothing.
            self.suspicion = judge.suspicion(None, outcome, Evidence(""), known) or self.suspicion
            return
        beside = logs_beside(plan, self.work)
        evidence = Evidence(
            log=tail(self.log_path, EVIDENCE_BYTES),
            vendor_logs=tuple(tail(path, EVIDENCE_BYTES) for paths in beside.values() for path in paths),
            # Not a moment earlier: what the kernel said of the attempt before this one must not speak against it.
            kernel=tuple(kernel_lines(self.began, earlier=0)) if any(one.source == "kernel" for one in known) else (),
            cards=frozenset(card for group in self.assignment.groups for card in group.cards),
            exit_code=outcome.exit_code,
            was_ready=None if self.server is None else self.server.was_ready,
        )
        clocks = Clocks(
            self.assignment.run_seconds,
            self.assignment.silence_seconds,
            self.assignment.log_bytes,
            total_first=time.monotonic() >= self.deadline,
        )
        self.failure = guard.misuse(outcome) or judge.failure_of_run(outcome, evidence, known, clocks)
        # Before anything is stored, which may fail.
        self.suspicion = judge.suspicion(self.failure, outcome, evidence, known) or self.suspicion
        if self.failure is None:
            if plan.spec.kind in BUILD_KINDS:
                model_unchanged.refuse_changed(self.assignment.model, self.slot.settings)
            self.results = collect(plan, self.store, since_ns=since_ns, seconds=outcome.seconds)
            self.failure = judge.failure_of_results(self.results.problems, outcome, evidence, known)
            if self.failure is None and self._is_canary:
                self.failure = judge.failure_of_canary(self.results.answers, outcome)
        if self.failure is not None:
            used = self.assignment.endpoints
            self.failure = server_gone.blamed(self.slot.database, self.assignment.job_id, used, self.failure)
        self.results.outputs += store_logs(beside, self.store)

    def _give_back(self, why: str = "its worker was stopped") -> Ended:
        with suppress(SQLAlchemyError):
            self.shipper.flush()
        self.results = Results()
        self._keep_black_box()
        report.give_back(
            self.slot.database, self.assignment.attempt_id, why=why, suspicion=self.suspicion,
            outputs=self.results.outputs,
        )  # fmt: skip
        return Ended(AttemptState.LOST, why)

    @property
    def _is_canary(self) -> bool:
        return bool(self.assignment.spec.get("kind") == "canary")

    def _look_back(self) -> None:
        """Whether this failure, with those of others before it, speaks against the slot."""
        if self.suspicion is not None or self.failure is None:
            return
        if self._is_canary:
            self.suspicion = judge.suspicion_of_canary(self.failure)
        elif self.failure.kind in COUNTED:
            with suppress(SQLAlchemyError), self.slot.database.read() as session:
                self.suspicion = suspicions.after_failure(
                    session, self.assignment.attempt_id, now=self.slot.database.now(session),
                    half_life=self.slot.settings.suspect_half_life,
                )  # fmt: skip

    def _keep_black_box(self) -> None:
        """Save what can be found out now, before the slot is given back; an end is reported without it if need be."""
        fault = self.failure is not None and self.failure.kind is FailureKind.FAULT
        if not fault and self.suspicion is None:
            return
        command = None if self.plan is None else self.plan.document
        try:
            box = store_black_box(
                self.store, self.work, label=self.assignment.label, log=self.log_path, command=command,
                outcome=self.outcome, guard=self.guard, failure=self.failure, suspicion=self.suspicion,
                since=self.began,
            )  # fmt: skip
            self.results.outputs.append(box)
        except Exception:
            log.exception("black box not stored", extra={"attempt": self.assignment.attempt_id})

    def _warn_of_slot(self) -> None:
        if self.suspicion is not None:
            with suppress(SQLAlchemyError, OrchestratorError):
                report.suspect(self.slot.database, self.assignment.slot_ids, self.suspicion, worker=self.slot.worker)

    def _report(self) -> Ended:
        log_digest, log_bytes = self._seal_log()
        self._look_back()
        self._keep_black_box()
        give_up = time.monotonic() + self.slot.settings.lease.total_seconds()
        while True:
            if self.failure is not None:
                # What is there is kept as files; rows would look like the whole.
                self.results.answers, self.results.metrics = [], []
            seconds = None if self.outcome is None else self.outcome.seconds
            try:
                failure, suspicion = self.failure, self.suspicion
                if self.setup is not None:
                    failure, suspicion = self.setup.conclude(failure, suspicion)
                self._finish(Ending(failure, seconds, log_digest, log_bytes, suspicion, self.started))
                return _ended(failure)
            except (OperationalError, InterfaceError):
                # Results of hours are not thrown away for a blip, but nobody can wait longer than the lease.
                log.warning("end not reported; retrying", exc_info=True)
                if time.monotonic() > give_up:
                    raise OwnershipLost("the end could not be reported in time") from None
                time.sleep(_REPORT_AGAIN)
            except SQLAlchemyError as trouble:
                if self.results == Results():
                    raise
                log.exception("results refused by the database", extra={"attempt": self.assignment.attempt_id})
                self.failure, self.results = _fault(trouble), Results()

    def _finish(self, ending: Ending) -> None:
        told = [] if self.setup is None else [self.setup.stored(self.store)]
        results = replace(self.results, outputs=[*self.results.outputs, *told])
        report.finish(
            self.slot.database, self.assignment.attempt_id, ending, results,
            worker=self.slot.worker, max_attempts=self.slot.settings.max_attempts,
        )  # fmt: skip

    def _seal_log(self) -> tuple[str | None, int]:
        """Digest and size of the whole log; without a digest, its live pieces are what there is."""
        if not self.log_path.exists():
            return None, 0
        try:
            output, size = seal_log(self.log_path, self.store, name=f"{self.assignment.label}.log.zst")
        except Exception:
            log.exception("log not sealed", extra={"attempt": self.assignment.attempt_id})
            with suppress(SQLAlchemyError, OSError):
                self.shipper.flush()
            return None, self.log_path.stat().st_size
        self.results.outputs.append(output)
        return output.digest, size


def _ended(failure: Failure | None) -> Ended:
    if failure is None:
        return Ended(AttemptState.SUCCEEDED)
    cancelled = failure.kind is FailureKind.CANCELLED
    return Ended(AttemptState.CANCELLED if cancelled else AttemptState.FAILED, f"{failure.kind}: {failure.reason}")


def _fault(trouble: Exception) -> Failure:
    told = trouble.detail if isinstance(trouble, OrchestratorError) else f"{type(trouble).__name__}: {trouble}"
    return Failure(kind=FailureKind.FAULT, reason=next(iter(told.splitlines()), "")[:_REASON_LENGTH])


def _mark(work: Path) -> int:
    """The time that files get now: by the kernel's clock for files, which is a little behind the time of day."""
    os.utime(work)
    return work.stat().st_mtime_ns
