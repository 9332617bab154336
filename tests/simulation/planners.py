"""Who keeps a suite and its schedule in the simulated lab, and changes both whenever it is least convenient."""

from simulation.actors import Actor
from simulation.world import World

from orchestrator.errors import IllegalTransition, NotFound
from orchestrator.model.schedules import Missed, Overlap, ScheduleDocument
from orchestrator.model.suites import SuiteDocument
from orchestrator.suites import definitions, schedules
from orchestrator.suites.definitions import Definitions

SUITE, SCHEDULE = "sim", "often"


class Planning(Actor):
    """Applies, removes, sets, pauses and resumes."""

    def __init__(self, world: World) -> None:
        super().__init__(world, "planners")
        self.alive = True
        desk = world.desk
        matrix = {"models": ["qwen"], "prompts": {"basic": {"prompts": desk.file("suite.txt")}}}
        template = {"kcore": desk.stored("kcore", b"of the suite")}
        self._suite = SuiteDocument.model_validate(
            {"name": SUITE, "matrix": matrix, "template": template, "repeats": 1, "max_age_seconds": 120}
        )
        self._definitions = Definitions(desk.settings, world.database, world.store)

    def step(self) -> None:
        """One change of mind."""
        dice = self.world.dice
        doing = dice.choice([self._apply, self._set, self._set, self._set, self._pause, self._resume, self._remove])
        self.world.tell(self.name, doing.__name__.strip("_"))
        try:
            doing()
        except (IllegalTransition, NotFound) as refused:
            self.world.tell(self.name, f"refused: {refused.detail}")

    def settle(self) -> None:
        """Nothing is scheduled any more."""
        with self.world.database.read() as session:
            there = [facts.schedule.name for facts in schedules.schedules(session, self.world.clock.now)]
        for name in there:
            with self.world.database.write() as session:
                schedules.remove(session, name, by="alice", now=self.world.clock.now)

    def _apply(self) -> None:
        self._definitions.apply(self._suite, by="alice")

    def _set(self) -> None:
        self._apply()
        missed, overlap = self.world.dice.choice(list(Missed)), self.world.dice.choice(list(Overlap))
        overlap = Overlap.QUEUE if missed is Missed.RUN_ALL else overlap
        document = ScheduleDocument(suite=SUITE, cron="* * * * *", missed=missed, overlap=overlap)
        with self.world.database.write() as session:
            schedules.set_schedule(session, SCHEDULE, document, by="alice", now=self.world.database.now(session))

    def _pause(self) -> None:
        with self.world.database.write() as session:
            schedules.pause(session, SCHEDULE, by="alice", now=self.world.database.now(session))

    def _resume(self) -> None:
        with self.world.database.write() as session:
            schedules.resume(session, SCHEDULE, by="alice", now=self.world.database.now(session))

    def _remove(self) -> None:
        with self.world.database.write() as session:
            definitions.remove(session, SUITE, by="alice", now=self.world.database.now(session))
