"""The address of the API, left beside the admin token: a command that finds the token asks the server it is for."""

import logging
from contextlib import suppress
from pathlib import Path

from orchestrator.settings import Settings

log = logging.getLogger("api")

_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "[::1]"}  # noqa: S104  # named, not listened on
"""Where a server that listens on all addresses is reached on its own machine."""


class LeftAddress:
    """A file that says where this API listens, while it listens."""

    def __init__(self, settings: Settings) -> None:
        self._file = file_beside(settings.admin_token_file)
        host = _ANY_ADDRESS.get(settings.api_host, settings.api_host)
        bare_ipv6 = ":" in host and not host.startswith("[")
        self._text = f"http://{f'[{host}]' if bare_ipv6 else host}:{settings.api_port}\n"

    def leave(self) -> None:
        """Write it; a folder that cannot be written to is logged and does not stop the server."""
        draft = self._file.with_name(f".{self._file.name}.part")
        try:
            draft.write_text(self._text)
            draft.replace(self._file)
        except OSError as trouble:
            log.warning("the address is not left in %s: %s", self._file, trouble.strerror)

    def remove(self) -> None:
        """Remove it, unless another API has left its own since."""
        with suppress(OSError, UnicodeDecodeError):
            if self._file.read_text() == self._text:
                self._file.unlink()


def file_beside(token_file: Path) -> Path:
    """The file with the address of the server that a token file is for."""
    return token_file.with_name(f"{token_file.name}.server")
