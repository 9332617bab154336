"""Numbers and booleans of every document that a client or a file gives."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

import api.app  # noqa: F401  # every document of the API
import workers.provision.plan  # noqa: F401  # and of the workers
from cli.input.documents import parsed, validated
from cli.session import Stop
from orchestrator.model.specs import JobRequest, Strict


def documents(base: type[Strict] = Strict) -> Iterator[type[Strict]]:
    for document in base.__subclasses__():
        yield document
        yield from documents(document)


def types_in(schema: Any) -> set[str]:
    """The JSON types that a field may have, in itself or as a member of a list or a union."""
    found = {schema["type"]} if isinstance(schema.get("type"), str) else set()
    for inner in [*schema.get("anyOf", ()), *schema.get("prefixItems", ()), schema.get("items")]:
        found |= types_in(inner) if isinstance(inner, dict) else set()
    return found


def fields_of(*json_types: str, unless: str | None = None) -> list[tuple[type[BaseModel], str, bool]]:
    """Every field that takes one of these types, and whether it is a list; without those that take `unless` too."""
    found = []
    for document in documents():
        for name, schema in document.model_json_schema().get("properties", {}).items():
            types = types_in(schema)
            if types & set(json_types) and unless not in types:
                found.append((document, name, "array" in types))
    return found


def refusals(document: type[BaseModel], given: dict[str, Any]) -> set[Any]:
    with pytest.raises(ValidationError) as refused:
        document.model_validate(given)
    return {error["loc"][0] for error in refused.value.errors() if error["loc"] and error["type"] != "missing"}


@pytest.mark.parametrize("other", [True, False, "5"])
def test_a_number_is_no_boolean_and_no_text(other):
    numbers = fields_of("integer", "number", unless="string" if other == "5" else None)

    assert len(numbers) > 40
    for document, name, several in numbers:
        assert name in refusals(document, {name: [other] if several else other}), (document, name)


@pytest.mark.parametrize("other", [1, 0, "yes", "true"])
def test_a_boolean_is_no_number_and_no_text(other):
    booleans = fields_of("boolean")

    assert len(booleans) > 10
    for document, name, _ in booleans:
        assert name in refusals(document, {name: other}), (document, name)


def test_batch_sizes_are_no_booleans():
    digest = {"digest": f"sha256:{'c' * 64}"}
    spec = {"kind": "infer", "model": "m", "kcore": digest, "prompts": digest, "batch_sizes": [True, 5]}

    with pytest.raises(ValidationError) as refused:
        JobRequest.model_validate({"spec": spec})

    assert [error["loc"] for error in refused.value.errors()] == [("spec", "infer", "batch_sizes", 0)]


@pytest.mark.parametrize("line", ["priority: yes", "priority: '5'", "tool_retries: true", "use_cache: 1"])
def test_a_yaml_submission_is_read_as_strictly(line):
    document = parsed(f"spec: {{kind: quantize, model: m}}\n{line}", "job.yaml")

    with pytest.raises(Stop, match=f"^{line.partition(':')[0]}: "):
        validated(JobRequest, document)
