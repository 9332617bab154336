"""The command about pipelines."""

from itertools import islice
from typing import Annotated

from cyclopts import Parameter

from cli.pages.catalog import pipelines_table
from cli.session import HERE, Exit, Session


def pipelines(
    *,
    project: str | None = None,
    name: str | None = None,
    limit: Annotated[int, Parameter(name=["--limit", "-n"])] = 50,
    session: Session = HERE,
) -> Exit:
    """List pipelines, newest first."""
    with session.client() as client:
        found = client.pipelines(limit=limit, project=project, name=name).items
        session.emit(list(islice(found, limit)), pipelines_table(found))
    return Exit.OK
