"""The command about the history of a series."""

from cli.input.numbers import Limit
from cli.pages.history import history_page
from cli.session import HERE, Exit, Session


def history(suite: str, cell: str, metric: str, /, *, limit: Limit = 200, session: Session = HERE) -> Exit:
    """Show one series over the latest runs of its suite: where its level changed, and what happened meanwhile.

    Parameters
    ----------
    suite
        Name of the suite.
    cell
        Key of the cell: model=qwen,prompts=basic.
    metric
        Name of a metric, or answers: how many were not those of the baseline.
    limit
        At most this number of runs, up to 500.
    """
    with session.client() as client:
        found = client.history(suite, cell, metric, limit)
        session.emit(found, history_page(found))
    return Exit.OK
