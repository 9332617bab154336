"""A seeded random walk through a simulated lab of two hosts and two dispatchers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from simulation.actors import Actor, Dispatching, People, Working
from simulation.invariants import Invariants
from simulation.planners import Planning
from simulation.world import CALM, World

from orchestrator.settings import url_of_sqlite

HOSTS = {"lab1": ("g0", "g1", "cpu0"), "lab2": ("g0", "cpu0")}
MOST_JOBS = 25
LAST_LINES = 60


class Walk:
    """One lab, one seed."""

    def __init__(self, seed: int, file: Path, folder: Path) -> None:
        self._seed = seed
        slots = [f"{host}.{slot}" for host, names in HOSTS.items() for slot in names]
        self._world = world = World(seed, url_of_sqlite(file), folder, slots)
        self._dice = world.dice
        self._invariants = Invariants(str(file))
        self._workers = {host: [Working(world, host, slot) for slot in slots] for host, slots in HOSTS.items()}
        self._dispatchers = [Dispatching(world, name) for name in ("one", "two")]
        self._people = People(world, slots, MOST_JOBS)
        self._planners = Planning(world)
        self._acting: Actor | None = None
        for actor in self._processes():
            actor.start()
        world.database.meanwhile = self._meanwhile

    def through_the_storm(self, steps: int) -> None:
        """Everything goes wrong, and after every step all that must hold holds."""
        for _ in range(steps):
            self._world.clock.advance(self._dice.choice([0.01, 0.1, 0.2, 0.5, 1, 2, 4]))
            if self._dice.random() < 0.08:
                self._trouble()
            else:
                self._step(self._one())
            self._invariants.check()

    def into_the_calm(self, within: float) -> None:
        """Nothing goes wrong any more: all that was begun ends within so many seconds."""
        world = self._world
        world.broker.weather = CALM
        end = world.clock.now.timestamp() + within
        while True:
            for actor in self._processes():
                actor.paused_until = None
                if not actor.alive:
                    actor.start()
            self._people.settle()
            self._planners.settle()
            for _ in range(20):
                world.clock.advance(4)
                for actor in self._processes() * 3:
                    if actor.acts:
                        self._step(actor)
                self._invariants.check()
            unfinished = self._invariants.unfinished()
            unjudged = self._invariants.unjudged()
            if not unfinished and not unjudged:
                return
            assert world.clock.now.timestamp() < end, f"jobs {unfinished} and suite runs {unjudged} do not end"

    @contextmanager
    def told_if_it_fails(self) -> Iterator[None]:
        """Show the seed and the end of the story with a failure."""
        try:
            yield
        except BaseException as trouble:
            story = "\n".join(self._world.story[-LAST_LINES:])
            trouble.add_note(f"SIMULATE={self._seed} walks this again; it ended so:\n{story}")
            raise
        finally:
            self._world.database.close()
            self._invariants.close()

    def _processes(self) -> list[Actor]:
        return [*self._dispatchers, *(worker for workers in self._workers.values() for worker in workers)]

    def _one(self) -> Actor | None:
        """Who acts next; None if all that could are dead or pause."""
        roll = self._dice.random()
        if roll < 0.1 and self._people is not self._acting:
            return self._people
        if roll > 0.97 and self._planners is not self._acting:
            return self._planners
        acting = [actor for actor in (*self._processes(), *self._dispatchers) if actor.acts]
        others = [actor for actor in acting if actor is not self._acting]
        return self._dice.choice(others) if others else None

    def _step(self, actor: Actor | None) -> None:
        if actor is None:
            return
        before, self._acting = self._acting, actor
        try:
            actor.step()
        finally:
            self._acting = before

    def _meanwhile(self) -> None:
        """Somebody else acts, and time passes, between two transactions of the one who acts; but not between his."""
        if self._acting is None or self._dice.random() >= self._world.broker.weather.meanwhile:
            return
        first, self._world.database.meanwhile = self._world.database.meanwhile, lambda: None
        try:
            self._world.clock.advance(self._dice.choice([0, 0.1, 5, 70]))
            self._step(self._one())
        finally:
            self._world.database.meanwhile = first

    def _trouble(self) -> None:
        worker = self._dice.choice([worker for workers in self._workers.values() for worker in workers])
        dispatcher = self._dice.choice(self._dispatchers)
        match self._dice.randrange(14):
            case 0:
                worker.kill()
            case 1:
                worker.pause(self._dice.choice([10, 40, 55, 100, 300]))
            case 2 if worker.acts:
                worker.stop()
            case 3:
                for one in self._dice.choice(list(self._workers.values())):
                    one.kill()
            case 4:
                dispatcher.kill()
            case 5:
                dispatcher.pause(self._dice.choice([5, 30, 100]))
            case 6 if worker.alive:
                worker.deafen()
            case 7:
                # Set back by somebody who corrects it: leases last longer, and due times come a second time.
                self._world.clock.advance(-self._dice.choice([1, 30, 90]))
                self._world.tell("the clock", "was set back")
            case _:
                for actor in self._processes():
                    if not actor.alive:
                        actor.start()
