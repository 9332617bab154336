"""Projects: the share that each has of the slots, and what it has used."""

from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response

from api.context import Given
from api.documents.projects import ProjectView, WeightRequest
from api.pages.guard import Fields, checked, one, pages
from api.pages.rendering import render_live
from api.routes import projects
from orchestrator.model.specs import Name, Strict

router = pages()

ROWS = 500


class NamedProject(Strict):
    """The project that a form names."""

    name: Name


@dataclass(frozen=True)
class ProjectPart:
    """A project, with its parts of all weights and of all slot time, in percent."""

    project: ProjectView
    entitled: float
    used: float


@router.get("/projects")
def list_projects(context: Given, request: Request) -> Response:
    """All projects; who has used least per unit of weight is first in the queue."""
    found = projects.list_projects(context).items[:ROWS]
    weights, used = sum(each.weight for each in found), sum(each.used_slot_seconds for each in found)
    parts = [
        ProjectPart(each, 100 * each.weight / weights, 100 * each.used_slot_seconds / used if used else 0.0)
        for each in found
    ]
    values: dict[str, Any] = {"parts": sorted(parts, key=lambda part: (part.project.standing, part.project.name))}
    return render_live(request, "projects", **values)


@router.post("/projects", openapi_extra={"x-scope": "operator"})
def set_weight(context: Given, request: Request, fields: Fields) -> Response:
    """Set the weight of a project, which may be new."""
    asked = checked(NamedProject, name=one(fields, "name"))
    weight = checked(WeightRequest, weight=_number(one(fields, "weight")))
    projects.set_weight(asked.name, weight, context)
    return Response(status_code=204, headers={"HX-Refresh": "true"})


def _number(text: str | None) -> Any:
    """A number; what is none stays, for the API's own words."""
    try:
        return float(text or "")
    except ValueError:
        return text
