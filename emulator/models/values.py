"""A config's values as numbers within limits: a config is an untrusted file, and the values read here are written to C
source."""

import math
from collections.abc import Mapping
from typing import Any

from emulator.tool import Refused

_LARGEST = 1 << 20


def integer(config: Mapping[str, Any], key: str, default: int | None = None, *, largest: int = _LARGEST) -> int:
    """A whole number above 0; a key that is null or absent has the default, if there is one."""
    value = default if config.get(key) is None else config[key]
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= largest:
        raise Refused(f"config.json: {key} is {value!r}, not an integer from 1 to {largest}")
    return value


def positive(config: Mapping[str, Any], key: str, largest: float) -> float:
    """A number above 0."""
    value = config.get(key)
    number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not 1e-30 <= number <= largest:
        raise Refused(f"config.json: {key} is {value!r}, not a number above 0 and up to {largest:g}")
    return number


def flag(config: Mapping[str, Any], key: str) -> bool:
    """True or false; absent is false."""
    value = config.get(key, False)
    if not isinstance(value, bool):
        raise Refused(f"config.json: {key} is {value!r}, not true or false")
    return value
