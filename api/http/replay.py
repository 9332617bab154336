"""The header of an answer that was made by an earlier request with the same key."""

from fastapi import Response

from orchestrator.submission.idempotency import Made


def note_replay(made: Made, response: Response) -> None:
    """Say that an earlier request with the same key made it."""
    if made.replayed:
        response.status_code = 200
        response.headers["Idempotent-Replay"] = "true"
