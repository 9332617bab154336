"""The page about profiles says every key there is, and no other."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from orchestrator.catalog.profile_files import load_profile
from orchestrator.model.profile import Profile
from orchestrator.settings import Settings

PAGE = (Path(__file__).parents[3] / "docs" / "profiles.md").read_text("utf-8")


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that a value of this type may hold, however deep."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            yield from _models(field.annotation)
    for argument in get_args(annotation):
        yield from _models(argument)


def _first_column(below: str) -> list[str]:
    table = PAGE.partition(below)[2].lstrip().split("\n\n")[0]
    return re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)


@pytest.mark.parametrize("model", dict.fromkeys(_models(Profile)), ids=lambda model: model.__name__)
def test_every_key_is_on_the_page(model):
    assert _first_column(f"<!-- keys: {model.__name__} -->") == list(model.model_fields)


def test_every_shipped_backend_type_is_on_the_page():
    shipped = load_profile(Settings(), "txnn_1.2.1_build0307").backend_types

    assert _first_column("<!-- backend types -->") == list(shipped)
    for name, backend in shipped.items():
        facts = f"| `{name}` | {backend.family} | {backend.precision} | {f'`{backend.conda}`' if backend.conda else ''}"
        assert f"{facts} | `{backend.output}` |" in PAGE
