"""Why no server gave an answer; each says whether asking again can help."""

from collections.abc import Sequence

from orchestrator import errors
from orchestrator.errors import NotFound, OrchestratorError


class NotServed(NotFound):
    """No server has this model, and none is on its way."""

    code = "model_not_found"


class NoServerReady(OrchestratorError):
    """Nobody can answer at the moment; `headers` say when to ask again."""

    code = "no_server_ready"

    def __init__(self, detail: str, *, retry_after: int) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after)})


class ServersFull(NoServerReady):
    """Every server of the model has as many requests waiting as it takes."""

    code = "servers_full"


class ServerFailed(OrchestratorError):
    """A server took the request and broke off."""

    code = "server_failed"


class ServerSilent(OrchestratorError):
    """A server took the request and has said nothing for too long."""

    code = "server_silent"


class MethodNotAllowed(OrchestratorError):
    """The path is known, but not with this method; `Allow` names those that it has."""

    code = "method_not_allowed"

    def __init__(self, detail: str, *, allowed: Sequence[str]) -> None:
        super().__init__(detail, headers={"Allow": ", ".join(allowed)})


class StaleVersion(errors.OrchestratorError):
    """The thing has changed since the caller saw it."""

    code = "stale_version"


class BodyTooLarge(errors.OrchestratorError):
    """The request body is larger than the server takes."""

    code = "body_too_large"


class RangeBeyondEnd(errors.OrchestratorError):
    """The requested bytes start after the end."""

    code = "range_beyond_end"
