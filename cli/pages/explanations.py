"""The page of one explanation: why a job waits, ran where it ran, was retried, was built again."""

from collections.abc import Iterable, Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from api.documents.explanations import CacheReviewView, ExplanationView
from api.documents.jobs import CacheOutcome
from cli.pages.jobs import failure_line
from cli.pages.layout import clean, row, table
from orchestrator.model.cache_keys import short
from orchestrator.model.states import JobState
from orchestrator.scheduling.placement.explain import WaitReason

_NEXT = {
    JobState.WAITING: "the dispatcher decides about it in its next turn",
    JobState.QUEUED: "the dispatcher places it in its next turn",
}


def page(found: ExplanationView) -> RenderableType:
    """The explanation of one job."""
    job = found.job
    parts: list[RenderableType] = [Text(f"job {job.id}  {clean(job.name)} ({job.kind})  {job.state}")]
    if found.reasons:
        waits = table("waits for", "because")
        for kind, detail in folded(found.reasons):
            row(waits, kind, detail)
        parts += [Text(""), waits]
    elif job.state in _NEXT:
        parts.append(Text(f"nothing: {_NEXT[job.state]}"))
    if found.earliest_start is not None:
        parts.append(Text(f"\nexpected start: {found.earliest_start:%Y-%m-%d %H:%M:%S} UTC"))
    if found.past:
        past = table("history", "on", "because")
        for told in found.past:
            row(past, told.about, told.slot_id, told.why)
        parts += [Text(""), past]
    return Group(*parts, *_tries(found), *_cache(found.cache))


def folded(reasons: Iterable[WaitReason]) -> Iterator[tuple[str, str]]:
    """Each reason once: if only the slot differs, the first is printed and names the others."""
    alike: dict[tuple[str, str], list[WaitReason]] = {}
    for reason in reasons:
        told = reason.detail.replace(reason.slot_id, "", 1) if reason.slot_id else reason.detail
        alike.setdefault((reason.kind, told), []).append(reason)
    for (kind, _), same in alike.items():
        first, *others = sorted(same, key=lambda reason: reason.slot_id or "")
        slots = ", ".join(other.slot_id for other in others if other.slot_id)
        yield kind, first.detail + (f"; also {slots}" if slots else "")


def _tries(found: ExplanationView) -> list[RenderableType]:
    if not found.tries:
        return []
    listing = table("attempt", "on", "state", "ended because", "retried because", right={"attempt"})
    for tried in found.tries:
        failure = failure_line(tried.failure) if tried.failure else ""
        row(listing, tried.number, tried.slot_id, tried.state, failure, tried.again_because)
    return [Text(""), listing]


def _cache(cache: CacheReviewView | None) -> list[RenderableType]:
    if cache is None or cache.outcome is CacheOutcome.NEVER:
        return []
    parts: list[RenderableType] = [Text(f"\ncache {cache.outcome}: {clean(cache.why)}")]
    if cache.changed:
        listing = table("part", f"in job {cache.nearest}", "now")
        for change in cache.changed:
            before, after = _value(change.before, change.before_from), _value(change.after, change.after_from)
            row(listing, change.part, before, after)
        parts += [Text(""), listing]
    return parts


def _value(value: object, made_by: int | None) -> str:
    return f"{short(value)} of job {made_by}" if made_by is not None else short(value)
