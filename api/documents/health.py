"""The document of the readiness probe."""

from api.documents.base import View


class Readiness(View):
    """Whether the API can do its work. `dispatcher` is reported, not required: jobs can be submitted without one."""

    ready: bool
    database: bool
    dispatcher: bool
    bells_unheard: int = 0
    """Attempts whose workers live and were rung more than once without hearing it: the broker is away, or another's."""
    broker_trouble: str | None = None
    """What the dispatcher found wrong with the broker, or with who uses it; null if nothing, or if none leads."""
    detail: str | None = None
