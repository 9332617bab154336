"""Jobs that were answered from the cache have no log and no answers: those of the job that ran are shown."""

from api.client.client import ApiError, Client
from cli.session import hint

_CODE = "answered_from_cache"


def job_that_ran(client: Client, job: int, command: str, refused: ApiError) -> int:
    """The job whose result `job` took, said on standard error; what was `refused` is raised if it has another reason.

    `command` is the one that shows the same of the job that ran: logs, answers."""
    origin = client.job(job).cached_from if refused.code == _CODE else None
    if origin is None:
        raise refused
    hint(f"job {job} was answered from the cache; shown is job {origin}, which ran: tx81 {command} {origin}")
    return origin
