import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter

from api.documents import examples
from orchestrator.model.batches import BatchRequest
from orchestrator.model.history import ChangedInput
from orchestrator.model.profile import Profile
from orchestrator.model.specs import JobRequest, PipelineRequest
from orchestrator.model.wrong_fields import plain_message

SCHEMAS = Path(__file__).with_name("schemas.txt")
"""Every name a generated client has a class for; a line is added for a new document, and none is renamed unasked."""


@pytest.fixture
def document(http) -> dict:
    return http.get("http://testserver/openapi.json").json()


def test_every_reference_of_the_document_leads_somewhere(document):
    references = set(_references(document))

    assert references
    for reference in references:
        place = document
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]
        assert place, reference


def _patterns(node: object) -> set[str]:
    """Every regular expression that a value has to match."""
    if isinstance(node, list):
        return set().union(*map(_patterns, node))
    if not isinstance(node, dict):
        return set()
    own = {node["pattern"]} if isinstance(node.get("pattern"), str) else set()
    return own.union(*map(_patterns, node.values()))


def test_no_regular_expression_is_shown_to_a_person(document, http):
    shown = {
        pattern: plain_message({"type": "string_pattern_mismatch", "ctx": {"pattern": pattern}, "input": "?"})
        for pattern in _patterns(document) | _patterns(Profile.model_json_schema())
    }

    assert [pattern for pattern, message in shown.items() if "form" in message or "^" in message] == []
    assert http.get("/jobs?kind=infr").json()["detail"].endswith("did you mean infer?")
    assert "name of a token" in http.get("/jobs?submitted_by=").json()["detail"]


def test_every_schema_of_the_document_is_one(document):
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_the_names_of_the_schemas_are_those_that_clients_know(document):
    names = set(document["components"]["schemas"])

    # A module's path in a name means that two documents share it.
    assert [name for name in sorted(names) if "__" in name or "." in name] == []
    assert sorted(names) == SCHEMAS.read_text().splitlines()


def test_a_model_class_that_is_a_document_ignores_what_a_newer_server_adds():
    change = {"part": "kind", "before": None, "after": "convert", "before_from": None, "after_from": 4, "newer": 1}

    assert TypeAdapter(ChangedInput).validate_python(change).after_from == 4


def test_every_operation_has_a_name_of_its_own_and_says_what_it_does(document):
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]

    assert len({operation["operationId"] for operation in operations}) == len(operations)
    assert all(operation["description"] for operation in operations)


def test_every_guarded_operation_says_that_it_needs_a_token(document):
    unguarded = {
        path
        for path, methods in document["paths"].items()
        for operation in methods.values()
        if not operation.get("security")
    }

    assert unguarded == {"/health/live", "/health/ready"}


def test_every_operation_that_takes_an_idempotency_key_declares_the_answer_to_a_replay(document):
    keyed = [
        (path, operation["responses"])
        for path, methods in document["paths"].items()
        for operation in methods.values()
        if any(parameter["name"] == "Idempotency-Key" for parameter in operation.get("parameters", ()))
    ]

    assert len(keyed) >= 7
    for path, responses in keyed:
        assert responses["200"]["content"] == responses["201"]["content"], path
        assert responses["200"]["headers"]["Idempotent-Replay"]["schema"], path


def test_the_document_loads_nothing_from_elsewhere(http):
    page = http.get("http://testserver/docs")

    assert page.status_code == 200
    assert re.findall(r'(?:src|href)="(?!/)[^"#]', page.text) == []
    assert http.get("http://testserver/redoc").status_code == 404


@pytest.mark.parametrize("example", [entry["value"] for entry in examples.JOB.values()])
def test_the_examples_of_jobs_are_jobs(example):
    assert JobRequest.model_validate(json.loads(json.dumps(example)))


@pytest.mark.parametrize("example", [entry["value"] for entry in examples.PIPELINE.values()])
def test_the_examples_of_pipelines_are_pipelines(example):
    assert PipelineRequest.model_validate(json.loads(json.dumps(example)))


@pytest.mark.parametrize("example", [entry["value"] for entry in examples.BATCH.values()])
def test_the_examples_of_batches_are_batches(example):
    assert BatchRequest.model_validate(json.loads(json.dumps(example)))


def _references(node):
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for inner in node.values():
            yield from _references(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from _references(inner)
