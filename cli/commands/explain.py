"""The command that explains why a job waits, or why it ran on its slots."""

from cli.pages.explanations import page
from cli.session import HERE, Exit, Session


def explain(job: int, /, *, session: Session = HERE) -> Exit:
    """Show what a job waits for and when it may start; why it ran on its slots, was retried, or was built again."""
    with session.client() as client:
        found = client.explain(job)
        session.emit(found, page(found))
    return Exit.OK
