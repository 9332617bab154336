"""The commands about servers: serve, stop, endpoints."""

import json
import shlex
import time
from collections.abc import Iterable
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Group
from rich.table import Table
from rich.text import Text

from api.client.client import Client
from api.documents.endpoints import EndpointView
from api.documents.jobs import JobDetail
from cli.commands.orders import Which, ordered
from cli.commands.unknown_names import hint_if_unknown
from cli.input.documents import artifact_named, validated
from cli.input.times import duration
from cli.pages.jobs import endpoint_line, reason
from cli.pages.layout import clean, local_time, row, table
from cli.session import HERE, Exit, Session, Stop, hint, once
from cli.waiting.jobs import exit_for, live_progress
from orchestrator.model.orders import Action
from orchestrator.model.specs import JobRequest
from orchestrator.model.states import FINAL

_ANY = Which()
_POLL = 0.5
Switch = Parameter(negative="")


def serve(
    model: str,
    /,
    *,
    kcore: str,
    gm: str | None = None,
    groups: int | None = None,
    cards: str | None = None,
    idle: str | None = None,
    life: str | None = None,
    ready: str | None = None,
    max_model_len: int | None = None,
    keep: Annotated[bool, Switch] = False,
    release: str | None = None,
    project: str = "default",
    name: str | None = None,
    key: str | None = None,
    session: Session = HERE,
) -> Exit:
    """Start a server and wait until it is ready; print its address and an example request.

    Parameters
    ----------
    model
        Name of a registered model; see: tx81 models
    kcore
        The kernel image: number of the job that made it, or its digest sha256:…
    gm
        The quantised weights an int8 kernel image was built from, in the same form.
    groups
        Number of card groups of one host; each answers one request at a time.
    cards
        The cards instead: 0..3, 4..7, … 28..31, several ranges (0..3,8..11), or 0..31.
    idle
        Stop it after this time without use (15m, 2h), or never.
    life
        Stop it this long after it was first ready: 8h.
    ready
        Maximum time until it is ready: 10m.
    max_model_len
        Maximum number of tokens of a prompt and its answer together.
    keep
        Restart policy: start it again whenever it dies.
    release
        Toolchain release. Default: the default release.
    project
        Project of the job.
    name
        Name of the job.
    key
        Idempotency key: repeating the command with the same key and options never starts a second server.
    """
    said: dict[str, Any] = {
        "model": model,
        "kcore": artifact_named("kcore", kcore),
        "gm": None if gm is None else artifact_named("gm", gm),
        "groups": groups,
        "cards": cards,
        "life_seconds": _seconds(life, "--life"),
        "ready_seconds": _seconds(ready, "--ready"),
        "max_model_len": max_model_len,
        "keep": keep or None,
    }
    spec = {"kind": "serve", **{field: value for field, value in said.items() if value is not None}}
    if idle is not None:
        spec["idle_seconds"] = None if idle == "never" else _seconds(idle, "--idle")
    request = validated(JobRequest, {"spec": spec, "name": name, "project": project, "release": release})
    with session.client() as client:
        with once(key) as sent:
            job = client.submit(request, key=sent).id
        detail = _until_ready(client, job)
        if detail.endpoint is None:
            raise Stop(f"job {job} is {detail.state}: {reason(detail) or 'it has ended'}", exit_for([detail]))
        session.emit(detail.endpoint, Group(endpoints_table([detail.endpoint]), Text(f"\n{_curl(detail.endpoint)}")))
        hint(f"it runs until it is stopped: tx81 stop {job}")
    return Exit.OK


def stop(*jobs: int, which: Which = _ANY, note: str | None = None, session: Session = HERE) -> Exit:
    """Stop servers gracefully; each has succeeded when its cards are free again.

    Parameters
    ----------
    note
        Reason; kept in the events.
    """
    return ordered(Action.STOP, jobs, which, note, session)


def endpoints(*, model: str | None = None, session: Session = HERE) -> Exit:
    """List servers that are ready.

    Parameters
    ----------
    model
        Only those of this model.
    """
    with session.client() as client:
        found = client.endpoints.all(model)
        session.emit(found, endpoints_table(found))
        hint_if_unknown(client, found, model=model)
    return Exit.OK


def endpoints_table(found: Iterable[EndpointView]) -> Table:
    """Endpoints, one a line."""
    listing = table(
        "job", "model", "url", "groups", "in flight", "ready since", "last used", "served as",
        right={"job", "groups", "in flight"},
    )  # fmt: skip
    for each in found:
        used = "not yet" if each.last_used_at is None else local_time(each.last_used_at)
        row(
            listing, each.job_id, each.model, endpoint_line(each), each.groups, each.in_flight,
            local_time(each.ready_at), used, each.served_id,
        )  # fmt: skip
    return listing


def _until_ready(client: Client, job: int) -> JobDetail:
    """The job once it serves, or has ended."""
    try:
        with live_progress(lines_when_piped=True) as progress:
            while True:
                detail = client.job(job)
                if progress is not None:
                    progress([detail])
                if detail.endpoint is not None or detail.state in FINAL:
                    return detail
                time.sleep(_POLL)
    except KeyboardInterrupt:
        raise Stop(f"detached; job {job} continues. See: tx81 show {job}", Exit.DETACHED) from None


def _curl(endpoint: EndpointView) -> str:
    """A shell command with an example request."""
    question = {"model": endpoint.served_id, "messages": [{"role": "user", "content": "你好"}]}
    body = shlex.quote(json.dumps(question, ensure_ascii=False))
    return clean(
        f"curl {shlex.quote(f'{endpoint.url}/v1/chat/completions')} -H 'Content-Type: application/json' -d {body}"
    )


def _seconds(text: str | None, option: str) -> int | None:
    return None if text is None else int(duration(text, option).total_seconds())
