"""The document of the readiness probe."""

from api.documents.base import View


class Readiness(View):
    """Whether the API can do its work. `dispatcher` is reported, not required: jobs can be submitted without one."""

    ready: bool
    database: bool
    dispatcher: bool
    bells_unheard: int = 0
    """Attempts whose workers live and were rung more than once without hearing it: the broker is away, or another's."""
    detail: str | None = None
