"""Submitting: a form for each kind of job beside its YAML, checked by the API while a person writes."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from api.access import Actor, Once
from api.context import Context, Given
from api.documents.jobs import CheckedJob, JobDetail
from api.http.problems import answer_to
from api.pages import forms
from api.pages.guard import pages, validated
from api.pages.labels import LABELS
from api.pages.rendering import render
from api.parameters import NameFilter, NumberFilter
from api.routes import artifacts, jobs, models, pipelines, projects, releases, slots
from orchestrator.errors import BadRequest, NotFound
from orchestrator.model.specs import JobRequest, PipelineRequest, Strict
from orchestrator.strict_json import BadDocument, Place
from orchestrator.strict_yaml import load

router = pages()

LONGEST = 1 << 20
"""Characters of a document that is written here; a longer one is for the command line."""

USUAL_KIND = "infer"
SUGGESTED = 200
"""The latest stored artifacts, among which a field finds what it suggests."""

_INPUTS = ("kcore", "gm", "c_source", "golden", "prompts")
_SUBMITTER = {"x-scope": "submitter"}


class WrittenSubmission(Strict):
    """What a person wrote: the fields of a form of some kind, or a document."""

    kind: str | None = None
    fields: dict[str, Annotated[str, Field(max_length=LONGEST)]] = Field(default={})
    text: str = Field(default="", max_length=LONGEST)


@dataclass(frozen=True)
class Read:
    """A document, and the line of each of its entries."""

    values: dict[str, Any]
    lines: Mapping[Place, int]


@router.get("/submit", openapi_extra=_SUBMITTER)
def show_submit(
    context: Given,
    request: Request,
    kind: str = USUAL_KIND,
    from_: Annotated[NumberFilter | None, Query(alias="from")] = None,
    model: NameFilter | None = None,
) -> Response:
    """The form of a kind of job; `from` fills it with the request of a job."""
    document: dict[str, Any] = {"spec": {"kind": kind, **({"model": model} if model else {})}}
    if from_ is not None:
        document = _cloned(context, from_)
    form, values = _filled(document)
    written = forms.as_yaml(document if from_ is not None else forms.document_of(form, values))
    return render(
        request, "submit.html", form=form, values=values, text=written, kinds=forms.KINDS, cloned=from_,
        labels=LABELS, suggested=_suggested(context, form),
    )  # fmt: skip


@router.post("/submit/form", openapi_extra=_SUBMITTER)
def show_form(body: WrittenSubmission, context: Given, request: Request) -> Response:
    """The form that says what a document says, for the page to put in place."""
    form, values = _filled(_read(body.text).values)
    return render(
        request, "submit_form.html", form=form, values=values, labels=LABELS, suggested=_suggested(context, form)
    )


@router.post("/submit/check", openapi_extra=_SUBMITTER)
def check(body: WrittenSubmission, context: Given, request: Request) -> Response:
    """What the API says about what was written; of a form, its YAML too."""
    text = body.text
    try:
        if body.kind is not None:
            text = forms.as_yaml(forms.document_of(_form(body.kind), body.fields))
        read = _read(text)
    except BadRequest as refused:
        return _answered(request, text, problems=[{"field": refused.field or "", "detail": refused.detail}])
    try:
        asked = _request(read)
        found = _checked(context, asked)
    except Exception as error:  # every error of the check is shown beside its field
        return _answered(request, text, problems=_problems(error, read))
    return _answered(request, text, found=found, document=read.values)


@router.post("/submit", openapi_extra=_SUBMITTER)
def submit(body: WrittenSubmission, context: Given, request: Request, actor: Actor, once: Once) -> Response:
    """Submit the document; the answer names the page of what was made."""
    read = _read(body.text)
    try:
        asked = _request(read)
        if isinstance(asked, PipelineRequest):
            to = f"/pipelines/{pipelines.submit_pipeline(asked, context, request, Response(), actor, once).id}"
        else:
            to = f"/jobs/{jobs.submit(asked, context, request, Response(), actor, once).id}"
    except Exception as error:  # as in `check`
        return _answered(request, body.text, problems=_problems(error, read), status=422)
    return JSONResponse({"to": to})


def _cloned(context: Context, job: int) -> dict[str, Any]:
    detail = jobs.show(job, context, Response())
    assert isinstance(detail, JobDetail)  # without If-None-Match it is never 304
    if detail.kind not in forms.KINDS:
        raise BadRequest(f"job {job} set up a host; to do it again, use the page of the host", field="from")
    return forms.shortest(detail.request)


def _form(kind: object) -> forms.Form:
    if kind not in forms.KINDS:
        raise NotFound(f"there is no kind {str(kind)[:100]!r}; known: {', '.join(forms.KINDS)}", field="kind")
    return forms.form_of(str(kind))


def _filled(document: Mapping[str, Any]) -> tuple[forms.Form, dict[str, str]]:
    spec = document.get("spec")
    form = _form(spec.get("kind") if isinstance(spec, Mapping) else None)
    return form, forms.values_of(form, document)


def _suggested(context: Context, form: forms.Form) -> dict[str, list[tuple[str, str]]]:
    """What a field may be filled with, by the last word of its place: values, each with what it is."""
    names = {each.label for each in form.fields}
    found: dict[str, list[tuple[str, str]]] = {
        "model": [(each.name, each.family) for each in models.list_models(context).items],
        "release": [(each.name, each.digest[:19]) for each in releases.list_releases(context).items],
        "project": [(each.name, "") for each in projects.list_projects(context).items],
        "slot": [(each.id, each.service_state) for each in slots.list_slots(context).items],
    }
    for each in artifacts.list_artifacts(context, limit=SUGGESTED).items:
        if each.name in _INPUTS:
            found.setdefault(each.name, []).append((each.digest, f"{each.file_name} ← {each.job_id or '–'}"))
    return {name: values for name, values in found.items() if name in names and values}


def _read(text: str) -> Read:
    try:
        document = load(text)
    except BadDocument as bad:
        raise BadRequest(str(bad), field=bad.field) from None
    if not isinstance(document.values, dict):
        raise BadRequest("expected a job (a mapping with `spec`), or a pipeline (a mapping with `jobs`)")
    return Read(document.values, document.lines)


def _request(read: Read) -> JobRequest | PipelineRequest:
    return validated(PipelineRequest, read.values) if "jobs" in read.values else validated(JobRequest, read.values)


def _checked(context: Context, asked: JobRequest | PipelineRequest) -> tuple[CheckedJob, ...]:
    if isinstance(asked, PipelineRequest):
        return pipelines.check_pipeline(asked, context).items
    return (jobs.check(asked, context),)


def _problems(error: Exception, read: Read) -> list[dict[str, Any]]:
    """Every wrong field with its line; of an error without one, its sentence."""
    problem = answer_to(error).problem
    told = [(each.field, each.message) for each in problem.errors] or [(problem.field or "", problem.detail)]
    lines = {".".join(map(str, place)): line for place, line in read.lines.items()}
    return [{"field": field, "detail": detail, "line": _line(field, lines)} for field, detail in told]


def _line(field: str, lines: Mapping[str, int]) -> int | None:
    """The line of a field, or of the nearest entry around it."""
    while field and field not in lines:
        field = field.rpartition(".")[0]
    return lines.get(field)


def _answered(
    request: Request, text: str, *, problems: list[dict[str, Any]] | None = None, found: tuple[CheckedJob, ...] = (),
    document: Mapping[str, Any] | None = None, status: int = 200,
) -> Response:  # fmt: skip
    pipeline = document is not None and "jobs" in document
    address = f"{str(request.base_url).rstrip('/')}/api/v1/{'pipelines' if pipeline else 'jobs'}"
    said = shlex.quote(json.dumps(document, ensure_ascii=False))
    told = render(
        request, "submit_checked.html", problems=problems or (), jobs=found, sent_to=address, document=said,
        many=pipeline,
    )  # fmt: skip
    return JSONResponse({"text": text, "problems": problems or [], "told": bytes(told.body).decode()}, status)
