"""What Flower shows of a run, asked as its own pages ask it."""

import http.client
import json
import time
from base64 import b64encode
from collections.abc import Iterable
from typing import Any

from api.documents.jobs import JobDetail
from cli.stack.embedded import FLOWER_USER

_WITHIN = 15.0
"""Seconds that events and worker replies may take to reach Flower."""


def troubles(port: int, password: str, jobs: Iterable[JobDetail], *, workers: int) -> list[str]:
    """What is missing in Flower: workers, or attempts of these jobs with their description; nothing if all is there."""
    attempts = [(f"{job.id}.{attempt.number}", f"job {job.id} ") for job in jobs for attempt in job.attempts]
    deadline = time.monotonic() + _WITHIN
    while (found := _missing(port, password, attempts, workers)) and time.monotonic() < deadline:
        time.sleep(0.5)
    return found


def _missing(port: int, password: str, attempts: Iterable[tuple[str, str]], workers: int) -> list[str]:
    try:
        present = len(_asked(port, password, "/api/workers?refresh=true"))
        tasks = _asked(port, password, "/api/tasks?limit=100000")
    except (OSError, http.client.HTTPException, ValueError) as error:
        return [f"Flower does not answer: {error}"]
    found = [] if present == workers else [f"Flower shows {present} of {workers} workers"]
    unseen = [task for task, told in attempts if told not in str(tasks.get(task, {}).get("args"))]
    return found + ([f"Flower does not describe {len(unseen)} tasks, e.g. {unseen[0]}"] if unseen else [])


def _asked(port: int, password: str, path: str) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        credentials = b64encode(f"{FLOWER_USER}:{password}".encode()).decode()
        connection.request("GET", path, headers={"Authorization": f"Basic {credentials}"})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise ValueError(f"{path} is answered with {answer.status}")
        found: dict[str, Any] = json.loads(body)
        return found
    finally:
        connection.close()
