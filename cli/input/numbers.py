"""Numbers as a person types them: whole numbers have no fraction, and what is waited for is not negative."""

from typing import Annotated

from cyclopts import Parameter, validators
from cyclopts._convert import _converters

Seconds = Annotated[float, Parameter(validator=validators.Number(gte=0, lte=1e9))]
"""How long to wait."""

Port = Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65535))]
"""0 is any free one."""


Limit = Annotated[int, Parameter(name=["--limit", "-n"], validator=validators.Number(gte=1, lte=500))]
"""Number of entries of one page; the server sends no larger one."""


def only_whole_numbers() -> None:
    """Refuse `1.5` where a whole number is wanted: cyclopts rounds it, and 54.4 would cancel job 54.

    There is no public way to change how it reads a type wherever it stands (cyclopts 5.4)."""
    _converters[int] = _whole


def _whole(text: str) -> int:
    if not text.removeprefix("-").isascii() or not text.removeprefix("-").isdigit():
        raise ValueError(text)
    return int(text)
