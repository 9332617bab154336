"""Replays: the answer to a repeated `Idempotency-Key`, and how the OpenAPI document declares it."""

from typing import Any

from fastapi import Response

from orchestrator.submission.idempotency import Made


def replays(model: Any) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that creates a `model` and calls `note_replay`: 200 besides 201."""
    return {
        200: {
            "model": model,
            "description": "An earlier request with the same `Idempotency-Key` created it.",
            "headers": {"Idempotent-Replay": {"description": "`true`", "schema": {"type": "string"}}},
        }
    }


def note_replay(made: Made, response: Response) -> None:
    """Say that an earlier request with the same key made it."""
    if made.replayed:
        response.status_code = 200
        response.headers["Idempotent-Replay"] = "true"
