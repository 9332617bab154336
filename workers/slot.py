"""Owning one slot: the host's lock, the row in SQL, and heartbeats while this process lives."""

import logging
import os
import secrets
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from orchestrator.errors import SlotTaken
from orchestrator.jobs import lifecycle
from orchestrator.jobs.ownership import Owner
from orchestrator.model.slots import GOLDEN_LABEL, SlotKind, SlotName
from orchestrator.settings import Settings
from orchestrator.slots import lacks, presence, service
from orchestrator.storage.away import why
from orchestrator.storage.database import Database
from workers.hearing import TICK, Hearing
from workers.host import locks, strays
from workers.host.open_events import KeptEvents
from workers.host.probe import Finding, default_probe
from workers.host.unproven import UnprovenEnds
from workers.lacks import still_lacks
from workers.processes.process import StopReason
from workers.processes.stops import STOPS
from workers.processes.threads import beside
from workers.processes.tree import Shim
from workers.toolchain import reference

log = logging.getLogger(__name__)

_TRY_AGAIN = 1.0
"""Seconds to wait after the database did not answer, and between two checks whether a resume is requested."""

_STOPS_WITHIN = 10.0
"""Seconds within which a worker without a job stops gracefully; one that does not is stuck."""

EXIT_GIVEN_UP = 3
"""Exit code of a worker whose slot belongs to another, or that has given it up; its supervisor may restart it."""


@dataclass(frozen=True)
class OwnedSlot:
    """A slot that this process holds until the end of the block that gave it."""

    settings: Settings
    database: Database
    name: SlotName
    worker: str
    lock: int
    """Descriptor of the host's lock; every child of an attempt inherits it."""
    shim: Shim
    """The parent of every vendor process of the slot; kept running, because its start takes longer than a fork."""
    lost: threading.Event
    """Set when this process must no longer use the slot."""
    hearing: Hearing | None = None
    """State of the loop that receives its doorbell messages; None if no loop runs."""
    seen_free: dict[tuple[int, ...], float] = field(default_factory=dict)
    """When cards were last seen free, by the monotonic clock."""
    opens: KeptEvents = field(default_factory=KeptEvents)
    """Reports of device nodes that are opened."""
    unproven: UnprovenEnds = field(default_factory=UnprovenEnds)
    """Ends of its attempts after which its cards were not looked at yet."""

    @cached_property
    def owner(self) -> Owner:
        """This process and its slot, as required by every transition of its attempts."""
        return Owner(self.worker, self.id)

    def abandon(self, why: str) -> None:
        """Stop this process and claim nothing more; a process that still holds the lock prevents a restart of the
        slot."""
        log.error("slot given up", extra={"slot": self.id, "why": why})
        self.lost.set()
        os.kill(os.getpid(), signal.SIGTERM)

    @cached_property
    def id(self) -> str:
        """HOST.SLOT, also the name of its queue."""
        return f"{self.settings.host}.{self.name}"

    @cached_property
    def work(self) -> Path:
        """The folder of this slot's working folders."""
        return self.settings.work / self.id


@contextmanager
def owned(
    settings: Settings, database: Database, name: SlotName, hearing: Hearing | None = None
) -> Iterator[OwnedSlot]:
    """Own a slot during the block. `locks.Held` if another process of this host has it, SlotTaken if a process of
    another machine with the same host name has it.

    Remains of an earlier worker are removed first: its attempts are lost, because the lock proves that none of their
    processes is alive, and its working folders are removed."""
    with ExitStack() as held:
        lock = locks.take(settings.locks / f"{name}.lock", owner=f"worker pid {os.getpid()}")
        held.callback(os.close, lock)
        slot = OwnedSlot(
            settings=settings,
            database=database,
            name=name,
            worker=f"{settings.host}.{name}#{secrets.token_hex(4)}",
            lock=lock,
            shim=held.enter_context(Shim.start()),
            lost=threading.Event(),
            hearing=hearing,
        )
        announce(slot)
        # Not earlier: the files may belong to a live worker, if two machines share the folder and the host name.
        clear(slot.work)
        held.callback(_leave, slot)
        held.enter_context(_beating(slot))
        held.callback(slot.opens.close)
        held.callback(slot.unproven.close, _TRY_AGAIN)
        yield slot


@contextmanager
def _beating(slot: OwnedSlot) -> Iterator[None]:
    ended = threading.Event()
    thread = threading.Thread(target=_beat, args=(slot, ended), name="slot-beat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        # A heartbeat after the end would make the slot look alive.
        ended.set()
        thread.join(_TRY_AGAIN)


def clear(folder: Path) -> None:
    """Remove a folder and all its contents, even files that a tool made read-only; files that cannot be removed are
    logged."""

    def insist(remove: object, path: str, _: object) -> None:
        try:
            os.chmod(Path(path).parent, 0o700)
            Path(path).unlink() if Path(path).is_symlink() or not Path(path).is_dir() else shutil.rmtree(path)
        except OSError as trouble:
            log.warning("cannot remove a leftover", extra={"path": path, "why": str(trouble)})

    try:
        _remove(folder)
    except OSError:
        if folder.exists():
            shutil.rmtree(folder, onerror=insist)


def _remove(name: str | Path, *, inside: int | None = None) -> None:
    """Remove a folder below an opened one, following no link; OSError for what needs insistence.

    What an attempt has is a dozen names: `shutil.rmtree` takes three times as long for them."""
    folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=inside)
    try:
        with os.scandir(folder) as entries:
            found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for entry, is_folder in found:
            if is_folder:
                _remove(entry, inside=folder)
            else:
                os.unlink(entry, dir_fd=folder)
    finally:
        os.close(folder)
    os.rmdir(name, dir_fd=inside)


def announce(slot: OwnedSlot) -> None:
    """Become the slot's worker in SQL, waiting for a database that does not answer yet; attempts left there are
    lost."""
    able = _abilities(slot)
    while True:
        try:
            finding = _looked_at(slot)
            with slot.database.admission() as (session, now):
                left = presence.announce(
                    session, host=slot.settings.host, name=slot.name, worker=slot.worker, pid=os.getpid(),
                    lock_domain=locks.domain(slot.settings.locks), now=now, lost_after=slot.settings.lease,
                    labels=slot.settings.labels | able,
                )  # fmt: skip
                for attempt_id in left:
                    lifecycle.lose(
                        session, attempt_id, now=now, why="its worker died", max_attempts=slot.settings.max_attempts
                    )
                # Cards of a gang's attempt that another worker leads are checked by that worker.
                if not (finding.free or finding.strayed) and not presence.in_use(session, slot.id):
                    service.suspect(
                        session, slot.id, worker=slot.worker, reason=f"when its worker started, {finding.sentence()}",
                        evidence=finding.document(), now=now,
                    )  # fmt: skip
            log.info("slot announced", extra={"slot": slot.id, "worker": slot.worker, "lost": len(left)})
            return
        except SQLAlchemyError as trouble:
            log.warning("slot not announced; retrying", extra={"slot": slot.id, "why": why(trouble)})
            threading.Event().wait(_TRY_AGAIN)


def _abilities(slot: OwnedSlot) -> dict[str, str]:
    """Labels for things that some jobs need and not every host has."""
    interpreter = slot.settings.golden_python or Path(sys.executable)
    return GOLDEN_LABEL if slot.name.kind is SlotKind.CPU and reference.can_run(interpreter) else {}


def _looked_at(slot: OwnedSlot) -> Finding:
    with slot.database.read() as session:
        probe = default_probe(session, slot.settings)
    finding = probe.look(slot.name.cards, keep_fds=[slot.lock])
    return strays.attributed(finding, slot.settings, slot.database, own=(slot.id,))


def _answer_resume(slot: OwnedSlot) -> None:
    """Probe the cards for a requested resume, once nothing runs there, and report the finding."""
    try:
        with slot.database.read() as session:
            if presence.in_use(session, slot.id):
                return
        finding = _looked_at(slot)
        with slot.database.write() as session:
            service.answer_resume(
                session, slot.id, worker=slot.worker, now=slot.database.now(session),
                refusal=None if finding.free else finding.sentence(), evidence=finding.document(),
            )  # fmt: skip
    except Exception:
        # It is still requested at the next heartbeat.
        log.warning("resume not answered; retrying", exc_info=True, extra={"slot": slot.id})


def _beat(slot: OwnedSlot, ended: threading.Event) -> None:
    usual = slot.settings.heartbeat.total_seconds()
    wait = min(usual, _TRY_AGAIN)
    # A vendor's check may take minutes, and this thread has to keep sending heartbeats.
    answered: threading.Event | None = None
    while not ended.wait(wait):
        try:
            with slot.database.write() as session:
                now, hears = slot.database.now(session), _hears(slot)
                pulse = presence.beat(session, slot.id, worker=slot.worker, now=now, hears=hears)
                busy = presence.in_use(session, slot.id)
            if not busy and (pulse.deaf or _is_stuck(slot)):
                _restart(slot, ended)
                return
            if pulse.resume_requested and (answered is None or answered.is_set()):
                answered = beside(partial(_answer_resume, slot))
            if pulse.lacks_due:
                beside(partial(_look_for_what_lacks, slot))
            wait = min(usual, _TRY_AGAIN) if pulse.distrusted or pulse.deaf or not hears else usual
        except SlotTaken:
            # At once, without the delay of a graceful stop: the other worker may be about to start.
            STOPS.request_all(StopReason.LEASE_LOST)
            slot.abandon("another worker has announced it")
            return
        except Exception:
            log.warning("slot heartbeat failed; retrying", exc_info=True, extra={"slot": slot.id})
            wait = _TRY_AGAIN


def _look_for_what_lacks(slot: OwnedSlot) -> None:
    """Check again the lacks of the host whose pause is over; a lack ends if the thing is present again."""
    try:
        with slot.database.write() as session:
            due = lacks.take_due(session, slot.settings.host, slot.database.now(session))
        for name in due:
            if not still_lacks(name, slot.settings, slot.database, slot.shim):
                with slot.database.write() as session:
                    lacks.regain(session, slot.settings.host, name, now=slot.database.now(session))
    except Exception:
        # They are checked again after the next pause.
        log.warning("lacks not checked", exc_info=True, extra={"slot": slot.id})


def _hears(slot: OwnedSlot) -> bool:
    """Whether its loop has listened to its queue recently; a worker that does not must not look alive."""
    patience = max(2 * slot.settings.heartbeat.total_seconds(), 5 * TICK)
    return slot.hearing is None or slot.hearing.deaf_for < patience


def _is_stuck(slot: OwnedSlot) -> bool:
    """Whether its loop has neither listened nor tried to for the duration of a lease: it will not recover by itself."""
    return slot.hearing is not None and slot.hearing.stuck_for > slot.settings.lease.total_seconds()


def _restart(slot: OwnedSlot, ended: threading.Event) -> None:
    """End this process, which runs no job, so that its supervisor starts another one that receives doorbells."""
    slot.abandon("it does not receive its doorbells; it has to be restarted")
    # The signal is handled by the loop, which may be what is stuck.
    if not ended.wait(_STOPS_WITHIN):
        _leave(slot)
        os._exit(EXIT_GIVEN_UP)


def _leave(slot: OwnedSlot) -> None:
    try:
        with slot.database.write() as session:
            presence.leave(session, slot.id, worker=slot.worker, now=slot.database.now(session))
    except SQLAlchemyError as trouble:
        log.warning("slot not released", extra={"slot": slot.id, "why": str(trouble)})
