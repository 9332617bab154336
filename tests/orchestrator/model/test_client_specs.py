import pytest
from pydantic import ValidationError

from orchestrator.model.slots import SlotKind
from orchestrator.model.specs import JobRequest, endpoints_of, slot_kind

DIGEST = {"digest": f"sha256:{'a' * 64}"}
SERVER = {"job": "serve", "artifact": "endpoint"}
OTHER = {"job": 12, "artifact": "endpoint"}


def client(**facts):
    return {"kind": "client", "endpoint": SERVER, "prompts": DIGEST, **facts}


def request(**facts):
    return JobRequest.model_validate({"spec": client(**facts)})


def refused(**facts):
    with pytest.raises(ValidationError) as refusal:
        request(**facts)
    return str(refusal.value)


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"load": {"concurrency": 4, "goodput": {"ttft_seconds": 2}}},
        {"program": "chat", "repeats": 3},
        {"program": "completion_llama_processes", "endpoint": [SERVER, OTHER], "processes": 8},
    ],
)
def test_a_client_is_the_same_after_a_trip_through_json(facts):
    asked = request(**facts)

    assert JobRequest.model_validate_json(asked.model_dump_json()) == asked
    assert JobRequest.model_validate(asked.model_dump(mode="json")) == asked
    assert slot_kind(asked.spec) is SlotKind.CPU


def test_a_load_that_says_nothing_is_each_prompt_one_by_one():
    spec = request(repeats=2).spec

    assert (spec.load.concurrency, spec.load.rate) == (None, None)
    assert spec.load.total(prompts=85, repeats=spec.repeats) == 170


def test_processes_are_as_many_as_endpoints_unless_they_are_said():
    several = {"program": "chat_processes", "endpoint": [SERVER, OTHER]}

    assert request(**several).spec.askers == 2
    assert request(**several, processes=8).spec.askers == 8
    assert request(program="chat_processes", processes=8).spec.askers == 8
    assert [one.job for one in endpoints_of(request(**several).spec)] == ["serve", 12]


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"load": {"rate": 1, "concurrency": 2}}, "not both"),
        ({"load": {"rate": 0}}, "greater than or equal to 0.001"),
        ({"load": {"rate": float("nan")}}, "finite number"),
        ({"load": {"goodput": {"tpot_seconds": float("inf")}}}, "finite number"),
        ({"load": {"rate": "NaN"}}, "valid number"),
        ({"load": {"goodput": {}}}, "name at least one limit"),
        ({"load": {"request_rate": 1}}, "Extra inputs"),
        ({"program": "chat", "load": {}}, "omit load"),
        ({"program": "chat", "processes": 2}, "omit processes"),
        ({"endpoint": [SERVER, OTHER]}, "asks one server"),
        ({"endpoint": []}, "give one"),
        ({"program": "chat_processes", "endpoint": [SERVER, SERVER]}, "listed twice"),
        ({"program": "chat_processes", "endpoint": [SERVER, OTHER], "processes": 1}, "cannot ask 2 endpoints"),
        ({"program": "rm -rf"}, "Input should be"),
        ({"endpoint": {"url": "https://elsewhere"}}, "write the URL as http://HOST:PORT"),
        ({"max_tokens": 8193}, "less than or equal to 8192"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_remedy(facts, told):
    assert told in refused(**facts)
