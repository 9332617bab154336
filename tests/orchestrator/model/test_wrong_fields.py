import pytest
from pydantic import BaseModel, ValidationError

from orchestrator.model.batches import BatchRequest
from orchestrator.model.specs import JobRequest, PipelineRequest
from orchestrator.model.wrong_fields import MOST_ERRORS, wrong_fields

INFER = {"kind": "infer", "model": "m", "kcore": {"job": 3, "artifact": "kcore"}, "prompts": {"path": "/p"}}


def found(model: type[BaseModel], document: object) -> list[tuple[str, str]]:
    with pytest.raises(ValidationError) as refused:
        model.model_validate(document)
    return [(wrong.field, wrong.type) for wrong in wrong_fields(refused.value.errors(), document)]


@pytest.mark.parametrize(
    ("spec", "field", "kind"),
    [
        ({**INFER, "kcore": {"job": 3}}, "spec.kcore.artifact", "missing"),
        ({**INFER, "kcore": {"digest": "sha256:x"}}, "spec.kcore.digest", "string_pattern_mismatch"),
        ({**INFER, "modle": "m"}, "spec.modle", "extra_forbidden"),
        ({"model": "m"}, "spec", "union_tag_not_found"),
    ],
)
def test_the_field_is_the_one_that_a_person_wrote_or_left_out_and_names_no_member_of_a_union(spec, field, kind):
    assert found(JobRequest, {"spec": spec}) == [(field, kind)]


@pytest.mark.parametrize(
    ("model", "document", "message"),
    [
        (JobRequest, {"spec": {**INFER, "modle": "m"}}, "spec.modle: unknown field; did you mean model?"),
        (JobRequest, {"spec": {"kind": "infer", "modle": "m"}}, "spec.modle: unknown field; did you mean model?"),
        (
            JobRequest, {"spec": {**INFER, "kcore": {"job": 3, "artefact": "kcore"}}},
            "spec.kcore.artefact: unknown field; did you mean artifact?",
        ),
        (JobRequest, {"spec": INFER, "plcement": {}}, "plcement: unknown field; did you mean placement?"),
        (
            PipelineRequest, {"name": "p", "jobs": {"a": {"spec": {**INFER, "promts": 1}}}},
            "jobs.a.spec.promts: unknown field; did you mean prompts?",
        ),
        (JobRequest, {"spec": {**INFER, "backend_typ": "x"}}, "spec.backend_typ: unknown field"),
        (JobRequest, {"spec": {**INFER, "x" * 200: 1}}, f"spec.{'x' * 200}: unknown field"),
    ],
)  # fmt: skip
def test_a_misspelt_key_is_reported_first_with_the_key_of_that_place_that_was_meant(model, document, message):
    with pytest.raises(ValidationError) as refused:
        model.model_validate(document)

    first = wrong_fields(refused.value.errors(), document, model)[0]

    assert f"{first.field}: {first.message}" == message


def test_a_misspelt_word_is_reported_with_the_one_that_was_meant():
    with pytest.raises(ValidationError) as refused:
        JobRequest.model_validate({"spec": {**INFER, "kind": "infr"}})

    assert wrong_fields(refused.value.errors(), {"spec": INFER})[0].message.endswith("did you mean infer?")


def test_a_job_of_a_pipeline_that_is_called_like_a_kind_keeps_its_name():
    jobs = {"infer": {"spec": {**INFER, "model": 7}}}

    assert found(PipelineRequest, {"name": "p", "jobs": jobs}) == [("jobs.infer.spec.model", "string_type")]


def test_places_in_lists_and_tuples_are_their_numbers():
    jobs = ({"spec": INFER}, {"spec": {**INFER, "kcore": {"job": 3}}})

    assert found(BatchRequest, {"name": "b", "jobs": jobs}) == [("jobs.1.spec.kcore.artifact", "missing")]


def test_a_document_with_a_thousand_wrong_fields_is_told_the_first_of_them():
    wrong = found(JobRequest, {"spec": INFER, **{f"field{number}": 1 for number in range(1000)}})

    assert len(wrong) == MOST_ERRORS
    assert wrong[0] == ("field0", "extra_forbidden")


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"priority": 12}, "must be at most 9"),
        ({"priority": "high"}, "must be an integer"),
        ({"use_cache": "perhaps"}, "must be true or false"),
        ({"name": "-x"}, "begins with a letter or a digit"),
        ({"spec": {"kind": "infer"}}, "is missing; add it"),
        ({"spec": {**INFER, "cards": "0..3", "dtype": 7}}, "unknown field"),
        ({"spec": {"kind": "dance"}}, "the value of 'kind' must be one of 'quantize'"),
        ({"placement": 7}, "must be a mapping of names to values"),
        ({"needs": 7}, "must be a list"),
    ],
)
def test_what_is_wrong_is_told_in_plain_words(facts, message):
    with pytest.raises(ValidationError) as refused:
        JobRequest.model_validate({"spec": INFER, **facts})

    told = [wrong.message for wrong in wrong_fields(refused.value.errors(), {"spec": INFER, **facts})]

    assert any(message in each for each in told), told
    assert not any("Input should" in each or "String should" in each for each in told)
