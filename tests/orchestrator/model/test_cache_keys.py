"""Cache keys, and why one differs from another."""

import pytest
from builders.desk import compile_of, convert, quantize, request_of
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.model.cache_keys import cache_parts, digest_of, nearest, why_missed

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
PARTS = st.dictionaries(st.sampled_from(["kind", "release", "parameter a", "input b"]), st.sampled_from("xyz"))
DIGEST = f"sha256:{'a' * 64}"
OTHER = f"sha256:{'b' * 64}"


def _parts(spec: dict, inputs: dict | None = None, release: str = DIGEST):
    return cache_parts(request_of(spec).spec, inputs or {}, release)


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_the_order_of_keys_does_not_change_a_digest(document: dict):
    assert digest_of(document) == digest_of(dict(reversed(document.items())))


@given(st.text(st.characters(exclude_categories=())), st.text(st.characters(exclude_categories=())))
def test_different_texts_have_different_digests_whatever_they_hold(one: str, other: str):
    assert (digest_of([one]) == digest_of([other])) == (one == other)


def test_a_digest_is_the_one_that_earlier_rows_hold():
    assert digest_of({"b": [1, None], "a": "é"}) == (
        "sha256:3d92f6368f93f3cb36a4e7a721098054dfbfd705e31fa50409f2d99e0727a08c"
    )


def test_an_inference_has_no_key():
    digest = {"digest": DIGEST}
    assert _parts({"kind": "infer", "model": "m", "kcore": digest, "prompts": digest}) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (_parts(quantize()), _parts(convert())),
        (_parts(convert()), _parts(convert(backend_type="qwen2_7b_quant"))),
        (_parts(convert()), _parts(convert(), release=OTHER)),
        (_parts(convert(), {"model": DIGEST}), _parts(convert(), {"model": OTHER})),
        (_parts(convert(), {"model": DIGEST}), _parts(convert(), {"model": DIGEST, "gm": DIGEST})),
        (_parts(compile_of(1), {"c_source": DIGEST}), _parts(compile_of(1), {"c_source": OTHER})),
    ],
)
def test_whatever_a_result_depends_on_changes_the_key(one, other):
    assert digest_of(one) != digest_of(other)


def test_where_an_input_comes_from_and_what_a_model_is_called_change_nothing():
    assert _parts(compile_of(1), {"c_source": DIGEST}) == _parts(compile_of("convert"), {"c_source": DIGEST})
    assert _parts(convert(model="a"), {"model": DIGEST}) == _parts(convert(model="b"), {"model": DIGEST})


@given(PARTS, PARTS)
def test_there_is_a_reason_for_a_miss_exactly_when_the_keys_differ(parts: dict, earlier: dict):
    assert bool(why_missed(parts, earlier)) == (digest_of(parts) != digest_of(earlier))


@given(PARTS, st.lists(PARTS, min_size=1))
def test_the_nearest_build_is_the_newest_of_those_that_differ_in_the_fewest_parts(parts: dict, earlier: list):
    builds = dict(enumerate(earlier))
    differences = {number: len(why_missed(parts, other)) for number, other in builds.items()}

    found = nearest(parts, builds)

    fewest = min(differences.values())
    assert found == max(number for number, count in differences.items() if count == fewest)


def test_without_an_earlier_build_that_is_the_reason():
    assert nearest({"kind": "convert"}, {}) is None
    assert why_missed({"kind": "convert"}, None) == ["no earlier build of this kind has succeeded"]


def test_a_reason_is_short_and_names_what_appeared_and_what_went():
    assert why_missed({"input gm": DIGEST, "a": 1}, {"input gm": OTHER, "b": 2}) == [
        "a: nothing → 1", "b: 2 → nothing", "input gm: sha256:bbbbbbbbbbbb… → sha256:aaaaaaaaaaaa…",
    ]  # fmt: skip
