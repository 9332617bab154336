"""The queue as a document."""

from api.documents.jobs import JobReference
from api.documents.queue import QueueClassView, QueueView
from orchestrator.scheduling.explanation import Lineup, WaitingClass


def queue_view(lineup: Lineup) -> QueueView:
    """The queue as a whole."""
    classes = tuple(map(_class_view, lineup.classes))
    return QueueView(classes=classes, more=lineup.more, next_jobs=dict(lineup.next_jobs))


def _class_view(waiting: WaitingClass) -> QueueClassView:
    queued = waiting.queue_class
    return QueueClassView(
        demand=queued.demand,
        project=queued.project,
        priority=queued.priority,
        jobs=waiting.jobs,
        first=JobReference.model_validate(waiting.first),
        reasons=tuple(waiting.reasons),
        earliest_start=waiting.earliest_start,
    )
