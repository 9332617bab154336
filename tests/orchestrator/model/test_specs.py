"""What can be asked for, and what is refused before anyone looks at a disk or a database."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from orchestrator.model.requirements import FinalAnswer, Similarity
from orchestrator.model.slots import SlotKind
from orchestrator.model.specs import (
    BUILD_KINDS,
    MAX_TOKENS,
    PRODUCES,
    JobRequest,
    Name,
    PipelineRequest,
    inputs_of,
    slot_kind,
)

DIGEST = {"digest": f"sha256:{'a' * 64}"}
INFER = {"kind": "infer", "model": "qwen", "kcore": DIGEST, "prompts": DIGEST}
SPECS = {
    "quantize": {"kind": "quantize", "model": "qwen"},
    "convert": {"kind": "convert", "model": "qwen", "backend_type": "qwen2_7b_bf16"},
    "compile": {"kind": "compile", "c_source": DIGEST},
    "infer": INFER,
    "golden": {"kind": "golden", "model": "qwen", "prompts": DIGEST},
    "serve": {"kind": "serve", "model": "qwen", "kcore": DIGEST},
}
KINDS = pytest.mark.parametrize("kind", SPECS)


def _request(spec: dict, **facts) -> JobRequest:
    return JobRequest.model_validate({"spec": spec, **facts})


def _refused(spec: dict, **facts) -> str:
    with pytest.raises(ValidationError) as refusal:
        _request(spec, **facts)
    return str(refusal.value)


@KINDS
def test_a_request_is_the_same_after_a_trip_through_json(kind: str):
    request = _request(SPECS[kind], priority=9, needs=["a", 7])

    assert JobRequest.model_validate_json(request.model_dump_json()) == request
    assert JobRequest.model_validate(request.model_dump(mode="json")) == request


@pytest.mark.parametrize(
    ("require", "rule"),
    [
        (None, "exact"), ("exact", "exact"), ("report", None), ({"similarity": 0.98}, Similarity(similarity=0.98)),
        ({"final_answer": True}, FinalAnswer(final_answer=True)),
    ],
)  # fmt: skip
def test_a_golden_is_to_be_met_exactly_unless_the_job_says_otherwise(require, rule):
    request = _request({**INFER, "golden": DIGEST, "require": require})

    assert request.spec.requirement == rule
    assert JobRequest.model_validate_json(request.model_dump_json()) == request
    assert _request(INFER).spec.requirement is None


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"golden": DIGEST, "require": "exactly"}, "write exact, report, {similarity: 0.98} or {final_answer: true}"),
        ({"golden": DIGEST, "require": []}, "write exact, report"),
        ({"golden": DIGEST, "require": {"similarity": 0}}, "greater than 0"),
        ({"golden": DIGEST, "require": {"similarity": 98}}, "less than or equal to 1"),
        ({"golden": DIGEST, "require": {"similarity": "0.98"}}, "valid number"),
        ({"golden": DIGEST, "require": {"final_answer": False}}, "write {final_answer: true}"),
        ({"golden": DIGEST, "require": {"similarity": 0.9, "final_answer": True}}, "Extra inputs"),
        ({"require": "exact"}, "give golden, or omit require"),
        ({"most_empty": -1}, "greater than or equal to 0"),
        ({"most_empty": True}, "valid integer"),
    ],
)
def test_a_rule_for_answers_that_cannot_be_meant_is_refused_with_the_remedy(more, told):
    assert told in _refused({**INFER, **more})


@KINDS
@pytest.mark.parametrize("field", ["args", "env", "Model", "command"])
def test_an_unknown_field_is_refused(kind: str, field: str):
    assert "Extra inputs" in _refused({**SPECS[kind], field: "x"})
    assert "Extra inputs" in _refused(SPECS[kind], **{field: "x"})
    assert "Extra inputs" in _refused(SPECS[kind], limits={field: 1})
    assert "Extra inputs" in _refused(SPECS[kind], placement={field: "g0"})


@pytest.mark.parametrize("kind", ["provision", "", "QUANTIZE", None, "quantize "])
def test_an_unknown_kind_is_refused(kind):
    _refused({**SPECS["quantize"], "kind": kind})


SMUGGLED = [
    "-rf",
    "--tool=x",
    "a b",
    "a/b",
    "../x",
    "..",
    ".",
    "",
    "a\n",
    "\na",
    "a\0",
    "$(x)",
    "a;b",
    "名",
    "a" * 101,
    "{x}",
]


@pytest.mark.parametrize("name", SMUGGLED)
def test_a_flag_a_path_or_a_shell_word_is_no_name(name: str):
    _refused({**SPECS["quantize"], "model": name})
    _refused({**SPECS["convert"], "backend_type": name})
    _refused({**SPECS["compile"], "c_source": {"job": name, "artifact": "c_source"}})
    for field in ("name", "project", "release"):
        _refused(SPECS["quantize"], **{field: name})
    with pytest.raises(ValidationError):
        PipelineRequest.model_validate({"name": "p", "jobs": {name: {"spec": SPECS["quantize"]}}})


@given(st.text(max_size=120))
def test_a_name_that_is_accepted_is_one_plain_word(text: str):
    try:
        name = TypeAdapter(Name).validate_python(text)
    except ValidationError:
        return
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name)


@pytest.mark.parametrize(
    "digest",
    ["", "sha256:", "a" * 64, f"sha256:{'A' * 64}", f"sha256:{'a' * 63}", f"sha256:{'a' * 64}\n", "md5:" + "a" * 64],
)
def test_what_is_no_digest_is_refused(digest: str):
    _refused({"kind": "compile", "c_source": {"digest": digest}})


@pytest.mark.parametrize("path", ["prompts.txt", "./x", "~/x", "", "/a\0b", "/" + "x" * 4096, "file:///x"])
def test_a_path_that_is_not_absolute_is_refused(path: str):
    _refused({**INFER, "prompts": {"path": path}})


def test_only_files_may_be_given_by_path():
    _refused({**INFER, "kcore": {"path": "/x"}})


def test_an_input_is_named_in_exactly_one_way():
    _refused({**INFER, "prompts": {"path": "/x", **DIGEST}})


@pytest.mark.parametrize("tokens", [0, -1, MAX_TOKENS + 1, 10**30, "many", 1.5, None])
def test_an_answer_is_one_to_8192_tokens_long(tokens):
    _refused({**INFER, "max_tokens": tokens})


@pytest.mark.parametrize("tokens", [1, MAX_TOKENS])
def test_the_ends_of_the_range_of_tokens_are_allowed(tokens: int):
    assert _request({**INFER, "max_tokens": tokens}).spec.max_tokens == tokens


@pytest.mark.parametrize("cards", [f"{first}..{first + 3}" for first in range(0, 32, 4)])
def test_each_of_the_eight_groups_can_be_asked_for(cards: str):
    assert _request({**INFER, "cards": cards}).spec.cards == cards


@pytest.mark.parametrize("cards", ["2..5", "0..7", "0..3 -bs 8", "0,1,2", "1", "", "g0", "28..32", "0..3\n"])
def test_other_cards_can_not_be_asked_for(cards: str):
    assert "card groups" in _refused({**INFER, "cards": cards})


@pytest.mark.parametrize(
    ("cards", "kept", "groups"),
    [
        ("0..3,8..11", "0..3,8..11", 2),
        ("8..11,0..3", "0..3,8..11", 2),
        ("0..31", "0..31", 8),
        (",".join(f"{first}..{first + 3}" for first in range(0, 32, 4)), "0..31", 8),
        ("0", "0", 1),
    ],
)
def test_several_groups_are_kept_in_one_spelling_and_counted(cards: str, kept: str, groups: int):
    spec = _request({**INFER, "cards": cards}).spec

    assert (spec.cards, spec.groups) == (kept, groups)
    assert _request({**INFER, "cards": cards, "groups": groups}).spec == spec


def test_groups_can_be_asked_for_without_saying_which():
    assert _request({**INFER, "groups": 8}).spec.cards is None
    assert _request(INFER).spec.groups == 1


@pytest.mark.parametrize("groups", [0, 9, -1, "two"])
def test_no_other_number_of_groups_can_be_asked_for(groups: object):
    assert "groups" in _refused({**INFER, "groups": groups})


@pytest.mark.parametrize(("cards", "groups"), [("0..3", 2), ("0..3,8..11", 1), ("0..31", 7), ("0", 2)])
def test_cards_and_groups_must_agree(cards: str, groups: int):
    assert "omit one of the two" in _refused({**INFER, "cards": cards, "groups": groups})


@pytest.mark.parametrize("more", [{}, {"groups": 6}, {"cards": "0..3,4..7,8..11,12..15,16..19,20..23"}])
def test_batch_sizes_need_as_many_groups_as_the_largest(more: dict):
    spec = _request({**INFER, "batch_sizes": [1, 6, 5], **more}).spec

    assert (spec.groups, spec.sizes) == (6, (1, 6, 5))
    assert _request(spec.model_dump(mode="json")).spec == spec
    assert _request({**INFER, "groups": 3}).spec.sizes == (3,)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"batch_sizes": []}, "at least 1"),
        ({"batch_sizes": [0]}, "greater than or equal to 1"),
        ({"batch_sizes": [1, 9]}, "less than or equal to 8"),
        ({"batch_sizes": [1, "x"]}, "valid integer"),
        ({"batch_sizes": [2, 2]}, "use repeats"),
        ({"batch_sizes": "[1,5]"}, "batch_sizes"),
        ({"batch_sizes": [1, 5], "groups": 8}, "omit groups and cards"),
        ({"batch_sizes": [1, 5], "cards": "0..3"}, "5, but it has 1 card group"),
        ({"batch_sizes": [1, 5], "cards": "0..5"}, "does not name whole card groups"),
    ],
)
def test_batch_sizes_that_can_not_run_are_refused(more: dict, told: str):
    assert told in _refused({**INFER, **more})


def test_a_server_computes_in_what_its_weights_are_quantised_to():
    quantised = _request({**SPECS["serve"], "gm": DIGEST}).spec

    assert quantised.dtype == "int8"
    assert _request(SPECS["serve"]).spec.dtype == "bfloat16"
    assert "omit one of the two" in _refused({**SPECS["serve"], "gm": DIGEST, "dtype": "bfloat16"})


def test_a_server_runs_on_whole_card_groups():
    assert _request({**SPECS["serve"], "cards": "4..7,0..3"}).spec.groups == 2
    assert "write cards 0..3" in _refused({**SPECS["serve"], "cards": "0"})
    assert "groups says 3" in _refused({**SPECS["serve"], "cards": "0..3", "groups": 3})


def test_a_server_may_be_idle_for_ever_but_does_not_live_for_ever():
    assert _request({**SPECS["serve"], "idle_seconds": None}).spec.idle_seconds is None
    assert "life_seconds" in _refused({**SPECS["serve"], "life_seconds": None})


def test_several_groups_are_not_pinned_to_one_slot():
    assert "more than one slot" in _refused({**INFER, "groups": 2}, placement={"slot": "g1"})


def test_so_many_groups_must_be_left_as_are_asked_for():
    assert "leave only 1 of a host" in _refused({**INFER, "groups": 2}, placement={"exclude": GROUPS[1:]})
    assert _request({**INFER, "groups": 2}, placement={"exclude": GROUPS[2:]})


@pytest.mark.parametrize(
    ("spec", "slot"), [(INFER, "cpu0"), (INFER, "lab1.cpu0"), (SPECS["quantize"], "g0"), (SPECS["compile"], "lab1.g3")]
)
def test_a_pin_to_a_slot_of_the_wrong_sort_is_refused(spec: dict, slot: str):
    assert "do not run on" in _refused(spec, placement={"slot": slot})


def test_cards_and_pin_must_agree():
    assert "cards 4..7 are g1, so lab1.g2 cannot be the slot" in _refused(
        {**INFER, "cards": "4..7"}, placement={"slot": "lab1.g2"}
    )
    assert _request({**INFER, "cards": "4..7"}, placement={"slot": "lab1.g1"})


GROUPS = [f"g{index}" for index in range(8)]


@pytest.mark.parametrize(
    ("spec", "placement"),
    [
        (INFER, {"slot": "g1", "exclude": ["g1"]}),
        (INFER, {"slot": "lab1.g1", "exclude": ["g1"]}),
        (INFER, {"slot": "lab1.g1", "exclude": ["lab1.g1"]}),
        ({**INFER, "cards": "4..7"}, {"exclude": ["g1"]}),
        ({**INFER, "cards": "4..7,12..15"}, {"exclude": ["g3"]}),
        (INFER, {"exclude": GROUPS}),
        (SPECS["quantize"], {"slot": "cpu0", "exclude": ["cpu0"]}),
    ],
)
def test_a_job_that_excludes_every_slot_it_could_have_is_refused(spec: dict, placement: dict):
    assert "excluded" in _refused(spec, placement=placement)


@pytest.mark.parametrize(
    "placement", [{"slot": "g1", "exclude": ["lab1.g1"]}, {"slot": "g1", "exclude": ["g2"]}, {"exclude": GROUPS[1:]}]
)
def test_a_job_that_excludes_some_slots_is_taken(placement: dict):
    assert _request(INFER, placement=placement)


PATTERNS = ["g8", "lab1.", ".g3", "lab 1.g3", "lab1/g3", "!g3", "-x.g3", "lab1.g3 g4", "lab1.g3\n", "lab1..g3 "]


@pytest.mark.parametrize(
    "slot",
    [
        *PATTERNS,
        "lab1\n.g3",
    ],
)
def test_a_slot_that_can_not_be_is_refused(slot: str):
    _refused(INFER, placement={"slot": slot})
    _refused(INFER, placement={"exclude": [slot]})


@pytest.mark.parametrize("field", ["queue_seconds", "run_seconds", "silence_seconds", "total_seconds"])
@pytest.mark.parametrize("seconds", [0, -1, 10**12, 1.5, "soon"])
def test_a_limit_is_a_number_of_seconds_that_a_calendar_can_hold(field: str, seconds):
    _refused(INFER, limits={field: seconds})


@pytest.mark.parametrize(
    ("field", "value"), [("priority", 10), ("priority", -1), ("tool_retries", 11), ("tool_retries", -1)]
)
def test_numbers_out_of_range_are_refused(field: str, value: int):
    _refused(INFER, **{field: value})


@pytest.mark.parametrize("jobs", [{}, {f"j{number}": {"spec": SPECS["quantize"]} for number in range(1001)}], ids=len)
def test_a_pipeline_has_one_to_a_thousand_jobs(jobs: dict):
    with pytest.raises(ValidationError):
        PipelineRequest.model_validate({"name": "p", "jobs": jobs})


def test_a_spec_can_not_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        _request(INFER).spec.max_tokens = 1


@KINDS
def test_every_kind_says_what_it_makes_and_where_it_runs(kind: str):
    spec = _request(SPECS[kind]).spec

    assert kind in PRODUCES
    assert (slot_kind(spec) is SlotKind.CARD_GROUP) == (kind in ("infer", "serve"))
    assert (kind in BUILD_KINDS) == (kind not in ("infer", "serve"))


def test_inputs_are_those_that_are_present():
    assert set(inputs_of(_request(INFER).spec)) == {"kcore", "prompts"}
    assert set(inputs_of(_request({**INFER, "golden": DIGEST, "gm": DIGEST}).spec)) == {
        "kcore",
        "prompts",
        "golden",
        "gm",
    }
