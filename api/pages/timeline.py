"""The timeline: a lane for each card group, with what ran, what is reserved, and what comes next."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Query, Request, Response

from api.context import Given
from api.documents.queue import QueueView
from api.documents.timeline import SpanView, TimelineView
from api.pages import languages
from api.pages.guard import pages
from api.pages.rendering import render_live
from api.pages.viewer import viewer_of
from api.parameters import Integer, Moment, NameFilter
from api.routes import hosts, queue
from api.routes import timeline as timelines
from orchestrator.errors import BadRequest
from orchestrator.model.timeline import SpanKind

router = pages()

HOURS = 6
ZOOMS = (1, 6, 24, 24 * 7)
AHEAD = 0.25
"""Of a window that ends with the present: the share after it, for what is reserved and forecast."""

LEFT, WIDTH, LANE, TOP = 96, 1400, 26, 24
"""Where lanes begin, how wide the picture is, how high a lane, and the room for the hours, in its own units."""

MOST_BARS = 700
LEAST_WIDTH = 2.0
_LABELLED = 46
_TICKS = (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10080)
"""Minutes between two marks of the hours."""


@dataclass(frozen=True)
class Bar:
    """One span as it is drawn."""

    span: SpanView
    x: float
    y: int
    width: float
    limit_width: float
    """From its end on to its run limit."""

    @property
    def labelled(self) -> bool:
        """Whether there is room for its number."""
        return self.width >= _LABELLED


@dataclass(frozen=True)
class Scale:
    """From times to places of the picture."""

    begin: datetime
    end: datetime

    def x(self, at: datetime) -> float:
        """The place of a time, kept within the picture."""
        share = (at - self.begin) / (self.end - self.begin)
        return round(LEFT + (WIDTH - LEFT) * min(max(share, 0.0), 1.0), 1)

    def ticks(self, zone: Any) -> list[tuple[float, datetime]]:
        """At most a dozen round times of the viewer's clock."""
        minutes = (self.end - self.begin).total_seconds() / 60
        step = timedelta(minutes=next((each for each in _TICKS if minutes / each <= 12), _TICKS[-1]))
        midnight = self.begin.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
        at = midnight + step * ((self.begin - midnight) // step + 1)
        found = []
        while at < self.end:
            found.append((self.x(at), at))
            at += step
        return found


@router.get("/timeline")
def show_timeline(
    context: Given,
    request: Request,
    begin: Annotated[Moment | None, Query(alias="from")] = None,
    end: Annotated[Moment | None, Query(alias="to")] = None,
    hours: Annotated[Integer, Query(ge=1, le=24 * 31)] = HOURS,
    host: NameFilter | None = None,
) -> Response:
    """With `from` and `to` that window, else the last `hours` and what comes next."""
    if (begin is None) is not (end is None):
        raise BadRequest("give both ends of the window: from and to", field="to" if end is None else "from")
    viewer, fixed = viewer_of(request), begin is not None
    if begin is None or end is None:
        now = datetime.now(UTC).replace(second=0, microsecond=0)
        begin = now - timedelta(hours=hours) * (1 - AHEAD)
        end = begin + timedelta(hours=hours)
    found = timelines.show_timeline(context, begin, end, host)
    scale = Scale(begin, end)
    bars = list(_bars(found, scale))
    waiting = queue.show_queue(context) if found.now < end else None
    values: dict[str, Any] = {
        "timeline": found,
        "bars": _kept(bars),
        "more_bars": len(bars) > MOST_BARS,
        "forecasts": {} if waiting is None else _forecasts(found, waiting, scale),
        "scale": scale,
        "tick": lambda at: languages.tick(at, viewer.language, viewer.zone),
        "ticks": scale.ticks(viewer.zone or UTC),
        "size": {"left": LEFT, "width": WIDTH, "lane": LANE, "top": TOP, "height": TOP + LANE * len(found.lanes)},
        "hosts": [each.name for each in hosts.list_hosts(context).items],
        "host": host,
        "hours": None if fixed else hours,
        "zooms": ZOOMS,
        "fixed": (begin, end) if fixed else None,
        **_around(begin, end, host),
    }
    return render_live(request, "timeline", **values)


def _bars(found: TimelineView, scale: Scale) -> Iterable[Bar]:
    for row, lane in enumerate(found.lanes):
        for span in lane.spans:
            x, over = scale.x(span.start), scale.x(span.end or found.now)
            limit = 0.0 if span.limit_at is None else max(0.0, scale.x(span.limit_at) - over)
            yield Bar(span, x, TOP + row * LANE, max(over - x, LEAST_WIDTH), round(limit, 1))


def _kept(bars: list[Bar]) -> list[Bar]:
    """What covers most comes first, and is drawn first: failures are never left out for it."""
    if len(bars) > MOST_BARS:
        said = {"failed": 1, "fault": 1}
        bars = sorted(bars, key=lambda bar: (-said.get(bar.span.state, 0), -bar.width))[:MOST_BARS]
    order = {SpanKind.OUT: 0, SpanKind.RESERVED: 1, SpanKind.RAN: 2}
    return sorted(bars, key=lambda bar: (bar.y, order[bar.span.kind], bar.x))


def _forecasts(found: TimelineView, waiting: QueueView, scale: Scale) -> Mapping[str, tuple[int, float, datetime]]:
    """By card group the job that comes next there, and from when on: when it is known, or when the slot is free."""
    known = {each.first.id: each.earliest_start for each in waiting.classes if each.earliest_start is not None}
    next_up: dict[str, tuple[int, float, datetime]] = {}
    for lane in found.lanes:
        job = waiting.next_jobs.get(lane.slot_id)
        if job is not None:
            limits = [span.limit_at for span in lane.spans if span.limit_at is not None]
            at = known.get(job) or max([found.now, *limits])
            if found.now <= at < scale.end:
                next_up[lane.slot_id] = job, scale.x(at), at
    return next_up


def _around(begin: datetime, end: datetime, host: str | None) -> dict[str, str]:
    """The windows beside this one, and those in it and around it."""
    span = end - begin
    inner, outer = span / 4, min(span / 2, (timelines.LONGEST - span) / 2)

    def address(start: datetime, stop: datetime) -> str:
        window = {"from": start.isoformat(timespec="seconds"), "to": stop.isoformat(timespec="seconds")}
        return f"/timeline?{urlencode({**window, **({'host': host} if host else {})})}"

    return {
        "before": address(begin - span / 2, end - span / 2),
        "after": address(begin + span / 2, end + span / 2),
        "closer": address(begin + inner, end - inner),
        "wider": address(begin - outer, end + outer),
    }
