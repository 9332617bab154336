"""From a suite to its cells, and from cells to the jobs that measure them. Pure."""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from orchestrator.errors import BadSpec
from orchestrator.model.cache_keys import digest_of
from orchestrator.model.requirements import REPORT
from orchestrator.model.specs import JobRequest
from orchestrator.model.suites import MOST_CELLS, RunOptions, SuiteDocument
from orchestrator.model.wrong_fields import wrong_fields


@dataclass(frozen=True)
class Cell:
    """One combination of the matrix."""

    values: Mapping[str, str]
    """By axis; only axes that the matrix gives."""

    @property
    def key(self) -> str:
        """A stable text: `model=qwen,prompts=basic,slots=g3`."""
        return ",".join(f"{axis}={value}" for axis, value in self.values.items())

    def get(self, axis: str) -> str | None:
        """The value on an axis; None if the matrix does not give it."""
        return self.values.get(axis)


def cells_of(document: SuiteDocument) -> tuple[Cell, ...]:
    """The cells, in the order of the matrix; BadSpec if they are none or too many, or an exclusion names no cell."""
    if document.matrix.size > MOST_CELLS:
        raise BadSpec(f"{document.matrix.size} combinations are more than {MOST_CELLS}; shorten it", field="matrix")
    axes = {axis: values for axis, values in document.matrix.axes.items() if values}
    every = [Cell(dict(zip(axes, values, strict=True))) for values in itertools.product(*axes.values())]
    patterns = [pattern.model_dump(exclude_none=True) for pattern in document.matrix.exclude]
    for index, pattern in enumerate(patterns):
        if not any(_matches(cell, pattern) for cell in every):
            raise BadSpec("it matches no cell; correct or remove it", field=f"matrix.exclude.{index}")
    cells = tuple(cell for cell in every if not any(_matches(cell, pattern) for pattern in patterns))
    if not cells:
        raise BadSpec("no cell is left; remove an exclusion", field="matrix.exclude")
    return cells


def _matches(cell: Cell, pattern: Mapping[str, str]) -> bool:
    return all(cell.get(axis) == value for axis, value in pattern.items())


@dataclass(frozen=True)
class PlannedJobs:
    """The jobs of a run by name, in an order in which each comes after those that it needs."""

    requests: Mapping[str, JobRequest]
    cells: Mapping[str, Cell]
    """Of each job a cell that it is for; a build may be for several."""
    measured: Mapping[str, str]
    """Inferences: name → key of their cell."""


def plan(document: SuiteDocument, cells: Sequence[Cell]) -> PlannedJobs:
    """The jobs of a run: builds that several cells share once, then `repeats` inferences of each cell, cell by cell in
    every repeat, so that a drift over time meets all cells alike.

    BadSpec names the field of the suite that makes a job impossible, or `matrix` if the jobs are more than `max_jobs`.
    """
    requests: dict[str, JobRequest] = {}
    owners: dict[str, Cell] = {}
    measured: dict[str, str] = {}
    templates = [dict(_builds_and_inference(document, cell)) for cell in cells]
    for cell, jobs in zip(cells, templates, strict=True):
        for name, job in jobs.items():
            if job["spec"]["kind"] != "infer" and name not in requests:
                requests[name], owners[name] = _request(document, cell, job), cell
    inferences = [
        (cell, _slug(cell, number), _request(document, cell, jobs[_INFER]))
        for number, (cell, jobs) in enumerate(zip(cells, templates, strict=True), start=1)
    ]
    count = len(requests) + len(cells) * document.repeats
    if count > document.max_jobs:
        said = f"{len(requests)} builds and {len(cells)} cells × {document.repeats} repeats are {count} jobs"
        raise BadSpec(f"{said}, more than max_jobs {document.max_jobs}; shorten it or raise max_jobs", field="matrix")
    for repeat in range(1, document.repeats + 1):
        for cell, slug, request in inferences:
            name = f"{slug}.{repeat}"
            requests[name] = request.model_copy(update={"name": name})
            owners[name], measured[name] = cell, cell.key
    return PlannedJobs(requests, owners, measured)


_INFER = "infer"


def _builds_and_inference(document: SuiteDocument, cell: Cell) -> Iterator[tuple[str, dict[str, Any]]]:
    """The jobs of a cell as plain data. Builds are named by what makes them differ, so that cells share them."""
    template, model = document.template, cell.get("model")
    common = {"project": document.project, "priority": template.priority}
    common |= {"release": release} if (release := cell.get("release")) else {}
    kcore: Any = None if template.kcore is None else template.kcore.model_dump(mode="json")
    gm: Any = None if template.gm is None else template.gm.model_dump(mode="json")
    if kcore is None:
        made_of = digest_of([model, cell.get("backend_type"), release]).removeprefix("sha256:")[:12]
        if template.quantize:
            quantized = "quantize-" + digest_of([model, release]).removeprefix("sha256:")[:12]
            yield quantized, {**common, "spec": {"kind": "quantize", "model": model}}
            gm = {"job": quantized, "artifact": "gm"}
        convert = {"kind": "convert", "model": model, "backend_type": cell.get("backend_type"), "gm": gm}
        yield f"convert-{made_of}", {**common, "spec": convert}
        source = {"job": f"convert-{made_of}", "artifact": "c_source"}
        yield f"compile-{made_of}", {**common, "spec": {"kind": "compile", "c_source": source}}
        kcore = {"job": f"compile-{made_of}", "artifact": "kcore"}
    prompts = document.matrix.prompts[str(cell.get("prompts"))].model_dump(mode="json")
    options = document.matrix.options[name] if (name := cell.get("options")) else RunOptions()
    # The suite judges the answers, by its own rule.
    spec = {"kind": "infer", "model": model, "kcore": kcore, "gm": gm, **prompts, "require": REPORT}
    placement: dict[str, Any] = {"labels": template.labels}
    placement |= {"slot": slot} if (slot := cell.get("slots")) else {}
    yield (
        _INFER,
        {
            **common,
            "spec": {**spec, **options.model_dump(mode="json", exclude_none=True)},
            "placement": placement,
            "limits": template.limits.model_dump(mode="json"),
            "tool_retries": template.tool_retries,
        },
    )


def _request(document: SuiteDocument, cell: Cell, job: Mapping[str, Any]) -> JobRequest:
    try:
        return JobRequest.model_validate(job)
    except ValidationError as trouble:
        wrong = wrong_fields(trouble.errors(), job, JobRequest)[0]
        raise BadSpec(wrong.message, field=field_of(document, cell, wrong.field)) from None


def _slug(cell: Cell, number: int) -> str:
    """A readable name of a cell, unique by its number."""
    words = "-".join(value for axis, value in cell.values.items() if axis != "backend_type")
    return f"{number}-{re.sub('[^A-Za-z0-9._-]', '-', words)}"[:90]


_FIELDS = {
    "spec.model": ("models", "model"),
    "spec.backend_type": ("backend_types", "backend_type"),
    "release": ("releases", "release"),
}


def field_of(document: SuiteDocument, cell: Cell, field: str | None) -> str:
    """The field of the suite from which a field of one of the cell's jobs comes."""
    field = field or ""
    if field in _FIELDS:
        listed, axis = _FIELDS[field]
        value = cell.get(axis)
        return f"matrix.{listed}.{getattr(document.matrix, listed).index(value)}" if value else f"matrix.{listed}"
    if field.startswith(("spec.prompts", "spec.golden")):
        return f"matrix.prompts.{cell.get('prompts')}.{field.removeprefix('spec.')}"
    if field.startswith(("spec.kcore", "spec.gm")):
        return f"template.{field.removeprefix('spec.')}"
    if field.startswith("placement.labels"):
        return f"template.{field.removeprefix('placement.')}"
    if field.startswith("placement") and (slot := cell.get("slots")):
        return f"matrix.slots.{document.matrix.slots.index(slot)}"
    if field.startswith("spec.") and (name := cell.get("options")):
        return f"matrix.options.{name}.{field.removeprefix('spec.')}"
    return f"template.{field}" if field else "matrix"
