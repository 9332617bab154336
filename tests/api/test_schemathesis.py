"""Every operation of the OpenAPI document, tried by schemathesis with a token of each scope.

Checked is: no 5xx; statuses, content types, headers and documents as declared; wrong data refused; undeclared methods
405 with `Allow`; no access without a token, or with one of less; an answer in time. The seed is fixed. `make test`
tries a few values, and boundary values, as admin (`test_scopes.py` has the other scopes); `make fuzz` tries many, with
each scope.
"""

import hashlib
import os
from collections.abc import Iterator
from itertools import chain

import pytest
import schemathesis
from anyio import CancelScope, current_time
from builders.rows import A_MOMENT, a_job_row, a_model, a_release, a_slot_row, an_artifact, an_attempt, an_event
from fastapi import FastAPI
from fuzzing import EXAMPLES
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.app import create_app
from orchestrator import tokens
from orchestrator.model import scopes
from orchestrator.model.states import AttemptState, JobState
from orchestrator.storage import live_logs
from orchestrator.storage.tables import Answer, Metric

pytestmark = [pytest.mark.xdist_group("schemathesis"), pytest.mark.slow]

IS_LONG = "FUZZ_EXAMPLES" in os.environ

SECONDS = 30
"""For one answer, on a busy machine."""

STREAM_SECONDS = 0.3
"""Streams of events go on; what has come until then is looked at."""

TRIED_ELSEWHERE = [
    *("/api/v1/batches", "/api/v1/pipelines", "/api/v1/jobs/bulk", "/api/v1/suites/{suite}"),
    *("/api/v1/results/metrics/export", "/api/v1/results/answers/export"),
]
"""Their documents hold those of jobs, or their parameters are those of a list: `make test` tries the boundary values of
these alone."""

WORDS = [
    *("/api/v1/artifacts/files", "/api/v1/artifacts/goldens", "/api/v1/artifacts/kcores"),
    *("/api/v1/jobs/actions", "/api/v1/jobs/bulk", "/api/v1/jobs/check", "/api/v1/pipelines/check"),
]
"""With GET, the last word is the number of a thing, and refused as such: 422 instead of 405."""


STORED = b"one\ntwo\n"
QUANTIZE = {"spec": {"kind": "quantize", "model": "qwen2-7b"}}

KNOWN = {
    **{f"path.{thing}": [1, 2, 3, 4] for thing in ("job", "pipeline", "batch", "reservation", "artifact", "run")},
    "path.suite": ["nightly"],
    "path.schedule": ["night"],
    "path.slot": ["lab1.g0", "lab1.g1", "lab1.cpu0"],
    "path.host": ["lab1"],
    "path.model": ["qwen2-7b"],
    "path.release": ["r1"],
    "path.project": ["default"],
    "path.name": ["other"],
    "path.digest": [f"sha256:{hashlib.sha256(STORED).hexdigest()}"],
    "header.Range": ["bytes=0-3", "bytes=-2", "bytes=99-"],
}
"""Values of parameters that name something."""


@pytest.fixture
def application(settings, database, store) -> FastAPI:
    """With something of everything, of which the examples in the document and `KNOWN` name most."""
    file, tree = store.put_bytes(STORED), settings.state_dir / "tree"
    tree.mkdir()
    (tree / "file").write_bytes(b"three\n")
    tokens.make(database, "other", ("admin",))
    with database.write() as session:
        a_release(session)
        a_model(session, name="qwen2-7b")
        for slot in ("lab1.g0", "lab1.g1", "lab1.g2", "lab1.g3", "lab1.cpu0"):
            a_slot_row(session, slot)
        for state in (JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED):
            is_over = state is JobState.SUCCEEDED
            job = a_job_row(session, state=state, ended_at=A_MOMENT if is_over else None)
            an_event(session, job)
            attempt = an_attempt(session, job, state=AttemptState.SUCCEEDED if is_over else AttemptState.RUNNING)
            live_logs.append(session, attempt.id, 0, "编译完成\n".encode())
            session.add(Answer(attempt_id=attempt.id, repeat=1, index=0, question="q", text="天津"))
            session.add(Metric(attempt_id=attempt.id, name="tps", value=9.5, unit="1/s", definition="d1", count=3))
            an_artifact(session, job_id=job.id, attempt_id=attempt.id, digest=file.digest, size=file.size)
        stored = store.put_tree(tree)
        an_artifact(session, digest=stored.digest, size=stored.size, tree=True, name="kcore", file_name="kcore")
        an_artifact(session, digest=file.digest, size=file.size, name="prompts")
    suite = {
        "name": "nightly",
        "matrix": {
            "models": ["qwen2-7b"],
            "backend_types": ["qwen2_7b_bf16"],
            "prompts": {"basic": {"prompts": {"digest": file.digest}}},
        },
    }
    app = create_app(settings, database, store)
    headers = {"Authorization": f"Bearer {tokens.make(database, 'setup', ('admin',))}"}
    with TestClient(app, base_url="http://testserver/api/v1", headers=headers) as http:
        made = [
            http.post("/pipelines", json={"name": "p", "jobs": {"quantize": QUANTIZE}}),
            http.post("/batches", json={"name": "b", "jobs": [QUANTIZE]}),
            http.post("/reservations", json={"slots": ["lab1.g0"], "seconds": 3600}),
            http.post("/uploads", json={"digest": file.digest, "size": file.size}),
        ]
        asked = [
            http.put("/suites/nightly", json=suite),
            http.put("/schedules/night", json={"suite": "nightly", "cron": "30 2 * * *"}),
        ]
        made.append(http.post("/suites/nightly/runs"))
    assert [answer.status_code for answer in made] == [201] * 5
    assert [answer.status_code for answer in asked] == [200] * 2
    return app


class BriefStreams:
    """The application, whose streams of events end soon."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with CancelScope() as streaming:

            async def send_on(message: Message) -> None:
                if (b"content-type", b"text/event-stream; charset=utf-8") in message.get("headers", ()):
                    streaming.deadline = current_time() + STREAM_SECONDS
                await send(message)

            await self._app(scope, receive, send_on)
        if streaming.cancelled_caught:
            await send({"type": "http.response.body", "body": b""})


def run(application: FastAPI, token: str, *, examples: int) -> Iterator[events.ScenarioFinished]:
    """Every operation; an operation that cannot be tried at all is an error."""
    config = SchemathesisConfig.from_dict(
        {
            "seed": 81,
            "workers": 1,
            "headers": {"Authorization": f"Bearer {token}"},
            "request-timeout": SECONDS,
            "continue-on-failure": True,
            "generation": {"deterministic": True, "max-examples": examples, "database": "none", "no-shrink": True},
            "dictionaries": {name: {"values": values} for name, values in KNOWN.items()},
            "parameters": {name: {"dictionary": name, "probability": 0.7} for name in KNOWN},
            "phases": {"stateful": {"enabled": IS_LONG}},
            # What fits the document may still name what is not there, or not be possible now.
            # What does not fit may also be too large to be read at all.
            "checks": {
                "positive_data_acceptance": {"expected-statuses": ["2xx", "4xx", "503", "507"]},
                "negative_data_rejection": {"expected-statuses": ["4xx"]},
            },
            "operations": [
                {
                    "include-path": WORDS,
                    "checks": {
                        "unsupported_method": {"enabled": False},
                        "allow_header_conformance": {"enabled": False},
                    },
                },
                *([] if IS_LONG else [{"include-path": TRIED_ELSEWHERE, "phases": {"coverage": {"enabled": False}}}]),
            ],
        }
    )
    schema = schemathesis.openapi.from_asgi("/openapi.json", BriefStreams(application), config=config)
    for event in from_schema(schema).execute():
        assert not isinstance(event, events.NonFatalError), (event.label, str(event.value))
        assert not isinstance(event, events.FatalError), str(event.exception)
        if isinstance(event, events.ScenarioFinished):
            yield event


def failures_of(event: events.ScenarioFinished) -> dict[tuple[str, str], str]:
    """The first of each check."""
    found: dict[tuple[str, str], str] = {}
    for check in chain.from_iterable(event.recorder.checks.values()):
        if check.failure_info is not None:
            told = f"{check.name}: {event.label}\n{check.failure_info.failure}\n{check.failure_info.code_sample}"
            found.setdefault((check.name, str(event.label)), told[:4000])
    return found


def statuses_of(event: events.ScenarioFinished) -> set[int]:
    """Of the requests that had the token and a declared method."""
    method = str(event.label).partition(" ")[0]
    return {
        int(each.response.status_code)
        for each in event.recorder.interactions.values()
        if each.response is not None and each.request.method == method
    }


@pytest.mark.timeout(0 if IS_LONG else 300)
@pytest.mark.parametrize("scope", list(scopes.Scope) if IS_LONG else [scopes.Scope.ADMIN])
def test_schemathesis_finds_every_operation_as_it_is_declared(application, database, scope):
    token = tokens.make(database, f"a-{scope}", (scope,))
    needed = {
        f"{method.upper()} {path}": scopes.Scope(operation["x-scope"])
        for path, methods in application.openapi()["paths"].items()
        for method, operation in methods.items()
        if "x-scope" in operation
    }
    failures: dict[tuple[str, str], str] = {}
    seen: dict[str, set[int]] = {}

    examples = EXAMPLES // 200 if IS_LONG else 1
    for event in run(application, token, examples=max(1, examples)):
        failures = failures_of(event) | failures
        seen.setdefault(str(event.label), set()).update(statuses_of(event))

    assert not failures, "\n\n".join(failures.values())
    for label, scope_needed in needed.items():
        is_allowed = scopes.allows((scope,), scope_needed)
        assert seen[label], label
        # 401: schemathesis leaves the token out, too.
        assert (403 not in seen[label]) if is_allowed else seen[label] <= {401, 403}, (label, seen[label])
