"""The commands that retire things, and use them again."""

from cli.pages.catalog import retirements_table
from cli.session import HERE, Exit, Session, hint
from orchestrator.model.retirements import Retirable


def retire(kind: Retirable, name: str, /, *, reason: str | None = None, session: Session = HERE) -> Exit:
    """Hide a model, release, host or artifact from lists and refuse it for new jobs. Nothing is deleted.

    Parameters
    ----------
    kind
        model, release, host (its workers must be stopped) or artifact.
    name
        Its name; of an artifact its digest.
    reason
        Why; shown to those whose jobs are refused.
    """
    with session.client() as client:
        made = client.retire(kind, name, reason)
        session.emit(made, retirements_table([made]))
    return Exit.OK


def unretire(kind: Retirable, name: str, /, *, session: Session = HERE) -> Exit:
    """Use a retired model, release, host or artifact again.

    Parameters
    ----------
    kind
        model, release, host or artifact.
    name
        Its name; of an artifact its digest.
    """
    with session.client() as client:
        found = client.unretire(kind, name)
        session.emit(found, retirements_table([found], lifted=True))
        hint(f"in use again: {found.kind} {found.name}")
    return Exit.OK
