"""What a host lacks for the time being: a release, room on its disk, a free port; when it is looked for again. Pure.

A lack is neither the job's fault nor the cards': the host is held out for work that needs it, and the job runs
elsewhere or waits.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

DISK = "!disk"
PORT = "!port"
"""Names of lacks that are no releases; no release can be called so."""

NAMED = {DISK: "room on its disk", PORT: "a free port"}
"""What people call them; every other name is that of a release."""

_FIRST_PROBE = timedelta(seconds=10)
_LONGEST_PAUSE = timedelta(minutes=5)


@dataclass(frozen=True)
class Lack:
    """Why a host is held out for what needs `name`, since when, and until when it is not looked for again.

    Without `until` nothing is looked for before a worker of the host is started again."""

    name: str
    why: str
    since: datetime
    until: datetime | None
    probes: int = 0

    @classmethod
    def of(cls, name: str, stored: dict[str, Any]) -> "Lack":
        """As `document` has written it."""
        since, until = datetime.fromisoformat(stored["since"]), stored["until"]
        return cls(name, stored["why"], since, until and datetime.fromisoformat(until), stored["probes"])

    def document(self) -> dict[str, Any]:
        """As it is stored."""
        until = None if self.until is None else self.until.isoformat()
        return {"why": self.why, "since": self.since.isoformat(), "until": until, "probes": self.probes}

    def is_due(self, now: datetime) -> bool:
        """Whether it is time to look again."""
        return self.until is not None and self.until <= now

    def put_off(self, now: datetime) -> "Lack":
        """The same lack, to be looked for again later; each time after twice the pause, five minutes at most."""
        pause = min(_FIRST_PROBE * 2 ** min(self.probes, 10), _LONGEST_PAUSE)
        return Lack(self.name, self.why, self.since, now + pause, self.probes + 1)


def new_lack(name: str, why: str, now: datetime, *, probed: bool) -> Lack:
    """A lack that is looked for again by itself if it is `probed`."""
    lack = Lack(name, why, since=now, until=None)
    return lack.put_off(now) if probed else lack
