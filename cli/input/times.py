"""Times as people write them at a shell: `14:00`, `2026-03-01 14:00`, `2h`. Pure, but for this machine's time zone."""

import re
from datetime import UTC, datetime, timedelta

from cli.pages.layout import local_time
from cli.session import Stop

_DURATION = re.compile(r"(?:(\d{1,4})d)?(?:(\d{1,4})h)?(?:(\d{1,5})m(?:in)?)?(?:(\d{1,7})s)?", re.ASCII)
_TIME_OF_DAY = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)", re.ASCII)


_MOMENT = "14:00, 2026-03-01, '2026-03-01 14:00' or 2026-03-01T14:00:00+08:00"
_SINCE = f"30m, 2h or 1d (ago), {_MOMENT}"


def duration(text: str, option: str) -> timedelta:
    """`90m`, `2h`, `1h30m`, `1d12h`; `Stop` names the option otherwise."""
    found = _DURATION.fullmatch(text)
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups()) if found else (0, 0, 0, 0)
    length = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    if not length:
        raise Stop(f"{option}: {text!r} is not a duration; write it like 90m, 2h, 1h30m or 1d")
    return length


def since(text: str, option: str, *, now: datetime) -> datetime:
    """The moment of `2h` (two hours ago), of a time of day (the latest one), or of a date and time.

    `Stop` names the option if it is none of them, or in the future."""
    if _DURATION.fullmatch(text):
        return now - duration(text, option)
    if _TIME_OF_DAY.fullmatch(text):
        return moment(text, option, after=now - timedelta(days=1))
    found = moment(text, option, after=now, examples=_SINCE)
    if found > now:
        raise Stop(f"{option}: {text!r} is in the future")
    return found


def moment(text: str, option: str, *, after: datetime, examples: str = _MOMENT) -> datetime:
    """A date and time, of this machine's zone unless the text names one; a time of day is the next one after `after`.

    `Stop` names the option if it is neither, or a local time that clocks skip or show twice.
    """
    try:
        if found := _TIME_OF_DAY.fullmatch(text):
            return _of_this_machine(_next(int(found[1]), int(found[2]), after), option)
        given = datetime.fromisoformat(text)
        return _of_this_machine(given, option) if given.tzinfo is None else given.astimezone()
    except (ValueError, OverflowError, OSError):
        raise Stop(f"{option}: {text!r} is not a time; write it like {examples}") from None


def _next(hour: int, minute: int, after: datetime) -> datetime:
    """By local clocks: a day on which they are set forward or back counts as one day."""
    wall = after.astimezone().replace(tzinfo=None, fold=0)
    today = wall.replace(hour=hour, minute=minute, second=0, microsecond=0)
    is_to_come = today > wall or any(_is_shown_at(moment, today) and moment > after for moment in _readings(today))
    return today if is_to_come else today + timedelta(days=1)


def _of_this_machine(wall: datetime, option: str) -> datetime:
    """The one moment at which local clocks show this; `Stop` if there is none, or another one."""
    first, second = _readings(wall)
    if first == second:
        return first.astimezone()
    twice = _is_shown_at(first, wall)
    what, way = ("exists twice", "back") if twice else ("does not exist", "forward")
    remedy = " or ".join(f"'{local_time(reading)}' ({reading:%Y-%m-%d %H:%M} UTC)" for reading in (first, second))
    raise Stop(
        f"{option}: {wall:%Y-%m-%d %H:%M} {what} in the time zone of this machine, where clocks are set {way} then; "
        f"write {remedy}"
    )


def _readings(wall: datetime) -> list[datetime]:
    """What a local time may mean, in UTC: by the offset before clocks were set, and by the one after."""
    return sorted(wall.replace(fold=fold).astimezone(UTC) for fold in (0, 1))


def _is_shown_at(moment: datetime, wall: datetime) -> bool:
    return moment.astimezone().replace(tzinfo=None) == wall
