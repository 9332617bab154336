"""A lab in one thread: the real dispatchers, arrows and tables under a clock, a broker and people that we steer.

What is real: the dispatcher with its turns, sweeps and lead; every arrow of `orchestrator.jobs.lifecycle`, `ownership`
and `steering`; submission, admission and the cache; what a worker asks of SQL (announce, claim, renew, report). What is
played: time, the broker, the vendor's processes, and who dies, pauses or restarts when. Between any two transactions of
one process another may take a step, as it may in life.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from builders.desk import Desk, a_desk
from sqlalchemy.orm import Session

from orchestrator.broker import Bell
from orchestrator.settings import Settings
from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.storage.database import Database

START = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


class Clock:
    """The time of day of the whole lab."""

    def __init__(self) -> None:
        self.now = START

    def seconds(self) -> float:
        """Since the beginning."""
        return (self.now - START).total_seconds()

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)


class SteeredDatabase(Database):
    """A database whose time of day is the clock's, and that lets others act before a transaction begins."""

    def __init__(self, url: str, clock: Clock) -> None:
        super().__init__(url)
        self.clock = clock
        self.meanwhile: Callable[[], None] = lambda: None

    def now(self, session: Session) -> datetime:
        """The one source of time of everything that is simulated."""
        return self.clock.now

    @contextmanager
    def write(self) -> Iterator[Session]:
        """As ever; but what was read before may be out of date by now."""
        self.meanwhile()
        with super().write() as session:
            yield session


@dataclass(frozen=True)
class Weather:
    """How bad things are."""

    lost: float = 0.0
    """Share of bells that nobody ever hears."""
    doubled: float = 0.0
    misrouted: float = 0.0
    """Share of bells that ring at another slot, also besides their own."""
    delay: float = 0.0
    """Seconds until a bell is heard, at most; so they also come out of order."""
    meanwhile: float = 0.0
    """How often somebody else takes a step between two transactions of one process."""


CALM = Weather()
STORM = Weather(lost=0.15, doubled=0.15, misrouted=0.1, delay=20.0, meanwhile=0.15)


class Broker:
    """Carries bells to queues, as badly as the weather wants."""

    def __init__(self, clock: Clock, dice: random.Random, queues: Sequence[str]) -> None:
        self._queues = queues
        self._clock = clock
        self._dice = dice
        self._bells: list[tuple[datetime, str, int]] = []
        self.weather = STORM

    def ring(self, bell: Bell) -> None:
        """Take a bell; it is heard later, twice, never, or at a wrong door."""
        copies = 0 if self._dice.random() < self.weather.lost else 1 + (self._dice.random() < self.weather.doubled)
        for _ in range(copies):
            due = self._clock.now + timedelta(seconds=self._dice.uniform(0, self.weather.delay))
            wrong = self._dice.random() < self.weather.misrouted
            self._bells.append((due, self._dice.choice(self._queues) if wrong else bell.queue, bell.attempt_id))

    def next(self, queue: str) -> int | None:
        """The next bell of a queue; None while nothing rings."""
        for heard in sorted(self._bells):
            if heard[0] <= self._clock.now and heard[1] == queue:
                self._bells.remove(heard)
                return heard[2]
        return None


class World:
    """Everything that is there before anybody acts."""

    def __init__(self, seed: int, url: str, folder: Path, slots: Sequence[str]) -> None:
        self.dice = random.Random(seed)
        self.clock = Clock()
        self.database = SteeredDatabase(url, self.clock)
        self.store = ArtifactStore(folder / "store")
        self.folder = folder
        self.broker = Broker(self.clock, self.dice, slots)
        self.desk: Desk = a_desk(self.database, self.store, folder)
        self.trees: dict[str, int] = {}
        """Slot → attempt whose vendor process runs there: what a person would find on the cards."""
        self.story: list[str] = []
        """What every actor did, to find out why something went wrong."""

    def settings(self, host: str) -> Settings:
        """Of the processes on one host; with the defaults of everything that has to do with time."""
        return Settings(
            state_dir=self.folder / host,
            store_dir=self.folder / "store",
            host=host,
            devices_dir=self.folder / host / "dev",
        )

    def tell(self, who: str, what: str) -> None:
        """Add a line to the story."""
        self.story.append(f"{self.clock.seconds():8.1f} {who}: {what}")
