"""Results compared: jobs, batches, pipelines and suite runs against the first of them."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import StringConstraints

from api.access import GuardedRoute
from api.context import Context, Given
from api.documents.comparisons import ComparisonReport, ShownPrompts
from api.parameters import Cursor, Limit, NameFilter, first_position
from api.parameters import cursor as cursor_at
from api.views.comparisons import prompt_view, side_view, subject_view
from orchestrator.catalog.lookups import folder_with
from orchestrator.catalog.tokenizers import first_differing_tokens
from orchestrator.comparisons.sides import series_of
from orchestrator.comparisons.subjects import MOST_SUBJECTS, resolve
from orchestrator.model.verdicts import AnswerRule
from orchestrator.results.reports import prompts, report, with_first_tokens
from orchestrator.results.series import SeriesSides
from orchestrator.results.sides import Rules
from orchestrator.results.texts import signatures

router = APIRouter(prefix="/comparisons", tags=["results"], route_class=GuardedRoute)

SubjectWord = Annotated[str, StringConstraints(pattern="^((job|batch|pipeline|run):)?[0-9]{1,19}$")]
Subjects = Annotated[
    list[SubjectWord],
    Query(
        min_length=2, max_length=MOST_SUBJECTS,
        description="`job:1` or `1`, `batch:3`, `pipeline:7`, `run:5`; the first is the baseline.",
    ),
]  # fmt: skip
Fields = Annotated[list[NameFilter], Query(max_length=50)]
Effect = Annotated[float, Query(gt=0, le=10, allow_inf_nan=False)]

NO_FIELDS: list[str] = []


@router.get("")
def compare_results(
    context: Given,
    subject: Subjects,
    across: Fields = NO_FIELDS,
    strict: Fields = NO_FIELDS,
    metric: Fields = NO_FIELDS,
    effect: Effect = Rules.effect,
    rule: AnswerRule = AnswerRule.UNCHANGED,
    answers: ShownPrompts = "changed",
    tokens: bool = False,
    limit: Limit = 100,
    cursor: Cursor | None = None,
) -> ComparisonReport:
    """Compare results with those of the first subject: settings, then answers, then metrics, and one verdict.

    `across` names fields of the setting that may differ (`toolchain`, `precision`, `model` …), `strict` places that may
    not (`slots`, `host`). `metric` names the metrics that are judged (default: all whose direction is known; `none`:
    none), `effect` the smallest relative difference that matters, `rule` what answers are held to. `answers` chooses
    the prompts that are listed, page by page; with `tokens` the first token that differs is looked for as well, by the
    tokenizer of the model, which takes about a second."""
    rules = Rules(
        across=frozenset(across), strict=frozenset(strict), only=frozenset(metric), effect=effect, answers=rule
    )
    after = first_position(cursor)
    with context.database.read() as session:
        subjects = resolve(session, subject)
        series = series_of(session, {each.label: each.job_ids for each in subjects}, rules)
    found = report(series, rules)
    listed, last = prompts(found, series, answers, limit=limit, after=after)
    if tokens and (model := _model(context, series)) is not None:
        listed = with_first_tokens(listed, partial(first_differing_tokens, model))
    pairs = [(each.sides[0], side) for each in series for side in each.sides[1:]]
    of_subjects = zip(subjects, zip(*(each.sides for each in series), strict=True), strict=True)
    return ComparisonReport(
        verdict=found.verdict, why=found.why, subjects=tuple(subject_view(*each) for each in of_subjects),
        comparisons=tuple(side_view(each, *pair) for each, pair in zip(found.comparisons, pairs, strict=True)),
        prompts=len(found.questions), changed_prompts=len(found.changed), signatures=signatures() if listed else {},
        items=tuple(prompt_view(each) for each in listed), next=None if last is None else cursor_at(last),
    )  # fmt: skip


def _model(context: Context, series: Sequence[SeriesSides]) -> Path | None:
    """The folder of the model that all sides ran; None if they ran several, or one that is registered no more."""
    digests = {setting.get("model") for each in series for side in each.sides for setting in side.settings}
    digest = digests.pop() if len(digests) == 1 else None
    if digest is None:
        return None
    with context.database.read() as session:
        return folder_with(session, digest)
