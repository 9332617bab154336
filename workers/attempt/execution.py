"""One attempt, from claim to report, as a list of steps.

What is specific to a kind of job is in `kinds/`; how an attempt ends is in `ending.py`.
"""

import hashlib
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from orchestrator.errors import OwnershipLost
from orchestrator.jobs.assignments import claim
from orchestrator.model.failures import Failure, FailureKind
from orchestrator.model.states import AttemptState
from orchestrator.storage.artifacts import ArtifactStore
from workers import lacks
from workers.attempt import ending, evidence, judge, later_look, model_unchanged, own_cards, report, troubles
from workers.attempt.collect import store_logs
from workers.attempt.ending import Ended
from workers.attempt.facts import Claimed, Findings, Prepared, Ran, Taken
from workers.attempt.guard import CardGuard
from workers.attempt.heartbeat import Heartbeat
from workers.attempt.kinds.table import kind_of
from workers.attempt.left_files import store_left_files
from workers.attempt.log_shipping import LogShipper
from workers.attempt.telemetry import Telemetry
from workers.attempt.tool_process import ToolProcess
from workers.host import cards, locks
from workers.host.open_files import SharedLooks
from workers.host.probe import Probe
from workers.processes.process import StopReason, StopSignal
from workers.slot import OwnedSlot, clear
from workers.toolchain.commands import Plan
from workers.toolchain.overlay import lay_out, refuse_unfit

log = logging.getLogger(__name__)


def execute(
    attempt_id: int, slot: OwnedSlot, store: ArtifactStore, stop: StopSignal,
    *, takes_next: Callable[[], bool] = lambda: False,
) -> Ended | None:  # fmt: skip
    """Run one attempt to its end and report it; None if it could not be claimed.

    If `takes_next` says so when it ends, its end may start the next job in line on this slot (`Ended.following`), which
    the caller has to run with `execute_taken`. When this returns, none of its processes runs and its working folder is
    removed."""
    began = time.monotonic()
    assignment = claim(slot.database, attempt_id, owner=slot.owner, lease=slot.settings.lease)
    if assignment is None:
        return None
    return execute_taken(Taken(assignment, began), slot, store, stop, takes_next=takes_next)


def execute_taken(
    taken: Taken, slot: OwnedSlot, store: ArtifactStore, stop: StopSignal, *, takes_next: Callable[[], bool]
) -> Ended:
    """As `execute`, for an attempt that belongs to this worker already."""
    assignment, settings = taken.assignment, slot.settings
    claimed = Claimed(assignment, slot, store, stop, began=time.monotonic(), takes_next=takes_next)
    execution = _Execution(claimed)
    try:
        uses = [used.attempt_id for used in assignment.endpoints]
        with Heartbeat(
            slot.database, settings, claimed.id, owner=slot.owner, stop=stop, renewed_at=taken.leased_at, uses=uses
        ):
            return execution.through()
    except OwnershipLost as lost:
        return Ended(AttemptState.LOST, lost.detail)
    finally:
        clear(claimed.work)
        execution.prove_cards_later()


class _Execution:
    """The steps of one attempt. Each stores its results in `_found`, so that they survive if a later step raises."""

    def __init__(self, claimed: Claimed) -> None:
        self._claimed = claimed
        self._kind = kind_of(claimed)
        self._shipper = LogShipper(claimed.slot.database, claimed.id, claimed.log, owner=claimed.slot.owner)
        self._found = Findings()
        self._owes_look = False

    def through(self) -> Ended:
        """Everything between claim and report; no exception in our code leaves an attempt without an end."""
        try:
            self._claimed.work.mkdir(parents=True)
            prepared = self._prepare()
            self._lay_out(prepared.plan)
            with self._locked(prepared.plan) as descriptors:
                guard = self._prove_cards_free(prepared)
                with self._cards_proven_again(guard, prepared):
                    ran = self._run(prepared, guard, descriptors)
                    self._judge(ran, guard)
                    self._collect(ran)
        except Exception as trouble:
            if (given_back := self._given_back(trouble)) is not None:
                return given_back
            self._note(trouble)
        return self._report()

    def prove_cards_later(self) -> None:
        """Have the cards looked at soon, if the attempt has ended without a look at them."""
        if self._owes_look and self._found.guard is not None:
            self._found.guard.owe_look(self._claimed.id)

    def _prepare(self) -> Prepared:
        prepared = self._kind.prepare()
        self._found = replace(self._found, plan=prepared.plan)
        return prepared

    def _lay_out(self, plan: Plan) -> None:
        claimed = self._claimed
        model_unchanged.refuse_written(claimed.assignment.model, claimed.slot.settings, claimed.slot.database)
        refuse_unfit(plan, claimed.store)
        lay_out(plan, claimed.store, claimed.work)

    @contextmanager
    def _locked(self, plan: Plan) -> Iterator[list[int]]:
        """Lock the cards, and whatever the plan needs exclusively, until the outputs are stored; yields the
        descriptors."""
        claimed, settings = self._claimed, self._claimed.slot.settings
        with cards.held(settings.locks, settings.host, claimed.assignment.groups, owner=claimed.owner) as of_cards:
            descriptors = [claimed.slot.lock, *of_cards]
            if plan.exclusive is None:
                yield descriptors
                return
            # The lock belongs to the installed tools: two releases at one root share it.
            root = hashlib.sha256(os.fsencode(plan.words["root"])).hexdigest()[:12]
            path = settings.locks / f"{locks.file_name(plan.exclusive)}@{root}.lock"
            # Locked until the outputs are stored: the next run would overwrite them.
            with locks.waited_for(path, owner=claimed.owner, log=claimed.log, stop=claimed.stop) as lock:
                yield descriptors if lock is None else [*descriptors, lock]

    def _prove_cards_free(self, prepared: Prepared) -> CardGuard:
        claimed, plan, settings = self._claimed, prepared.plan, self._claimed.slot.settings
        shared = SharedLooks(settings.locks)
        probe = Probe(plan.profile.probe, devices=settings.devices_dir, root=plan.words["root"], shared=shared)
        guard = CardGuard(
            probe, claimed.assignment.groups, slot=claimed.slot, stop=claimed.stop,
            own_looks=later_look.needs_own_look(
                claimed.assignment.spec["kind"], plan.profile.probe, below_shim=prepared.launch.below_shim,
                groups=len(claimed.assignment.groups),
            ),
            may_miss=prepared.may_miss_cards, elsewhere=prepared.launch.processes, say=partial(locks.say, claimed.log),
        )  # fmt: skip
        self._found = replace(self._found, guard=guard)
        prepared.launch.clear()
        guard.require_free()
        return guard

    @contextmanager
    def _cards_proven_again(self, guard: CardGuard, prepared: Prepared) -> Iterator[None]:
        """Probe the cards after the block, while they are still locked; soon afterwards if it ends normally."""
        ended = False
        try:
            yield
            found = self._found
            ended = later_look.ended_normally(found.outcome, found.failure, found.suspicion)
        finally:
            self._owes_look = ended and guard.may_be_proven_later
            if not self._owes_look:
                outcome = self._found.outcome
                left = guard.left_behind(() if outcome is None else outcome.unkillable)
                self._found = replace(self._found, suspicion=self._found.suspicion or left or prepared.launch.doubt)
        self._found = replace(self._found, failure=guard.excused(self._found.failure))
        if self._found.suspicion is None:
            guard.require_undisturbed(self._found.failure)

    def _run(self, prepared: Prepared, guard: CardGuard, descriptors: list[int]) -> Ran:
        claimed, plan, launch = self._claimed, prepared.plan, prepared.launch
        # The time that a new file gets: the kernel's clock for files lags the time of day a little.
        os.utime(claimed.work)
        since_ns = claimed.work.stat().st_mtime_ns
        telemetry = self._telemetry(plan)
        tool = ToolProcess(claimed, launch, descriptors=descriptors, shipper=self._shipper)
        try:
            with guard, launch, telemetry, self._shipper.following(plan.kind.progress):
                ended = self._kind.run(plan, tool.start, guard)
        finally:
            self._found = replace(self._found, plan=tool.plan or plan, telemetry=telemetry.document)
        outcome = launch.settled(ended)
        self._found = replace(self._found, outcome=outcome, started=tool.not_noted(outcome))
        if outcome.unkillable:
            # They may still have cards open, and they hold the slot's lock: it is not free until they have ended.
            claimed.slot.abandon(f"processes {outcome.unkillable} cannot be killed")
        return evidence.gathered(claimed, plan, outcome, since_ns=since_ns)

    def _telemetry(self, plan: Plan) -> Telemetry:
        rule, settings = plan.profile.telemetry, self._claimed.slot.settings
        self._found = replace(self._found, limits={} if rule is None else rule.limits)
        own = [card for group in self._claimed.assignment.groups for card in group.cards]
        return Telemetry(rule, own, {"devices": str(settings.devices_dir), "root": plan.words["root"]})

    def _judge(self, ran: Ran, guard: CardGuard) -> None:
        failure = None if ran.interrupted else self._failure_of(ran, guard)
        # Before anything is stored, which may fail.
        suspicion = judge.suspicion(failure, ran.outcome, ran.evidence, ran.plan.fault_signatures)
        self._found = replace(self._found, failure=failure, suspicion=suspicion)
        self._require_room()

    def _failure_of(self, ran: Ran, guard: CardGuard) -> Failure | None:
        rule = ran.plan.kind.own_cards
        said = own_cards.named(rule, ran.evidence)
        failure = guard.misuse(ran.outcome, said=said) or self._kind.judge(ran)
        return failure or own_cards.unproven(guard.unproven(rule, said=said), ran.outcome)

    def _collect(self, ran: Ran) -> None:
        if ran.interrupted:
            return
        try:
            self._take_results(ran)
        finally:
            if not ran.cancelled and (self._found.failure is not None or ran.is_unread or sys.exc_info()[0]):
                self._keep_left_files(ran)

    def _keep_left_files(self, ran: Ran) -> None:
        """What the tool wrote; if that cannot be stored, the attempt ends as it would without."""
        try:
            left = store_left_files(ran, self._claimed.work, self._claimed.store)
        except Exception:
            log.exception("left files not stored", extra={"attempt": self._claimed.id})
            return
        if left is not None:
            results = self._found.results
            self._found = replace(self._found, results=replace(results, outputs=[*results.outputs, left]))

    def _take_results(self, ran: Ran) -> None:
        if self._found.failure is None:
            self._found = replace(self._found, results=self._kind.collect(ran))
            self._found = replace(self._found, failure=self._kind.accept(ran, self._found.results))
            self._require_room()
        results = self._found.results
        outputs = [*results.outputs, *store_logs(ran.logs, self._claimed.store)]
        self._found = replace(self._found, results=replace(results, outputs=outputs))

    def _note(self, trouble: Exception) -> None:
        if not troubles.is_expected(trouble):
            log.error("attempt failed unexpectedly", exc_info=trouble, extra={"attempt": self._claimed.id})
        self._found = troubles.after(self._found, trouble)

    def _require_room(self) -> None:
        """HostLacks if the run failed because others have filled the disk: that is no fault of the job or of the
        cards."""
        failure = self._found.failure
        if failure is not None and failure.kind not in (FailureKind.CANCELLED, FailureKind.WRONG_ANSWERS):
            lacking = lacks.full_disk(self._claimed.slot.settings, own=self._claimed.work)
            if lacking is not None:
                raise lacking

    def _given_back(self, trouble: Exception) -> Ended | None:
        """How it ended, if it could not be run here through no fault of the job; None if the run has to be judged."""
        claimed, slot = self._claimed, self._claimed.slot
        stopped = self._found.outcome and self._found.outcome.stopped
        if stopped in (StopReason.LEASE_LOST, StopReason.SHUTDOWN):
            return None
        if troubles.is_cards_in_use(trouble):
            found = troubles.after(self._found, trouble)
            # They would get the same cards again and again.
            if found.suspicion is not None and claimed.assignment.spec["kind"] in later_look.PROVE_CARDS:
                return None
            return ending.given_back(claimed, found, self._shipper, why=str(trouble))
        release = claimed.assignment.release
        lacking = lacks.lack_of(trouble, slot.settings, release=release, own=claimed.work)
        if lacking is None:
            return None
        report.lack(slot.database, slot.settings.host, lacking.name, why=lacking.detail, probed=lacking.probed)
        return ending.given_back(claimed, self._found, self._shipper, why=lacking.detail)

    def _report(self) -> Ended:
        match self._found.outcome and self._found.outcome.stopped:
            case StopReason.LEASE_LOST:
                raise ending.taken_away(self._claimed, self._found)
            case StopReason.SHUTDOWN:
                return ending.given_back(self._claimed, self._found, self._shipper, why="its worker was stopped")
            case _:
                return ending.reported(self._claimed, self._kind, self._found, self._shipper)
