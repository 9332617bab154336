"""`tx81 open`: the dashboard in a browser, signed in."""

import os
import webbrowser

from rich.text import Text

from cli.session import HERE, Exit, Session, hint


def open_pages(*, link: bool = False, session: Session = HERE) -> Exit:
    """Open the dashboard in the browser of this machine, signed in with this token.

    The link works once, for ten minutes. Where there is no browser, it is printed.

    Parameters
    ----------
    link
        Only print the link.
    """
    with session.client() as client:
        made = client.sign_ins.make()
    address = f"{session.address()}{made.path}"
    if link or session.as_json or not _opened(address):
        session.emit({"link": address, "expires_at": made.expires_at.isoformat()}, Text(address))
    return Exit.OK


def _opened(address: str) -> bool:
    """Whether a browser was started. A machine without a screen has only browsers that would take the terminal."""
    screen = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
    if screen and webbrowser.open(address):
        hint("opened in the browser")
        return True
    return False
