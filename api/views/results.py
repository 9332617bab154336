"""Results as data: from rows to documents, and from documents to rows of a table."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from api.documents.results import GivenAnswerView, MeasuredRunView, NumberView
from orchestrator.comparisons.measurements import MeasuredRun
from orchestrator.comparisons.settings import FILES
from orchestrator.model.slots import cards_of
from orchestrator.storage.tables import Answer

_FACTS = [name for name in MeasuredRunView.model_fields if name != "metrics"]
NUMBER_COLUMNS = (*_FACTS, "metric", "value", "unit", "definition", "n", "counter")
ANSWER_COLUMNS = tuple(GivenAnswerView.model_fields)

_COLUMNS = frozenset({"kind", "model", *FILES})
"""Fields of a spec that have a column of their own."""

Row = dict[str, Any]


def measured_run_view(measured: MeasuredRun, names: Sequence[str]) -> MeasuredRunView:
    """A run with its numbers, or with those of these names."""
    chosen = [number for name, number in sorted(measured.run.metrics.items()) if not names or name in names]
    numbers = tuple(
        NumberView(
            name=each.name, value=each.value, unit=each.unit, definition=each.definition, n=each.count,
            counter=each.counter,
        )
        for each in chosen
    )  # fmt: skip
    return MeasuredRunView(**_facts(measured), metrics=numbers)


def given_answer_view(measured: MeasuredRun, answer: Answer) -> GivenAnswerView:
    """One answer with all that it depends on."""
    slots = measured.slot_ids
    return GivenAnswerView(
        **_facts(measured), repeat=answer.repeat, index=answer.index, batch=answer.batch,
        slot_id=slots[answer.batch] if answer.batch < len(slots) else None, question=answer.question, text=answer.text,
        prompt_tokens=answer.prompt_tokens, output_tokens=answer.output_tokens, seconds=answer.seconds,
        ttft_seconds=answer.ttft_seconds, finish_reason=answer.finish_reason, exact=answer.exact,
    )  # fmt: skip


def number_rows(runs: Iterable[MeasuredRunView]) -> Iterator[Row]:
    """One row a number: the facts of its run repeated."""
    for run in runs:
        facts = run.model_dump(mode="json")
        for number in facts.pop("metrics"):
            number["metric"] = number.pop("name")
            yield {**_flat(facts), **number}


def answer_rows(answers: Iterable[GivenAnswerView]) -> Iterator[Row]:
    """One row an answer."""
    for answer in answers:
        yield _flat(answer.model_dump(mode="json"))


def _flat(facts: Row) -> Row:
    """Lists and objects as text, so that every format has the same columns."""
    lists = {"slots": ",".join(facts["slots"]), "cards": ",".join(map(str, facts["cards"]))}
    return {**facts, **lists, "options": json.dumps(facts["options"], ensure_ascii=False, sort_keys=True)}


def _facts(measured: MeasuredRun) -> Row:
    run, job, setting = measured.run, measured.job, measured.run.setting
    return {
        "job_id": job.id, "attempt_id": run.attempt_id, "name": job.name, "project": job.project, "kind": job.kind,
        "state": job.state, "ended_at": job.ended_at, "host": setting.get("host"), "slots": tuple(measured.slot_ids),
        "cards": tuple(card for slot in measured.slot_ids for card in cards_of(slot)),
        "model": job.spec.get("model"), "model_digest": setting.get("model"), "kcore": setting.get("kcore"),
        "toolchain": setting.get("toolchain"), "release": job.release, "release_digest": setting.get("release"),
        "prompts": setting.get("prompts"), "golden": setting.get("golden"),
        "options": {name: value for name, value in job.spec.items() if name not in _COLUMNS and value is not None},
        "warm": job.kind == "client", "doubt": run.doubt,
    }  # fmt: skip
