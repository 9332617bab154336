"""The worker process: own one slot, then run attempts on doorbell messages until a stop signal."""

import argparse
import logging
import signal
import sys
import warnings
from collections.abc import Sequence
from functools import partial

from celery import Celery, signals
from celery.exceptions import SecurityWarning

from orchestrator.broker import create_app
from orchestrator.errors import SlotTaken
from orchestrator.jobs import assignments
from orchestrator.model.slots import SlotName, node_name
from orchestrator.settings import settings_of_service
from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.storage.database import Database
from workers import journal, tasks
from workers.consumer import SlotConsumer
from workers.hearing import Hearing
from workers.host import locks
from workers.processes import confinement
from workers.slot import EXIT_GIVEN_UP, OwnedSlot, owned

EXIT_USAGE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the worker of one slot; 0 after a regular stop, 2 for a bad command line, 3 if the slot belongs to another
    worker or was given up."""
    parser = argparse.ArgumentParser(prog="python -m workers", description="Run the worker of one slot.")
    parser.add_argument(
        "--slot", required=True, metavar="NAME", help="g0 … g7 for a card group, cpu0, cpu1 … for a seat"
    )
    wanted = parser.parse_args(argv).slot
    try:
        name = SlotName.parse(wanted)
    except ValueError as trouble:
        return _refuse(str(trouble), EXIT_USAGE)
    settings = settings_of_service()
    try:
        if (user := confinement.tool_user(settings.tool_user)) is not None:
            confinement.require_way(settings.work, user)
    except confinement.CannotSeparate as trouble:
        return _refuse(f"settings: TX81_TOOL_USER: {trouble}", EXIT_USAGE)
    confinement.hide()
    journal.configure()
    database, hearing = Database(settings.database), Hearing()
    try:
        with owned(settings, database, name, hearing) as slot:
            _answer_bells(slot, hearing)
            return EXIT_GIVEN_UP if slot.lost.is_set() else 0
    except locks.Held as held:
        return _refuse(f"slot {name} of {settings.host} is in use: {held}", EXIT_GIVEN_UP)
    except SlotTaken as taken:
        return _refuse(taken.detail, EXIT_GIVEN_UP)
    except (PermissionError, FileNotFoundError, NotADirectoryError, FileExistsError) as trouble:
        places = "TX81_LOCK_DIR, TX81_WORK_DIR and TX81_STORE_DIR"
        return _refuse(f"{trouble.filename}: {trouble.strerror}; see {places}", EXIT_USAGE)
    finally:
        database.close()


def _answer_bells(slot: OwnedSlot, hearing: Hearing) -> None:
    app = create_app(slot.settings.broker_url)
    tasks.register(app, slot, ArtifactStore(slot.settings.store))
    # Opens the connection and compiles the statements now, so that the first job does not wait for them.
    assignments.claim(slot.database, 0, owner=slot.owner, lease=slot.settings.lease)
    logging.getLogger(__name__).info("worker starting", extra={"slot": slot.id, "worker": slot.worker})
    _celery_worker(app, slot, hearing)


def _celery_worker(app: Celery, slot: OwnedSlot, hearing: Hearing) -> None:
    """Returns when the worker got a stop signal and no process of its job is running."""
    # A receiver prevents Celery from setting up logging itself.
    signals.setup_logging.connect(_keep_our_logging)
    signals.worker_ready.connect(_hang_up_is_stop)
    # Celery warns root about pickled messages; ours are JSON.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    worker = app.Worker(
        hostname=node_name(slot.settings.host, str(slot.name)),
        queues=[slot.id],
        pool="threads",
        consumer_cls=partial(SlotConsumer, slot.id, hearing),
        concurrency=1,
        loglevel="INFO",
        quiet=True,
        task_events=True,
        without_gossip=True,
        without_mingle=True,
    )
    worker.start()


def _keep_our_logging(**_: object) -> None:
    return None


def _hang_up_is_stop(**_: object) -> None:
    """Celery would restart the program in this process, which then could not lock its own slot."""
    signal.signal(signal.SIGHUP, signal.getsignal(signal.SIGTERM))


def _refuse(sentence: str, code: int) -> int:
    print(f"workers: {sentence}", file=sys.stderr)
    return code
