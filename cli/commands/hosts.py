"""The command about hosts."""

from cli.pages.slots import hosts_table
from cli.session import HERE, Exit, Session


def hosts(*, retired: bool = False, session: Session = HERE) -> Exit:
    """List hosts: which are present, which slots are free, and since when one is away.

    Parameters
    ----------
    retired
        Those that are retired instead.
    """
    with session.client() as client:
        found = client.hosts(retired=retired)
        session.emit(found, hosts_table(found))
    return Exit.OK
