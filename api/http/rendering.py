"""Answers of routes, rendered as `api.documents.rendering` says."""

from typing import Any

from fastapi._compat import ModelField
from pydantic_core import PydanticSerializationError

from api.documents.rendering import well_formed

_fast = ModelField.serialize_json


def install() -> None:
    """Render every answer like that. FastAPI has no other place for it that keeps its fast rendering."""
    ModelField.serialize_json = _serialize_json  # type: ignore[method-assign, assignment]


def _serialize_json(field: ModelField, value: Any, **options: Any) -> bytes:
    try:
        return _fast(field, value, **options)
    except PydanticSerializationError:
        return well_formed(field.serialize(value, mode="python", **options))
