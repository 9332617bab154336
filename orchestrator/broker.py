"""The Celery application. Its messages ("doorbells") only wake workers; all state is in SQL.

A message carries one attempt id. SQL decides what it means, so lost, late and duplicated messages are harmless. Every
setting that differs from Celery's default has a comment with the reason.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from celery import Celery

from orchestrator.settings import load_settings

RUN_ATTEMPT = "tx81.run_attempt"
"""Name of the one task; its implementation is in `workers.tasks`, its only argument an attempt id."""

TRANSPORT: dict[str, Any] = {
    # The window between receive and ack is milliseconds; a message lost in it should be delivered again soon.
    "visibility_timeout": 600,
    "unacked_restore_interval": 10,
    "unacked_restore_throttle": 5,
    # A frozen broker must not hang a caller for ever.
    "socket_timeout": 5,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 10,
}


class _OneBroker(Celery):  # type: ignore[misc]  # Celery has no types
    """Celery reads CELERY_BROKER_URL from the environment first, which may be the broker of another project."""

    def __init__(self, broker_url: str) -> None:
        super().__init__("tx81", broker=broker_url, loader="app", include=[], set_as_current=False)
        self._broker_url = broker_url

    def connection(self, hostname: str | None = None, **options: Any) -> Any:
        return super().connection(hostname or self._broker_url, **options)

    def connection_for_read(self, url: str | None = None, **options: Any) -> Any:
        return super().connection_for_read(url or self._broker_url, **options)

    def connection_for_write(self, url: str | None = None, **options: Any) -> Any:
        return super().connection_for_write(url or self._broker_url, **options)


def create_app(broker_url: str) -> Celery:
    """A Celery application for `broker_url` whatever the environment says; opens no connection by itself."""
    app = _OneBroker(broker_url)
    options = dict(TRANSPORT)
    if broker_url.startswith("redis+socket"):
        del options["socket_keepalive"]  # A unix socket has no such option.
    app.conf.update(
        broker_transport_options=options,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_pool_acquire_timeout=30,
        # Early ack: with late ack a dropped connection starts a second copy of a job that still runs.
        task_acks_late=False,
        task_reject_on_worker_lost=False,
        # A message must not wait behind an hour-long job while another worker is free.
        worker_disable_prefetch=True,
        worker_prefetch_multiplier=1,
        worker_concurrency=1,
        worker_pool="threads",
        # A short outage of the broker must not kill a conversion.
        worker_cancel_long_running_tasks_on_connection_loss=False,
        # After SIGTERM a job may still end by itself within this time; then its tree is killed and it is queued again.
        worker_soft_shutdown_timeout=5.0,
        # SQL holds results, schedules and limits.
        task_ignore_result=True,
        result_backend=None,
        # A message without a slot's queue name is an error that should be seen, not run.
        task_default_queue="unrouted",
        accept_content=["json"],
        task_serializer="json",
        worker_send_task_events=True,
        task_send_sent_event=True,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
    )
    return app


@dataclass(frozen=True)
class Bell:
    """A worker to wake: for which attempt, on which queue, and what Flower shows in place of the arguments."""

    attempt_id: int
    task_id: str
    queue: str
    description: str


def ring(app: Celery, bells: Sequence[Bell]) -> None:
    """Send doorbells to workers, all in one round trip to the broker.

    Raises `kombu.exceptions.KombuError` within seconds if the broker does not answer; it is then unknown which
    doorbells were received.
    """
    with app.producer_or_acquire() as producer, producer.batch():
        for bell in bells:
            app.send_task(
                RUN_ATTEMPT,
                args=(bell.attempt_id,),
                task_id=bell.task_id,
                queue=bell.queue,
                argsrepr=bell.description,
                kwargsrepr="",
                retry=False,
                producer=producer,
            )


def answering(app: Celery, *, seconds: float) -> Counter[str]:
    """How many workers of each node name answer through the broker within `seconds`, which it always takes.

    Raises `kombu.exceptions.KombuError` or OSError if the broker does not answer.
    """
    with app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=1, interval_start=0)
        answers = app.control.ping(timeout=seconds, connection=connection) or []
    return Counter(name for answer in answers for name in answer)


def __getattr__(name: str) -> Celery:
    """`orchestrator.broker:app`, created from the environment when Celery's or Flower's command line imports it."""
    if name == "app":
        return create_app(load_settings().broker_url)
    raise AttributeError(name)
