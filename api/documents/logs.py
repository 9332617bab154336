"""The documents about logs."""

from datetime import datetime

from api.documents.base import View


class LogTimeView(View):
    """From byte `offset` on a log was written at about this moment."""

    offset: int
    at: datetime


class LogTimes(View):
    """When which part of the log of an attempt was written, in its order."""

    attempt: int
    items: tuple[LogTimeView, ...]
