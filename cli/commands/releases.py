"""The commands about toolchain releases."""

from typing import Annotated

from cyclopts import App, Parameter

from cli.input.files import registered_path
from cli.pages.catalog import releases_table
from cli.session import HERE, Exit, Session

releases_app = App(name="releases", help="Toolchain releases; `add` registers one, `check` tests its tools.")


@releases_app.default
def releases(*, retired: bool = False, session: Session = HERE) -> Exit:
    """List the toolchain releases.

    Parameters
    ----------
    retired
        Those that are retired instead.
    """
    with session.client() as client:
        found = client.releases(retired=retired)
        session.emit(found, releases_table(found))
    return Exit.OK


@releases_app.command(name="add")
def add_release(
    name: str,
    profile: str,
    root: str,
    /,
    *,
    default: Annotated[bool, Parameter(negative="")] = False,
    session: Session = HERE,
) -> Exit:
    """Register the vendor's tools that are installed in a folder, and the profile that tells how to call them.

    Parameters
    ----------
    profile
        Name of a profile, e.g. txnn_1.2.1_build0307.
    root
        The folder on the server and its hosts that the vendor's guide calls $HOME_PATH; also written server:/path.
    default
        Use it for jobs that name no release.
    """
    with session.client() as client:
        made = client.register_release(name, profile, registered_path(root, "ROOT"), default)
        session.emit(made, releases_table([made]))
    return Exit.OK


releases_app.command(
    "cli.commands.release_check:show",
    name="show",
    help="Show a release: its profile, and the latest check of each host.",
)
releases_app.command(
    "cli.commands.release_check:check", name="check", help="Check the tools of a release on this machine."
)
