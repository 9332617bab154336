"""A suite on a running lab: applied, run without a baseline, accepted, run again; a schedule that starts it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from eventually import eventually
from lab import MODEL, Lab

from cli.session import Exit
from cli.waiting.suites import exit_of_run, judged
from orchestrator.comparisons.sides import side_of
from orchestrator.model.schedules import ScheduleDocument
from orchestrator.model.states import ServiceState
from orchestrator.model.suites import CellOutcome, SuiteDocument
from orchestrator.model.verdicts import Verdict
from orchestrator.settings import url_of_sqlite
from orchestrator.storage.database import Database
from orchestrator.strict_yaml import load
from orchestrator.suites import baselines, schedules

PAGE = Path(__file__).parents[2] / "docs" / "suites.md"

pytestmark = pytest.mark.timeout(300)


def _suite(lab: Lab) -> SuiteDocument:
    """The one that `docs/suites.md` shows, with the files of this lab."""
    (text,) = re.findall(r"```yaml\n(name: .*?)```", PAGE.read_text("utf-8"), flags=re.DOTALL)
    values = load(text).values
    values["matrix"]["prompts"]["basic"] = {name: {"path": lab.tree[name]} for name in ("prompts", "golden")}
    assert values["matrix"]["models"] == [MODEL]
    return SuiteDocument.model_validate(values)


@contextmanager
def _database(lab: Lab) -> Iterator[Database]:
    folder = next(parent for parent in Path(lab.tree["home"]).parents if (parent / "tx81.db").is_file())
    database = Database(url_of_sqlite(folder / "tx81.db"))
    yield database
    database.close()


def _accept(lab: Lab, run: int) -> None:
    """Make what the run has measured the baselines of its cells."""
    with _database(lab) as database, database.write() as session:
        told = {"by": "alice", "reason": "first measurement", "now": database.now(session)}
        for cell in lab.client.suites.run(run).cell_reports:
            numbers = cell.jobs["measure"]
            side = side_of(session, cell.cell, numbers)
            baselines.set_baseline(session, "emulated", cell.cell, side, numbers, **told)


def _a_new_build(lab: Lab) -> None:
    """The converter of another day, registered as the default release."""
    (converter,) = Path(lab.tree["home"]).glob("txnn_convert_*/convert_weight/convert_weight.py")
    converter.write_text(converter.read_text("utf-8") + "# build0308\n", "utf-8")
    lab.client.register_release("build0308", "txnn_1.2.1_build0307", lab.tree["home"], default=True)


def _set_earlier(lab: Lab, name: str, document: ScheduleDocument) -> None:
    """A schedule that was set five minutes ago, so that it is due at once."""
    with _database(lab) as database, database.write() as session:
        earlier = database.now(session) - timedelta(minutes=5)
        schedules.set_schedule(session, name, document, by="alice", now=earlier)


@pytest.mark.xdist_group("lab")
def test_a_suite_passes_against_its_own_baseline_and_a_schedule_starts_it(lab: Lab):
    lab.client.suites.apply(_suite(lab))

    first = judged(lab.client, lab.client.suites.start("emulated").id, timeout=120)
    _accept(lab, first.id)
    second = judged(lab.client, lab.client.suites.start("emulated").id, timeout=120)
    _set_earlier(lab, "often", ScheduleDocument(suite="emulated", cron="* * * * *"))
    fired = eventually(lambda: lab.client.schedules.show("often").last)
    lab.client.schedules.remove("often")
    third = judged(lab.client, fired.run_id, timeout=120)
    lab.client.suites.remove("emulated")

    (cell,) = second.cell_reports
    assert (first.verdict, exit_of_run(first)) == (Verdict.MISSING, Exit.USAGE)
    assert (second.verdict, exit_of_run(second)) == (Verdict.SAME, Exit.OK)
    assert cell.comparison["answers"]["pairs"]["changed"] == 0
    assert cell.comparison["answers"]["pairs"]["pairs"] == 2 * 85
    assert fired.given_up >= 4
    assert (third.verdict, third.started_by) == (Verdict.SAME, "schedule often")


@pytest.mark.xdist_group("wrong builds")
def test_a_bad_card_and_a_worse_build_are_told_apart_and_are_two_cases(own_lab: Lab):
    lab = own_lab
    few = Path(lab.tree["home"]) / "few_prompts.txt"
    few.write_text("".join(Path(lab.tree["prompts"]).read_text("utf-8").splitlines(keepends=True)[:5]), "utf-8")
    suite = _suite(lab).model_dump(mode="json")
    suite["matrix"]["slots"], suite["matrix"]["prompts"]["basic"]["prompts"] = ["g1"], {"path": str(few)}
    lab.client.suites.apply(SuiteDocument.model_validate(suite))
    _accept(lab, judged(lab.client, lab.client.suites.start("emulated").id, timeout=120).id)

    with lab.fault("4", "corrupt"):
        card = judged(lab.client, lab.client.suites.start("emulated").id, timeout=120)
    suspected = lab.slot("g1")
    lab.client.resume("lab1.g1")
    eventually(lambda: lab.slot("g1").service_state is ServiceState.IN_SERVICE)
    _a_new_build(lab)
    with lab.fault("convert", "corrupt"):
        build = judged(lab.client, lab.client.suites.start("emulated").id, timeout=120)

    (of_card,), (of_build,) = card.cell_reports, build.cell_reports
    assert (card.verdict, of_card.outcome, of_card.slots) == (Verdict.INFRASTRUCTURE, CellOutcome.CARD, ("lab1.g1",))
    assert suspected.service_state is ServiceState.QUARANTINED
    assert (build.verdict, of_build.outcome) == (Verdict.WORSE, CellOutcome.MODEL_OR_TOOLCHAIN)
    assert {case.outcome for case in lab.client.cases.page().items} == {of_card.outcome, of_build.outcome}
