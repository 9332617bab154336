"""The command that says why a job waits, or why it ran where it ran."""

from cli.pages.explanations import page
from cli.session import HERE, Exit, Session


def explain(job: int, /, *, session: Session = HERE) -> Exit:
    """Everything a job waits for and when it may start; why it ran where it ran, was tried again, or was built anew."""
    with session.client() as client:
        found = client.explain(job)
        session.emit(found, page(found))
    return Exit.OK
