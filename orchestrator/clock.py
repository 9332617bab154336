"""Time: the database's clock for leases, this process's monotonic clock for durations.

Two machines never agree on the time of day, so every instant that is compared across processes is read
from the database (`Database.now`). This module has the one function that all instants need.
"""

from datetime import UTC, datetime


def as_utc(moment: datetime) -> datetime:
    """`moment` as an aware UTC datetime; a naive one is taken to be UTC already (SQLite keeps no zone)."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
