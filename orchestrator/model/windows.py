"""Times in which a slot is reserved: by people, or for maintenance."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Window:
    """From `starts_at` until before `ends_at` a slot is for the jobs of `project` alone; for none if there is none."""

    reservation_id: int
    starts_at: datetime
    ends_at: datetime
    project: str | None
    by: str
    note: str | None

    def closed(self, project: str, now: datetime, ends_at: datetime) -> bool:
        """Whether a job of `project` that may run from `now` until `ends_at` must not start."""
        mine = self.project is not None and self.project == project
        return not mine and now < self.ends_at and ends_at > self.starts_at
