"""Facts a caller can act on; only `api/http/problems.py` knows which HTTP status each one is."""

from typing import Any, ClassVar


class OrchestratorError(Exception):
    """A request or an operation cannot be carried out because of a fact.

    `detail` is one sentence for a person, with the remedy in it; `field` names the input at fault
    (dotted path, as in `jobs.convert.spec.model`); `code` is a stable word for programs.
    """

    code: ClassVar[str] = "error"

    def __init__(self, detail: str, *, field: str | None = None, **facts: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
        self.facts = facts

    def within(self, prefix: str) -> "OrchestratorError":
        """The same fact with its field relative to an enclosing document, e.g. one job of a pipeline."""
        self.field = f"{prefix}.{self.field}" if self.field else prefix
        return self


class BadRequest(OrchestratorError):
    """The request can never be carried out as written."""

    code = "bad_request"


class BadSpec(BadRequest):
    """A spec names something that does not exist or does not fit."""

    code = "bad_spec"


class PathRefused(BadRequest):
    """A path leaves the allowed roots, or is not what the field needs."""

    code = "path_refused"


class NotFound(OrchestratorError):
    """No such thing by that name or number."""

    code = "not_found"


class AnsweredFromCache(NotFound):
    """The job never ran: what is asked for is that of the job whose result it took."""

    code = "answered_from_cache"


class IllegalTransition(OrchestratorError):
    """The present state of the thing does not allow the requested transition."""

    code = "illegal_transition"


class AlreadyExists(OrchestratorError):
    """Another thing with that name exists and differs."""

    code = "already_exists"


class AlreadyReserved(OrchestratorError):
    """The slot is already reserved for some of that time."""

    code = "already_reserved"


class EndpointClosed(OrchestratorError):
    """A server no longer answers, or not yet."""

    code = "endpoint_closed"


class IdempotencyMismatch(OrchestratorError):
    """This Idempotency-Key was used before with another body."""

    code = "idempotency_mismatch"


class Unauthenticated(OrchestratorError):
    """The bearer token is missing, unknown or revoked."""

    code = "unauthenticated"


class Forbidden(OrchestratorError):
    """The token is valid, but its scope is not sufficient."""

    code = "forbidden"


class OwnershipLost(OrchestratorError):
    """The attempt no longer belongs to this worker: kill the process tree and write nothing."""

    code = "ownership_lost"


class SlotTaken(OrchestratorError):
    """Another live worker owns this slot."""

    code = "slot_taken"
