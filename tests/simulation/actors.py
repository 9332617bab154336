"""Who acts in the simulated lab: dispatchers, workers and people. Each takes one step at a time."""

import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from builders.desk import compile_of, convert, quantize, request_of
from simulation.world import World
from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator.broker import Bell
from orchestrator.dispatcher.main import Dispatcher
from orchestrator.errors import AlreadyReserved, BadRequest, IllegalTransition, OwnershipLost, SlotTaken
from orchestrator.jobs import endpoints, lifecycle, orders, used_endpoints
from orchestrator.jobs.assignments import claim
from orchestrator.jobs.lifecycle import Ending
from orchestrator.model.assignments import Assignment
from orchestrator.model.failures import Failure, FailureKind, Suspicion
from orchestrator.model.lacks import DISK
from orchestrator.model.orders import Action, Order
from orchestrator.model.reservations import ReservationRequest
from orchestrator.model.slots import SlotName
from orchestrator.model.specs import PRODUCES
from orchestrator.model.states import FINAL
from orchestrator.slots import lacks, presence, reservations, service
from orchestrator.storage.tables import Attempt, Job, Leader
from workers.attempt import report
from workers.attempt.collect import Output, Results
from workers.host.cards import CardsHeld
from workers.slot import OwnedSlot, announce

DEAD_CARD = Suspicion(reason="HPGR: device error", signature="hpgr_device_error")


class Actor:
    """A process that may be dead, or paused (SIGSTOP) until a moment."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.alive = False
        self.paused_until: datetime | None = None

    @property
    def acts(self) -> bool:
        """Whether it takes steps now."""
        paused = self.paused_until is not None and self.world.clock.now < self.paused_until
        return self.alive and not paused

    def pause(self, seconds: float) -> None:
        """Stop it where it is; it goes on later as if nothing had been."""
        self.paused_until = self.world.clock.now + timedelta(seconds=seconds)
        self.world.tell(self.name, f"pauses for {seconds:.0f} s")

    def kill(self) -> None:
        """End it without warning."""
        self.alive = False
        self.world.tell(self.name, "dies")

    def start(self) -> None:
        """Start it anew, with nothing in mind."""
        self.alive, self.paused_until = True, None
        self.world.tell(self.name, "starts")

    def step(self) -> None:
        """Do the next thing."""
        raise NotImplementedError


class Dispatching(Actor):
    """A dispatcher, one operation at a time: it may pause or die between any two."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self._next = 0
        self._turning = False

    def start(self) -> None:
        """As a new process, which has yet to ask for the lead."""
        super().start()
        seconds = self.world.clock.seconds
        self._process = Dispatcher(self.world.settings(self.name), self.world.database, self._ring, seconds)
        self._next = 0

    def step(self) -> None:
        """Lead, turn and sweep go round."""
        self._turning = self._next % 3 == 1
        (self._process.lead, self._process.turn, self._sweep)[self._next % 3]()
        self._next += 1

    def _sweep(self) -> None:
        for name, trouble in self._process.sweep().items():
            raise AssertionError(f"{self.name}: chore failed: {name}") from trouble

    def _ring(self, bells: Sequence[Bell]) -> bool:
        if bells:
            self.world.tell(self.name, f"rings for {[bell.attempt_id for bell in bells]}")
            assert not self._turning or self._leads(), f"{self.name} placed jobs and leads no more"
        if bells and self.world.dice.random() < self.world.broker.weather.lost / 2:
            self.kill()  # After the commit, before the first ring.
            return False
        for bell in bells:
            self.world.broker.ring(bell)
        return True

    def _leads(self) -> bool:
        with self.world.database.read() as session:
            holder = session.scalar(select(Leader.holder).where(Leader.expires_at > self.world.clock.now))
        return holder is not None and holder.startswith(f"{self.name}#")


@dataclass
class Running:
    """What a worker has under way."""

    assignment: Assignment
    renewed_at: datetime
    ends_at: datetime
    ready_at: datetime | None = None
    """When it will serve, of a server that does not yet."""
    was_ready: bool = False

    @property
    def serves(self) -> bool:
        return bool(self.assignment.spec["kind"] == "serve")


class Working(Actor):
    """The worker of one slot: hears bells, keeps its lease, ends its tool in time."""

    def __init__(self, world: World, host: str, slot: str) -> None:
        super().__init__(world, f"{host}.{slot}")
        self._settings = world.settings(host)
        self._running: Running | None = None
        self._attempt_id = 0
        self._dying_until: datetime | None = None
        self._beat_at = world.clock.now
        self._name = SlotName.parse(slot)
        self._deaf = False

    def start(self) -> None:
        """The lock is free, for a dead worker's tree dies with it; so the slot is taken over at once."""
        if self.alive:
            return
        super().start()
        self._deaf = False
        self._slot = OwnedSlot(
            settings=self._settings, database=self.world.database, name=self._name,
            worker=f"{self.name}#{secrets.token_hex(2)}", lock=-1, shim=None, lost=threading.Event(),
        )  # fmt: skip
        announce(self._slot)
        self._beat_at = self.world.clock.now + self._settings.heartbeat

    def kill(self) -> None:
        """The shim ends the tree with the worker."""
        super().kill()
        self._end_tree()

    def stop(self) -> None:
        """An orderly stop: what runs is given back, and goodbye is said."""
        if self._running is None:
            self._end_tree()
        else:
            attempt_id = self._running.assignment.attempt_id
            self._end_tree()
            self._give_back(attempt_id, why="its worker was stopped")
        with self.world.database.write() as session:
            presence.leave(session, self._slot.id, worker=self._slot.worker, now=self.world.clock.now)
        self.alive = False
        self.world.tell(self.name, "stops")

    def step(self) -> None:
        """Whatever is due first."""
        now = self.world.clock.now
        safe = self._settings.lease - self._settings.lease_margin
        if self._running is not None and now >= self._running.renewed_at + safe:
            self.world.tell(self.name, f"could not renew {self._running.assignment.attempt_id}")
            self._lose()
        elif now >= self._beat_at:
            self._beat()
        elif self._dying_until is not None:
            if now >= self._dying_until:
                self._end_dying()
        elif self._running is None:
            self._hear()
        elif now >= self._running.renewed_at + self._settings.heartbeat:
            self._renew(self._running)
        elif self._running.ready_at is not None and now >= self._running.ready_at:
            self._become_ready(self._running)
        elif now >= self._running.ends_at and self.world.dice.random() < self.world.broker.weather.lost / 3:
            self._meet_a_full_disk(self._running)
        elif now >= self._running.ends_at:
            self._report(self._running, self._end_of(self._running))

    def _beat(self) -> None:
        self._beat_at = self.world.clock.now + self._settings.heartbeat
        try:
            with self.world.database.write() as session:
                now, mine = self.world.clock.now, {"worker": self._slot.worker}
                pulse, busy = presence.beat(session, self._slot.id, **mine, now=now), self._in_use(session)
                if pulse.resume_requested and not busy:
                    service.answer_resume(session, self._slot.id, **mine, now=now, refusal=None, evidence=None)
        except SlotTaken:
            self.kill()
            return
        if pulse.lacks_due:
            with self.world.database.write() as session:
                for name in lacks.take_due(session, self._settings.host, self.world.clock.now):
                    lacks.regain(session, self._settings.host, name, now=self.world.clock.now)
        if pulse.deaf and not busy:
            self.stop()
            self.start()

    def _in_use(self, session: Session) -> bool:
        return presence.in_use(session, self._slot.id)

    def deafen(self) -> None:
        """It hears no bell any more, and does not know."""
        self._deaf = True
        self.world.tell(self.name, "is deaf")

    def _hear(self) -> None:
        if self._deaf:
            return
        attempt_id = self.world.broker.next(self._slot.id)
        if attempt_id is None:
            return
        began = self.world.clock.now
        found = claim(self.world.database, attempt_id, owner=self._slot.owner, lease=self._settings.lease)
        self.world.tell(self.name, f"hears {attempt_id}{'' if found else ', which is not there to take'}")
        if found is not None:
            self._begin(found, began)

    def _go_on(self, found: Assignment, began: datetime) -> None:
        """With the next in line; now and then it dies before it has begun."""
        self.world.tell(self.name, f"goes on with {found.attempt_id}")
        self._begin(found, began)
        if self.world.dice.random() < self.world.broker.weather.lost / 3:
            self.kill()

    def _begin(self, found: Assignment, began: datetime) -> None:
        attempt_id = found.attempt_id
        running = Running(found, began, began + timedelta(seconds=self.world.dice.choice([1, 5, 30, 100, 300])))
        if running.serves:
            calm = self.world.broker.weather.lost == 0
            running.ends_at = began + timedelta(seconds=10**9 if calm else self.world.dice.choice([5, 100, 1000]))
            running.ready_at = began + timedelta(seconds=self.world.dice.choice([1, 10, 50]))
        left = {slot: self.world.trees[slot] for slot in found.slot_ids if slot in self.world.trees}
        if left:
            self._meet(running, left)
        else:
            self.world.trees |= dict.fromkeys(found.slot_ids, attempt_id)
            self._running, self._attempt_id = running, attempt_id

    def _meet(self, running: Running, left: dict[str, int]) -> None:
        """Cards that a dying tree still holds are locked on the host, whatever SQL says: nothing is started."""
        with self.world.database.read() as session:
            live = [number for number in left.values() if session.get_one(Attempt, number).ended_at is None]
        assert not live, f"{self.name} was given slots on which attempts {live} run"
        slot = min(left)
        held = CardsHeld(slot, f"attempt {left[slot]}")
        self._give_back(running.assignment.attempt_id, why=held.detail, suspicion=held.suspicion)

    def _give_back(self, attempt_id: int, *, why: str, suspicion: Suspicion | None = None) -> None:
        self.world.tell(self.name, f"gives back {attempt_id}: {why}")
        report.give_back(self.world.database, attempt_id, owner=self._slot.owner, why=why, suspicion=suspicion)

    def _meet_a_full_disk(self, running: Running) -> None:
        """The host is held out until a worker of it has looked again."""
        self._end_tree()
        report.lack(self.world.database, self._settings.host, DISK, why="disk full", probed=True)
        self._give_back(running.assignment.attempt_id, why="disk full")

    def _renew(self, running: Running) -> None:
        began = self.world.clock.now
        try:
            with self.world.database.write() as session:
                uses = [used.attempt_id for used in running.assignment.endpoints]
                used_endpoints.note_use(session, uses, began)
                renewal = lifecycle.renew(
                    session, running.assignment.attempt_id, owner=self._slot.owner, now=began,
                    lease=self._settings.lease,
                )  # fmt: skip
        except OwnershipLost:
            self._lose()
            return
        running.renewed_at = began
        if renewal.cancel_requested or (renewal.stop_requested and not running.was_ready):
            self._report(running, Ending(Failure(kind=FailureKind.CANCELLED, reason="cancelled"), 1.0, None, 0))
        elif renewal.stop_requested:
            self._report(running, Ending(None, 1.0, None, 0))

    def _become_ready(self, running: Running) -> None:
        attempt_id, running.ready_at = running.assignment.attempt_id, None
        told = {"owner": self._slot.owner, "url": "http://127.0.0.1:20000", "served_id": "m"}
        try:
            with self.world.database.write() as session:
                endpoints.announce(session, attempt_id, now=self.world.clock.now, **told)
        except OwnershipLost:
            self._lose()
            return
        running.was_ready = True
        self.world.tell(self.name, f"serves {attempt_id}")

    def _end_of(self, running: Running) -> Ending:
        """A client whose server is gone can not have succeeded."""
        if running.serves:
            return self._death()
        if running.assignment.spec["kind"] == "client":
            with self.world.database.read() as session:
                if not used_endpoints.of_job(session, running.assignment.job_id):
                    gone = Failure(kind=FailureKind.SERVER_GONE, reason="its server does not answer")
                    return Ending(gone, 1.0, None, 0)
        return self._ending()

    def _ending(self) -> Ending:
        roll = self.world.dice.random()
        if roll < 0.75 or self.world.broker.weather.lost == 0:
            return Ending(None, 1.0, None, 0, DEAD_CARD if 0.72 < roll < 0.75 else None)
        if roll < 0.85:
            return Ending(Failure(kind=FailureKind.TOOL, reason="exit code 1"), 1.0, None, 0)
        return Ending(
            Failure(kind=FailureKind.FAULT, reason="the card died"), 1.0, None, 0, DEAD_CARD if roll > 0.95 else None
        )

    def _death(self) -> Ending:
        """A server that ends by itself has failed."""
        kind = self.world.dice.choice([FailureKind.TOOL, FailureKind.FAULT])
        return Ending(Failure(kind=kind, reason="the server ended by itself"), 1.0, None, 0)

    def _report(self, running: Running, ending: Ending) -> None:
        self._end_tree()
        self._finish(running, ending)

    def _finish(self, running: Running, ending: Ending) -> None:
        attempt_id, results, began = running.assignment.attempt_id, Results(), self.world.clock.now
        if ending.failure is None and not running.serves:
            kind = running.assignment.spec["kind"]
            stored = self.world.store.put_bytes(f"{kind} of {running.assignment.spec}".encode())
            results.outputs.append(Output(PRODUCES[kind], stored.digest, False, PRODUCES[kind], stored.size))
        try:
            reported = report.finish(
                self.world.database, attempt_id, ending, results, owner=self._slot.owner,
                max_attempts=self._settings.max_attempts, lease=self._settings.lease,
            )  # fmt: skip
        except OwnershipLost:
            self.world.tell(self.name, f"may not end {attempt_id}")
            return
        self.world.tell(self.name, f"ends {attempt_id}: its job is {reported.state}")
        if reported.following is not None:
            self._go_on(reported.following, began)

    def _lose(self) -> None:
        """The attempt is not its own any more; some of the tree may take a while to die, or never do."""
        self._running = None
        self._dying_until = self.world.clock.now + timedelta(seconds=self.world.dice.choice([0, 0, 3, 10, 30]))

    def _end_dying(self) -> None:
        attempt_id = self._attempt_id
        slots = sorted(slot for slot, holder in self.world.trees.items() if holder == attempt_id)
        self._end_tree()
        if self.world.dice.random() < 0.2:
            self.world.tell(self.name, f"warns of {slots}")
            report.suspect(self.world.database, attempt_id, slots, DEAD_CARD, worker=self._slot.worker)

    def _end_tree(self) -> None:
        self._running = self._dying_until = None
        trees = self.world.trees
        self.world.trees = {slot: attempt_id for slot, attempt_id in trees.items() if attempt_id != self._attempt_id}


class People(Actor):
    """Submit, cancel, hold, reprioritise; drain, resume, quarantine, reserve."""

    def __init__(self, world: World, slots: Sequence[str], most_jobs: int) -> None:
        super().__init__(world, "people")
        self._slots = slots
        self._jobs: list[int] = []
        self._most_jobs = most_jobs
        # In every second lab jobs that turns have to weigh are rare, so that workers go on from job to job.
        self._simple = world.dice.random() < 0.5
        self.alive = True

    def step(self) -> None:
        """One thing that somebody wants."""
        dice = self.world.dice
        if len(self._jobs) < self._most_jobs and dice.random() < 0.6:
            made = self._submit()
            self._jobs += made
            self.world.tell(self.name, f"submit {made}")
        elif dice.random() < 0.7 and self._jobs:
            self._order(dice.choice(self._jobs), dice.choice(list(Action)))
        elif dice.random() < 0.2:
            self._reserve()
        else:
            change = dice.choice([service.drain, service.quarantine, service.resume, service.resume])
            self.serve(change, dice.choice(self._slots))

    def settle(self) -> None:
        """Release and resume everything, and want nothing more."""
        for slot in self._slots:
            self.serve(service.resume, slot)
        with self.world.database.read() as session:
            held = session.scalars(select(Job.id).where(Job.held, Job.state.not_in(FINAL))).all()
        for job in held:
            self._order(job, Action.UNHOLD)

    def serve(self, change: Any, slot: str) -> None:
        """Drain, resume or quarantine a slot."""
        self.world.tell(self.name, f"{change.__name__} {slot}")
        try:
            with self.world.database.admission() as (session, now):
                change(session, slot, by="alice", note=None, now=now)
        except IllegalTransition as refused:
            self.world.tell(self.name, f"refused: {refused.detail}")

    def _reserve(self) -> None:
        dice, now = self.world.dice, self.world.clock.now
        request = ReservationRequest(
            slots=(dice.choice(self._slots),), starts_at=now + timedelta(seconds=dice.choice([0, 10, 100])),
            seconds=dice.choice([20, 200]), project=dice.choice(["a", None]),
        )  # fmt: skip
        self.world.tell(self.name, f"reserve {request.slots[0]} for {request.project} for {request.seconds} s")
        try:
            with self.world.database.admission() as (session, started):
                reservations.reserve(session, request, by="alice", now=started)
        except (AlreadyReserved, BadRequest) as refused:
            self.world.tell(self.name, f"refused: {refused.detail}")

    def _order(self, job: int, action: Action) -> None:
        self.world.tell(self.name, f"{action} {job}")
        priority = self.world.dice.randrange(10) if action is Action.PRIORITY else None
        try:
            with self.world.database.admission() as (session, now):
                orders.carry_out(session, job, Order(action, "alice", None, priority), now=now)
        except IllegalTransition as refused:
            self.world.tell(self.name, f"refused: {refused.detail}")

    def _submit(self) -> list[int]:
        desk, dice = self.world.desk, self.world.dice
        facts: dict[str, Any] = {
            "priority": dice.randrange(10),
            "project": dice.choice("a" if self._simple else "ab"),
            "tool_retries": 1,
        }
        if dice.random() < 0.2:
            facts["limits"] = {"queue_seconds": 200, "total_seconds": 2000}
        match 1 + 6 * dice.randrange(2) if self._simple else dice.randrange(7):
            case 6:
                server = {"kind": "serve", "model": "qwen", "kcore": desk.stored("kcore"), "groups": 1}
                used = {"job": "server", "artifact": "endpoint"}
                asking = {"kind": "client", "endpoint": used, "prompts": desk.file()}
                ends = {"idle_seconds": 600, "keep": dice.random() < 0.3}
                return desk.pipeline({"server": {**server, **ends}, "asking": asking})
            case 5:
                spec = {"kind": "serve", "model": "qwen", "kcore": desk.stored("kcore"), "groups": dice.randint(1, 2)}
                ends = {"idle_seconds": dice.choice([60, None]), "life_seconds": 300, "keep": dice.random() < 0.5}
                return [desk.submit({**spec, **ends}, **facts)]
            case 4:
                return [desk.submit(desk.infer(groups=2), **facts)]
            case 0:
                kcore = {"job": "compile", "artifact": "kcore"}
                jobs = {"convert": convert(), "compile": compile_of("convert"), "infer": desk.infer(kcore=kcore)}
                return desk.pipeline(jobs)
            case 1:
                return [desk.submit(quantize(), **facts)]
            case 2:
                pin = [slot for slot in self._slots if ".g" in slot]
                return [desk.submit(desk.infer(), placement={"slot": dice.choice(pin)}, **facts)]
            case _:
                request = request_of(desk.infer(), **facts)
                return list(desk.submission.jobs([request] * dice.randint(1, 6)).jobs)
