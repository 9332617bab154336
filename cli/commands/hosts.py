"""TO SAY."""

from cli.commands.releases import _HERE
from cli.pages.slots import hosts_table
from cli.session import Exit, Session


def hosts(*, session: Session = _HERE) -> Exit:
    """List the hosts: who is there, what is free, and since when one is away."""
    with session.client() as client:
        found = client.hosts()
        session.emit(found, hosts_table(found))
    return Exit.OK
