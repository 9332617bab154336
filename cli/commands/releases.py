"""The commands about toolchain releases."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from cli.input.files import own_file, registered_path
from cli.pages.catalog import releases_table
from cli.session import HERE, Exit, Session, Stop

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
        Name of a profile of the server, e.g. txnn_1.2.1_build0307, or a file of this machine: my.yaml
    root
        The folder on the server and its hosts that the vendor's guide calls $HOME_PATH; also written server:/path.
    default
        Use it for jobs that name no release.
    """
    called, text = _profile(profile)
    with session.client() as client:
        made = client.register_release(name, called, registered_path(root, "ROOT"), default, text)
        session.emit(made, releases_table([made]))
    return Exit.OK


def _profile(given: str) -> tuple[str, str | None]:
    """The name of a profile, and its text if it is a file, which is called like it."""
    path = Path(given)
    if "/" not in given and path.suffix not in (".yaml", ".yml"):
        return given, None
    try:
        return path.stem, own_file(path, given, "PROFILE").decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Stop(f"PROFILE: {given} is not UTF-8 text") from None


releases_app.command(
    "cli.commands.release_check:show",
    name="show",
    help="Show a release: its profile, and the latest check of each host.",
)
releases_app.command(
    "cli.commands.release_learn:learn",
    name="learn",
    help="Print what a profile should say otherwise for the tools of a release on this machine.",
)
releases_app.command(
    "cli.commands.release_check:check", name="check", help="Check the tools of a release on this machine."
)
