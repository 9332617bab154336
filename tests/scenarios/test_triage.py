"""A bad card and a bad build are told apart by real runs."""

from pathlib import Path

import pytest
from lab import Lab

from api.documents.triages import TriageView

pytestmark = [pytest.mark.xdist_group("wrong builds"), pytest.mark.timeout(300)]


def verdict(lab: Lab, job: int) -> TriageView:
    made = lab.client.triages.start(job)
    runs = [run.job_id for cell in made.cells for run in cell.runs]
    assert made.verdict is None
    lab.client.wait(runs, timeout=120)
    return lab.client.triages.show(made.id)


def infer(lab: Lab, kcore: int, slot: str) -> int:
    prompts = Path(lab.tree["home"]) / "five_prompts.txt"
    prompts.write_text("\n".join(Path(lab.tree["prompts"]).read_text().splitlines()[:5]) + "\n")
    return lab.ended(lab.infer(kcore, placement={"slot": slot}, spec={"prompts": {"path": str(prompts)}})).id


def test_a_bad_card_and_a_bad_build_are_told_apart(own_lab: Lab):
    lab = own_lab
    good = lab.run(lab.pipeline(use_cache=False))["compile"].id
    infer(lab, good, "g0")
    with lab.fault("convert", "corrupt"):
        wrong = lab.run(lab.pipeline(use_cache=False))["compile"].id

    build = verdict(lab, infer(lab, wrong, "g1"))
    with lab.fault("4", "corrupt"):
        card = verdict(lab, infer(lab, good, "g1"))

    assert (build.verdict, card.verdict) == ("toolchain", "card")
    assert {run.slot_id for run in build.cells[0].runs} == {"lab1.g0"}
    assert {run.slot_id for run in build.cells[1].runs} == {"lab1.g1"}
    assert [cell.outcome for cell in build.cells] == ["wrong", "right"]
    assert card.cells[0].outcome == "right"
    assert card.cells[1].absent is not None
