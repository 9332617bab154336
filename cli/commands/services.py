"""The service processes by name: each becomes the module that is the service, with the settings of the environment."""

import os
import sys
from typing import NoReturn

from tx81.start import service_environment


def api() -> NoReturn:
    """Run the API. Settings are environment variables, TX81_…"""
    _become("api")


def dispatcher() -> NoReturn:
    """Run the dispatcher. Settings are environment variables, TX81_…"""
    _become("orchestrator.dispatcher")


def worker(slot: str, /) -> NoReturn:
    """Run the worker of one slot. Settings are environment variables, TX81_…

    Parameters
    ----------
    slot
        g0 … g7, or cpu0, cpu1, …
    """
    _become("workers", "--slot", slot)


def migrate() -> NoReturn:
    """Migrate the database to the newest schema. Settings are environment variables, TX81_…"""
    _become("migrations")


def _become(module: str, *arguments: str) -> NoReturn:
    sys.stdout.flush()
    command = [sys.executable, "-P", "-m", module, *arguments]
    os.execve(sys.executable, command, service_environment(os.environ))  # noqa: S606  # replaced, without a shell
