"""The command that tells card, toolchain and model apart."""

from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from api.documents.triages import TriageView
from cli.input.numbers import Seconds
from cli.pages.triages import triage_page
from cli.session import HERE, Exit, Session, hint_on_terminal, once
from cli.waiting.batches import followed

app = App(name="triage", help="Is it the card, the toolchain or the model? `triage JOB`; `show` shows the verdict.")


@app.default
def triage(
    job: int,
    /,
    *,
    repeats: Annotated[int, Parameter(validator=Number(gte=1, lte=20))] = 2,
    wait: Annotated[bool, Parameter(negative="")] = False,
    timeout: Seconds | None = None,
    key: str | None = None,
    session: Session = HERE,
) -> Exit:
    """Find what is to blame for wrong answers or faults of an inference: card, toolchain or model.

    Runs the same kcore on another card group, and the last good kcore on this card group, as ordinary jobs.

    Parameters
    ----------
    repeats
        Runs of each of the two.
    wait
        Wait until they have ended and print the verdict; exit 0 if there is one, 1 if it cannot be determined.
    timeout
        With --wait: seconds to wait; then exit with 124. The runs continue.
    key
        Idempotency key: repeating the command with the same key never creates a second triage.
    """
    with session.client() as client:
        with once(key) as sent:
            made = client.triages.start(job, repeats, key=sent)
        if wait:
            hint_on_terminal(f"triage {made.id} is batch {made.batch_id}")
            followed(client, made.batch_id, timeout)
            made = client.triages.show(made.id)
        session.emit(made, triage_page(made))
        if not wait:
            hint_on_terminal(f"submitted; see the verdict with: tx81 triage show {made.id}")
    return _exit(made) if wait else Exit.OK


@app.command
def show(triage: int, /, *, session: Session = HERE) -> Exit:
    """Show a triage: its runs, and once they have ended the verdict. Exit 1 if it cannot be determined."""
    with session.client() as client:
        found = client.triages.show(triage)
        session.emit(found, triage_page(found))
    return _exit(found)


def _exit(triage: TriageView) -> Exit:
    return Exit.JOB_FAILED if triage.verdict == "cannot_tell" else Exit.OK
