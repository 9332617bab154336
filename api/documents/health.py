"""The document of the readiness probe."""

from api.documents.base import View


class Readiness(View):
    """Whether the API can do its work. `dispatcher` is reported, not required: jobs can be submitted without one."""

    ready: bool
    database: bool
    dispatcher: bool
    detail: str | None = None
