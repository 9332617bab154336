"""Filters of an empty list that name nothing: one line on standard error says which, and what lists them.

The server is asked only if the list is empty, so a list that shows something costs no further request.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from api.client.client import ApiError, Client
from cli.session import hint
from orchestrator.model.near_misses import did_you_mean


@dataclass(frozen=True)
class _Named:
    """Things that are filtered by name."""

    what: str
    command: str
    """What lists them."""
    known: Callable[[Client], Iterable[str]]
    used_by: str | None = None
    """The filter of jobs with which those are found that are in no list any more."""


@dataclass(frozen=True)
class _Numbered:
    """Things that are filtered by number."""

    what: str
    command: str
    show: Callable[[Client, int], object]


_BY_NAME = {
    "slot": _Named(
        "slot", "slots", lambda client: [name for slot in client.slots() for name in (slot.id, slot.name)], "slot"
    ),
    "model": _Named(
        "model",
        "models",
        lambda client: [model.name for old in (False, True) for model in client.models(retired=old)],
        "model",
    ),
    "release": _Named(
        "release",
        "releases",
        lambda client: [release.name for old in (False, True) for release in client.releases(retired=old)],
    ),
    "project": _Named("project", "projects", lambda client: [each.name for each in client.projects()], "project"),
    "suite": _Named("suite", "suites", lambda client: [suite.name for suite in client.suites.all()]),
}
_BY_NUMBER = {
    "batch": _Numbered("batch", "batches", lambda client, number: client.batches.progress(number)),
    "pipeline": _Numbered("pipeline", "pipelines", lambda client, number: client.pipeline(number)),
    "job": _Numbered("job", "jobs", lambda client, number: client.job(number)),
}
_SCHEDULE = "schedule "
"""What begins the name of a submitter that is a schedule."""


def hint_if_unknown(client: Client, shown: Collection[object], **filters: Any) -> None:
    """Say of an empty list which of its filters name nothing; nothing of a list that shows something."""
    if shown:
        return
    for name, value in filters.items():
        if value is None:
            continue
        if name in _BY_NAME:
            _hint_name(client, _BY_NAME[name], value)
        elif name in _BY_NUMBER:
            _hint_numbers(client, _BY_NUMBER[name], value if isinstance(value, Sequence) else [value])
        elif name == "submitted_by":
            _hint_user(client, value)


def _hint_name(client: Client, things: _Named, name: str) -> None:
    known = list(things.known(client))
    if name in known or (things.used_by is not None and client.jobs(limit=1, **{things.used_by: name}).items):
        return
    near = did_you_mean(name, known)
    hint(f"no {things.what} is called {name}{near or ';'} tx81 {things.command} lists them")


def _hint_numbers(client: Client, things: _Numbered, numbers: Iterable[int]) -> None:
    for number in numbers:
        try:
            things.show(client, number)
        except ApiError as refused:
            if refused.status != HTTPStatus.NOT_FOUND:
                raise
            hint(f"there is no {things.what} {number}; tx81 {things.command} lists them")


def _hint_user(client: Client, name: str) -> None:
    """Names of tokens are shown to administrators alone; others learn nothing here."""
    if client.jobs(limit=1, submitted_by=name).items:
        return
    if name.startswith(_SCHEDULE):
        known, command = [f"{_SCHEDULE}{schedule.name}" for schedule in client.schedules.all()], "schedules"
    else:
        try:
            known, command = [token.name for token in client.tokens()], "tokens"
        except ApiError as refused:
            if refused.status != HTTPStatus.FORBIDDEN:
                raise
            return
    if name not in known:
        near = did_you_mean(name, known)
        hint(f"no user is called {name}{near or ';'} tx81 {command} lists them")
