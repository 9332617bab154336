"""The commands about projects."""

from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.console import RenderableType

from api.documents.projects import ProjectView
from cli.pages.layout import row, table
from cli.session import HERE, Exit, Session

projects_app = App(name="projects", help="Projects and their shares of the slots; `set` gives one a weight.")


@projects_app.default
def projects(*, session: Session = HERE) -> Exit:
    """List projects: weight, and recent use of slot time."""
    with session.client() as client:
        found = client.projects()
        session.emit(found, _projects_table(found))
    return Exit.OK


@projects_app.command(name="set")
def set_project(
    name: str,
    /,
    *,
    weight: Annotated[float, Parameter(validator=Number(gt=0))],
    session: Session = HERE,
) -> Exit:
    """Set the weight of a project: while both have work, weight 2 gets twice the slot time of weight 1.

    Parameters
    ----------
    weight
        Greater than 0. Default weight of a project: 1.
    """
    with session.client() as client:
        made = client.set_weight(name, weight)
        session.emit(made, _projects_table([made]))
    return Exit.OK


def _projects_table(projects: "tuple[ProjectView, ...] | list[ProjectView]") -> RenderableType:
    shown = table("project", "weight", "slot-seconds", "for each unit of weight", right={"weight", "slot-seconds"})
    for project in projects:
        row(shown, project.name, f"{project.weight:g}", f"{project.used_slot_seconds:.0f}", f"{project.standing:.0f}")
    return shown
