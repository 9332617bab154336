"""Times as people write them at a shell: `14:00`, `2026-03-01 14:00`, `2h`. Pure, but for this machine's time zone."""

import re
from datetime import datetime, timedelta

from cli.session import Stop

_DURATION = re.compile(r"(?:(\d{1,4})d)?(?:(\d{1,4})h)?(?:(\d{1,5})m(?:in)?)?(?:(\d{1,7})s)?", re.ASCII)
_TIME_OF_DAY = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)", re.ASCII)


def duration(text: str, option: str) -> timedelta:
    """`90m`, `2h`, `1h30m`, `1d12h`; `Stop` names the option otherwise."""
    found = _DURATION.fullmatch(text)
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups()) if found else (0, 0, 0, 0)
    length = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    if not length:
        raise Stop(f"{option}: {text!r} is not a duration; write it like 90m, 2h, 1h30m or 1d")
    return length


def moment(text: str, option: str, *, after: datetime) -> datetime:
    """A date and time, of this machine's zone unless the text names one; a time of day is the next one after `after`.

    `Stop` names the option if it is neither.
    """
    try:
        if found := _TIME_OF_DAY.fullmatch(text):
            return _next(int(found[1]), int(found[2]), after)
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError, OSError):
        raise Stop(
            f"{option}: {text!r} is not a time; write it like 14:00, '2026-03-01 14:00' or 2026-03-01T14:00:00+08:00"
        ) from None


def shown(moment: datetime) -> str:
    """A moment in this machine's zone."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"


def _next(hour: int, minute: int, after: datetime) -> datetime:
    """On the clock of the wall: a day on which it is put forward or back counts as one day."""
    wall = after.astimezone().replace(tzinfo=None)
    today = wall.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return (today if today > wall else today + timedelta(days=1)).astimezone()
