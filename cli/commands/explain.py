"""TO SAY."""

from cli.commands.projects import _HERE, _page
from cli.session import Exit, Session


def explain(job: int, /, *, session: Session = _HERE) -> Exit:
    """Everything a job waits for and when it may start; why it ran where it ran, was tried again, or was built anew."""
    with session.client() as client:
        found = client.explain(job)
        session.emit(found, _page(found))
    return Exit.OK
