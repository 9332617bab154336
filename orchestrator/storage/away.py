"""A database that cannot be used now, told in one line: its traceback says nothing, and everybody meets it at once."""

import logging
import re
import sqlite3

import psycopg
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

AWAY = (OperationalError, InterfaceError, PoolTimeout, sqlite3.OperationalError, psycopg.OperationalError)
"""What is raised while the database does not answer, or is not made yet."""

PERHAPS_NOT_MIGRATED = (ProgrammingError, psycopg.ProgrammingError)
"""What PostgreSQL's driver raises for a table that is not there, among other things (`is_not_migrated`)."""

_LACKING = re.compile(r"no such (table|column): |table \S+ has no column named ")


def is_not_migrated(error: BaseException | None) -> bool:
    """Whether a table or a column of this version is not there."""
    said = _of_driver(error)
    if isinstance(said, sqlite3.Error):
        return _LACKING.match(str(said)) is not None
    return isinstance(said, psycopg.errors.UndefinedTable | psycopg.errors.UndefinedColumn)


def is_full(error: BaseException | None) -> bool:
    """Whether the disk of the database is full."""
    said = _of_driver(error)
    if isinstance(said, sqlite3.Error):
        return getattr(said, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return isinstance(said, psycopg.errors.DiskFull)


def cannot_be_used(error: BaseException | None) -> bool:
    """Whether it is the database that cannot be used now, and not a mistake in what it was asked."""
    return isinstance(error, AWAY) or is_not_migrated(error)


def why(error: BaseException) -> str:
    """What the database, or the way to it, said; without the statement and its values."""
    said = _of_driver(error)
    if is_not_migrated(error):
        lacking = str(said).splitlines()[0]
        return f"its tables are not those of this version ({lacking}); run the migrations: tx81 migrate"
    return " ".join(str(said).split()) or type(said).__name__


def in_one_line(record: logging.LogRecord) -> bool:
    """A filter for a handler of logs, which lets everything pass: such an error is its reason, not its traceback."""
    error = record.exc_info[1] if record.exc_info else None
    if error is not None and cannot_be_used(error):
        record.msg, record.args = f"{record.getMessage()}: {why(error)}", ()
        record.exc_info = record.exc_text = None
    return True


def _of_driver(error: BaseException | None) -> BaseException | None:
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
