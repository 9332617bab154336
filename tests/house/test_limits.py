"""The limits that `docs/security.md` lists are those of the code."""

import importlib
import re
from pathlib import Path

from orchestrator.model.profile import DefaultLimits
from orchestrator.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
_ROW = re.compile(r"^\| [^|]+ \| (?P<value>[0-9,]+) \| `(?P<where>[\w.]+)`.* \|$", re.MULTILINE)


def value_of(where: str) -> float:
    if where.startswith("TX81_"):
        return Settings.model_fields[where.removeprefix("TX81_").lower()].default
    if where.startswith("limits."):
        return DefaultLimits.model_fields[where.removeprefix("limits.")].default
    module, _, name = where.rpartition(".")
    return getattr(importlib.import_module(module), name)


def test_every_limit_on_the_page_is_that_of_the_code():
    rows = list(_ROW.finditer(PAGE.read_text()))

    assert len(rows) >= 17
    assert [(row["where"], int(row["value"].replace(",", ""))) for row in rows] == [
        (row["where"], value_of(row["where"])) for row in rows
    ]
