"""Which keys a document may have at a place, read from its Pydantic model: to say which one was meant. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel

_Models = list[type[BaseModel]]


def known_keys(model: Any, place: Sequence[str | int], document: Any) -> list[str]:
    """The keys that a `model`, or any annotation, knows at this place of a document; none where it knows no model.

    Of models that a literal field such as `kind` distinguishes, only those that the document names count."""
    found: list[Any] = [model]
    for part in place:
        models = _fitting(found, document)
        if isinstance(part, str) and models:
            found = [field for each in models for field in _field(each, part)]
        else:
            found = [inner for each in found for inner in _entries(each)]
        document = _below(document, part)
    return [key for each in _fitting(found, document) for key in _keys(each)]


def _fitting(annotations: Sequence[Any], document: Any) -> _Models:
    models = [member for each in annotations for member in _members(each) if _is_model(member)]
    if not isinstance(document, Mapping):
        return models
    return [
        model for model in models if all(_may_be(model, key, document[key]) for key in _keys(model) & document.keys())
    ]


def _may_be(model: type[BaseModel], key: str, value: object) -> bool:
    literal = [field for field in _field(model, key) if get_origin(field) is Literal]
    return not literal or value in get_args(literal[0])


def _members(annotation: Any) -> Iterator[Any]:
    """What an annotation may be: the members of a union, without what is only said about them."""
    if get_origin(annotation) is Annotated:
        yield from _members(get_args(annotation)[0])
    elif _is_model(annotation) or not _is_union(annotation):
        yield annotation
    else:
        for member in get_args(annotation):
            yield from _members(member)


def _entries(annotation: Any) -> Iterator[Any]:
    """What the entries of a list or of a mapping may be."""
    for member in _members(annotation):
        arguments = [each for each in get_args(member) if each is not Ellipsis]
        if get_origin(member) is not Literal and arguments:
            yield arguments[-1]


def _field(model: type[BaseModel], key: str) -> list[Any]:
    return [field.annotation for name, field in model.model_fields.items() if key in (name, field.alias)]


def _keys(model: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()}


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _is_union(annotation: Any) -> bool:
    from types import UnionType
    from typing import Union

    return get_origin(annotation) in (Union, UnionType)


def _below(document: Any, part: str | int) -> Any:
    if isinstance(document, Mapping):
        return document.get(part)
    if isinstance(document, list | tuple) and isinstance(part, int) and part < len(document):
        return document[part]
    return None
