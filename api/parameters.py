"""Kinds of query, path and header parameters that several routes take, with their bounds."""

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, Protocol, TypeVar

from fastapi import Depends, Header, Path, Query
from pydantic import AwareDatetime, BeforeValidator, StringConstraints

from api.documents.base import Page
from orchestrator.errors import BadRequest
from orchestrator.jobs.queries import GroupFilter, JobFilter
from orchestrator.model.failures import FailureKind
from orchestrator.model.specs import DIGEST_PATTERN, NAME_PATTERN, PRODUCES
from orchestrator.model.states import JobState
from orchestrator.model.wrong_fields import SUBMITTER_PATTERN
from orchestrator.strict_json import LARGEST_INTEGER

T = TypeVar("T")


class Numbered(Protocol):
    """Anything with a number."""

    @property
    def id(self) -> int:
        """The number."""
        ...


def _in_digits(value: object) -> object:
    """Pydantic alone would also read `1_0`, `1.0` and ` 1`."""
    if isinstance(value, str) and not re.fullmatch(r"-?[0-9]+", value):
        raise ValueError("must be an integer: write it in digits")
    return value


Integer = Annotated[int, BeforeValidator(_in_digits)]
Number = Annotated[Integer, Path(ge=1, le=LARGEST_INTEGER)]
NumberFilter = Annotated[Integer, Query(ge=1, le=LARGEST_INTEGER)]
IndexFilter = Annotated[Integer, Query(ge=0, le=2**31 - 1)]
Limit = Annotated[Integer, Query(ge=1, le=500)]
ThingName = Annotated[str, Path(pattern=NAME_PATTERN)]
NameFilter = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
KindFilter = Annotated[str, StringConstraints(pattern=f"^({'|'.join(PRODUCES)}|provision)$")]
DigestFilter = Annotated[str, StringConstraints(pattern=DIGEST_PATTERN)]
SubmitterFilter = Annotated[str, StringConstraints(pattern=SUBMITTER_PATTERN)]
FreeText = Annotated[str, StringConstraints(max_length=1000, pattern=r"^[^\x00]*$")]
Retired = Annotated[bool, Query(description="Those that are retired, instead of those in use.")]
Cursor = Annotated[str, Query(max_length=100, description="`next` of the previous page.")]
RangeHeader = Annotated[str | None, Header(alias="Range", description="One range of bytes.")]
ResumeAfter = Annotated[str | None, Header(alias="Last-Event-ID", description="The `id` of the last event received.")]


def _written_out(value: object) -> object:
    """Pydantic alone would also read seconds since 1970, such as `0.5`."""
    if isinstance(value, str) and re.fullmatch(r"[-+]?[0-9._]*", value):
        raise ValueError("must be a time: write it like 2026-03-01T14:00:00+08:00")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_written_out)]
"""A date and time with its zone."""


def _job_filter(
    state: Annotated[list[JobState], Query()] = [],  # noqa: B006  # FastAPI copies defaults
    kind: KindFilter | None = None,
    project: NameFilter | None = None,
    model: NameFilter | None = None,
    pipeline: NumberFilter | None = None,
    batch: NumberFilter | None = None,
    slot: NameFilter | None = None,
    name: NameFilter | None = None,
    submitted_by: SubmitterFilter | None = None,
    q: FreeText | None = None,
    failed_after: Moment | None = None,
) -> JobFilter:
    return JobFilter(
        states=state, kind=kind, project=project, model=model, pipeline=pipeline, batch=batch, slot=slot, name=name,
        submitted_by=submitted_by, text=q, failed_after=failed_after,
    )  # fmt: skip


def _listed_filter(
    chosen: Annotated[JobFilter, Depends(_job_filter)],
    release: NameFilter | None = None,
    since: Moment | None = None,
    until: Moment | None = None,
    failure: FailureKind | None = None,
) -> JobFilter:
    return replace(chosen, release=release, since=since, until=until, failure=failure)


ListedJobs = Annotated[JobFilter, Depends(_listed_filter)]
"""Filters of the list of jobs: also `since` and `until`, times of their submission, `release`, and `failure`, why they
failed."""

ChosenJobs = Annotated[JobFilter, Depends(_job_filter)]
"""Filters of jobs. `slot` is one on which an attempt of the job ran; `q` is a part of the name;
`failed_after`: those that failed, then or later."""


def _group_filter(
    project: NameFilter | None = None,
    name: NameFilter | None = None,
    submitted_by: SubmitterFilter | None = None,
    since: Moment | None = None,
) -> GroupFilter:
    return GroupFilter(project, name, submitted_by, since)


ChosenGroups = Annotated[GroupFilter, Depends(_group_filter)]
"""Filters of pipelines and batches."""


def page(views: Sequence[T], limit: int, key: Callable[[T], tuple[int, ...]]) -> Page[T]:
    """A page of at most `limit` views; it has a successor if there is one view more than that.

    `key` gives the key after which the next page starts: that of the last row shown."""
    shown = tuple(views[:limit])
    return Page(items=shown, next=cursor(*key(shown[-1])) if len(views) > limit else None)


def number_of(view: Numbered) -> tuple[int]:
    """The key of lists that are ordered by number."""
    return (view.id,)


def cursor(*position: int) -> str:
    """A keyset position as an opaque word; its form may change with any version."""
    return base64.urlsafe_b64encode(".".join(map(str, position)).encode()).decode().rstrip("=")


def position(cursor: str | None, length: int) -> tuple[int, ...] | None:
    """The position that a cursor names; BadRequest if no answer of ours can have given it."""
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        text = ""
    numbers = tuple(int(part) for part in text.split(".") if re.fullmatch(r"-?\d{1,18}", part))
    if len(numbers) != length or text != ".".join(map(str, numbers)):
        raise BadRequest("not a valid cursor: send `next` of the previous page unchanged", field="cursor")
    return numbers


def first_position(cursor: str | None) -> int | None:
    """The one number that most cursors hold."""
    found = position(cursor, 1)
    return None if found is None else found[0]
