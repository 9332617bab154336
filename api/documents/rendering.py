"""Documents as JSON that every program can read, also if a row holds what JSON in UTF-8 cannot. Pure.

Rows of older versions may hold halves of surrogate pairs, and names of files that are not UTF-8 are spelled with them.
They become U+FFFD in answers, and numbers that are not finite become null.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_json


def json_of(view: BaseModel, **options: Any) -> bytes:
    """The JSON of a document."""
    try:
        return view.model_dump_json(**options).encode()
    except PydanticSerializationError:
        return well_formed(view.model_dump(**options))


def well_formed(document: Any) -> bytes:
    """The JSON of what may hold such text."""
    return to_json(_paired(document), inf_nan_mode="null")


def _paired(value: Any) -> Any:
    """The same without halves of pairs, in keys too; two halves that belong together become one character."""
    match value:
        case str():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case Mapping():
            return {_paired(key): _paired(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_paired(inner) for inner in value]
        case BaseModel():
            return _paired(value.model_dump())
        case _:
            return value
