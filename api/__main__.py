"""`python -m api`: serve on the configured address, after leaving the admin token at the first start."""

from tx81.start import begin_service

if __name__ == "__main__":
    begin_service()  # before anything that reads the environment is imported


import logging
import socket
import sys

import uvicorn
from fastapi import FastAPI

from api.app import create_app
from api.context import Context
from orchestrator import tokens
from orchestrator.settings import Settings
from orchestrator.storage.database import Database

log = logging.getLogger("api")

GRACE_SECONDS = 10
"""Seconds that running requests may take after the server was asked to stop."""


class ApiServer(uvicorn.Server):
    """Ends event streams first: they would keep the server from stopping."""

    def __init__(self, config: uvicorn.Config, context: Context) -> None:
        super().__init__(config)
        self._context = context

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, end streams, let requests end."""
        self._context.wakeups.stop()
        await super().shutdown(sockets)


def server(app: FastAPI, settings: Settings) -> ApiServer:
    """A server of `app` that is ready to run."""
    config = uvicorn.Config(
        app,
        host=settings.api_host,
        port=settings.api_port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        server_header=False,
    )
    return ApiServer(config, app.state.context)


def main() -> None:
    """Serve until asked to stop."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # It has a line for each request to a server, and here no request has one.
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    settings = Settings()
    database = Database(settings.database)
    if tokens.make_first(database, settings.admin_token_file):
        log.info("admin token left in %s", settings.admin_token_file)
    server(create_app(settings, database), settings).run()


if __name__ == "__main__":
    main()
