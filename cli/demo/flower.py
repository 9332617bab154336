"""What Flower shows of a run, asked as its own pages ask it."""

import http.client
import json
import time
from collections.abc import Iterable
from typing import Any

from api.documents.jobs import JobDetail

_WITHIN = 15.0
"""Seconds that events and worker replies may take to reach Flower."""


def troubles(port: int, jobs: Iterable[JobDetail], *, workers: int) -> list[str]:
    """What is missing in Flower: workers, or attempts of these jobs with their description; nothing if all is there."""
    attempts = [(f"{job.id}.{attempt.number}", f"job {job.id} ") for job in jobs for attempt in job.attempts]
    deadline = time.monotonic() + _WITHIN
    while (found := _missing(port, attempts, workers)) and time.monotonic() < deadline:
        time.sleep(0.5)
    return found


def _missing(port: int, attempts: Iterable[tuple[str, str]], workers: int) -> list[str]:
    try:
        present = len(_asked(port, "/api/workers?refresh=true"))
        tasks = _asked(port, "/api/tasks?limit=100000")
    except (OSError, http.client.HTTPException, ValueError) as error:
        return [f"Flower does not answer: {error}"]
    found = [] if present == workers else [f"Flower shows {present} of {workers} workers"]
    unseen = [task for task, told in attempts if told not in str(tasks.get(task, {}).get("args"))]
    return found + ([f"Flower does not describe {len(unseen)} tasks, e.g. {unseen[0]}"] if unseen else [])


def _asked(port: int, path: str) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise ValueError(f"{path} is answered with {answer.status}")
        found: dict[str, Any] = json.loads(body)
        return found
    finally:
        connection.close()
