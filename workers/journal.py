"""The log format of this process: one line per record, a constant sentence and then its fields as `key=value`."""

import json
import logging
import sys
from datetime import UTC, datetime

from orchestrator.storage.away import in_one_line

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class KeyValueFormatter(logging.Formatter):
    """`2026-11-22T10:00:00.123Z INFO workers.attempt.execution attempt ended attempt=3 reason="…"`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, followed by the traceback if there is one."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        fields = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        told = "".join(f" {name}={_value(value)}" for name, value in fields.items() if value not in (None, ""))
        line = f"{at} {record.levelname} {record.name} {_one_line(record.getMessage())}{told}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def configure(level: int = logging.INFO) -> None:
    """Send everything to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(KeyValueFormatter())
    handler.addFilter(in_one_line)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # They log every doorbell; our own lines about the attempt have the same information.
    for name in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    # Without a result backend, Celery warns at every revoke that it could not store one.
    logging.getLogger("celery.worker.control").addFilter(lambda record: "as revoked in backend" not in record.msg)


def _value(value: object) -> str:
    text = str(value)
    plain = text.isprintable() and not set(text) & {" ", '"', "="}
    return text if plain else json.dumps(text, ensure_ascii=False)


def _one_line(text: str) -> str:
    return text.strip().replace("\n", " | ")
