"""Tables of results: what runs measured, and what they answered."""

from collections.abc import Iterable

from rich.table import Table

from api.documents.results import GivenAnswerView, MeasuredRunView, RunFacts
from cli.pages.layout import row, table
from orchestrator.model.slots import together


def metrics_table(runs: Iterable[MeasuredRunView]) -> Table:
    """One number a line; of the run, what usually tells runs apart."""
    shown = table("job", "name", "model", "slot", "metric", "value", "unit", "n", "doubt", right={"job", "value", "n"})
    for run in runs:
        for each in run.metrics:
            row(
                shown, run.job_id, run.name, run.model, _place(run), each.name, f"{each.value:.6g}", each.unit, each.n,
                run.doubt,
            )  # fmt: skip
    return shown


def answers_table(answers: Iterable[GivenAnswerView]) -> Table:
    """One answer a line."""
    shown = table("job", "slot", "repeat", "prompt", "question", "answer", "exact", right={"job", "repeat", "prompt"})
    for each in answers:
        exact = "" if each.exact is None else "yes" if each.exact else "no"
        row(
            shown, each.job_id, each.slot_id or _place(each), each.repeat, each.index, each.question, each.text, exact
        )  # fmt: skip
    return shown


def _place(run: RunFacts) -> str | None:
    return together(run.slots) if run.slots else None
