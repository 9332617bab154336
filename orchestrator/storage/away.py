"""A database that does not answer, told in one line: its traceback says nothing, and everybody meets it at once."""

import logging
import sqlite3

import psycopg
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

AWAY = (OperationalError, InterfaceError, PoolTimeout, sqlite3.OperationalError, psycopg.OperationalError)
"""What is raised while the database does not answer, or is not made yet."""


def why(error: BaseException) -> str:
    """What the database, or the way to it, said; without the statement and its values."""
    said = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return " ".join(str(said).split()) or type(said).__name__


def in_one_line(record: logging.LogRecord) -> bool:
    """A filter for a handler of logs, which lets everything pass: such an error is its reason, not its traceback."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, AWAY):
        record.msg, record.args = f"{record.getMessage()}: {why(error)}", ()
        record.exc_info = record.exc_text = None
    return True
