"""`python -m api`: serve on the configured address, after leaving the admin token at the first start."""

from tx81.start import begin_service, modules_loaded

if __name__ == "__main__":
    begin_service()  # before anything that reads the environment is imported


import asyncio
import logging
import os
import resource
import socket
import sys
import threading
import time
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError

from api.address import LeftAddress
from api.app import create_app
from api.context import Context
from api.http.connections import (
    BACKLOG,
    QuietAboutDescriptors,
    bounded,
    most_connections,
    raise_descriptor_limit,
    taken_together,
)
from orchestrator import tokens
from orchestrator.settings import Settings, settings_of_service
from orchestrator.storage.away import in_one_line, why
from orchestrator.storage.database import Database

log = logging.getLogger("api")

FIRST_TOKEN_SECONDS = 5.0
"""How long the start waits for the first admin token, so that who waits for an answer finds it."""
_TRY_AGAIN = 1.0

GRACE_SECONDS = 10
"""Seconds that running requests may take after the server was asked to stop."""


class ApiServer(uvicorn.Server):
    """Ends event streams first: they would keep the server from stopping."""

    def __init__(self, config: uvicorn.Config, context: Context) -> None:
        super().__init__(config)
        self._context = context
        self._address = LeftAddress(context.settings)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        asyncio.get_running_loop().set_exception_handler(QuietAboutDescriptors())
        await super().startup(sockets)
        if self.started:
            self._address.leave()
        for listener in (each for serving in self.servers for each in serving.sockets):
            with socket.socket(fileno=os.dup(listener.fileno())) as same:
                same.listen(BACKLOG)  # uvicorn has one number for the kernel's queue and for asyncio

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, end streams, let requests end."""
        self._address.remove()
        self._context.wakeups.stop()
        await super().shutdown(sockets)


def server(app: FastAPI, settings: Settings) -> ApiServer:
    """A server of `app` that is ready to run."""
    most = most_connections(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    config = uvicorn.Config(
        app,
        host=settings.api_host,
        port=settings.api_port,
        log_config=None,
        access_log=False,
        http=bounded(most),
        ws="none",
        backlog=taken_together(most),
        timeout_graceful_shutdown=GRACE_SECONDS,
        server_header=False,
    )
    return ApiServer(config, app.state.context)


def main() -> None:
    """Serve until asked to stop."""
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        datefmt="%Y-%m-%d %H:%M:%S%z",
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    # It has a line for each request to a server, and here no request has one.
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    logging.getLogger().handlers[0].addFilter(in_one_line)
    settings = settings_of_service()
    raise_descriptor_limit()
    database = Database(settings.database)
    try:
        serving = server(create_app(settings, database), settings)
    except OSError as trouble:
        sys.exit(_refused("TX81_STORE_DIR", trouble))
    first = threading.Thread(target=_leave_first_token, args=(database, settings.admin_token_file), daemon=True)
    first.start()
    first.join(FIRST_TOKEN_SECONDS)
    serving.run()


def _leave_first_token(database: Database, file: Path) -> None:
    """Once the database answers; until then `/health/ready` says that it does not."""
    told = ""
    while True:
        try:
            if tokens.make_first(database, file):
                log.info("admin token left in %s", file)
            return
        except SQLAlchemyError as trouble:
            if why(trouble) != told:
                told = why(trouble)
                log.warning("no admin token yet: the database cannot be used; retrying: %s", told)
        except OSError as trouble:
            os._exit(_refused("TX81_TOKEN_FILE", trouble))
        time.sleep(_TRY_AGAIN)


def _refused(variable: str, trouble: OSError) -> int:
    print(f"{variable}: {trouble.filename}: {trouble.strerror}; choose a place that you can write to", file=sys.stderr)
    return 2


if __name__ == "__main__":
    modules_loaded()
    main()
