"""Forms from the specs: what is written in one means the document, and back."""

import pytest

from api.pages import forms
from api.pages.labels import LABELS

DIGEST = f"sha256:{'a' * 64}"
REQUESTS = [
    {"spec": {"kind": "quantize", "model": "m"}},
    {"spec": {"kind": "convert", "model": "m", "backend_type": "b", "gm": {"job": 4, "artifact": "gm"}}, "needs": [7]},
    {"spec": {"kind": "compile", "c_source": {"digest": DIGEST}}, "use_cache": False, "name": "no"},
    {
        "spec": {
            "kind": "infer", "model": "m", "kcore": {"job": 2, "artifact": "kcore"}, "groups": 2,
            "prompts": {"lines": ["你是谁？", "a: b # c", "'\" <script>"]}, "golden": {"path": "/srv/golden.jsonl"},
            "require": {"similarity": 0.98}, "batch_sizes": [1, 2], "traverse": False,
        },
        "placement": {"exclude": ["g1", "lab.g2"], "labels": {"a": "b"}},
        "limits": {"run_seconds": 60},
        "priority": 9,
    },
    {"spec": {"kind": "serve", "model": "m", "kcore": {"digest": DIGEST}, "idle_seconds": None, "keep": True}},
    {
        "spec": {
            "kind": "client", "endpoint": {"job": 5, "artifact": "endpoint"}, "prompts": {"digest": DIGEST},
            "load": {"rate": 0.5, "goodput": {"ttft_seconds": 1.5}},
        }
    },
]  # fmt: skip


@pytest.mark.parametrize("request_", REQUESTS, ids=[each["spec"]["kind"] for each in REQUESTS])
def test_a_form_filled_from_a_request_means_that_request(request_):
    form = forms.form_of(request_["spec"]["kind"])
    shortest = forms.shortest(request_)

    assert forms.document_of(form, forms.values_of(form, shortest)) == shortest
    assert forms.shortest(shortest) == shortest


@pytest.mark.parametrize("kind", forms.KINDS)
def test_every_kind_has_a_form_that_begins_with_what_it_needs(kind):
    form = forms.form_of(kind)

    assert form.required
    assert all(each.required for each in form.required)
    assert {"name", "priority", "limits.run_seconds", "placement.slot"} <= {each.name for each in form.around}
    assert {each.label for each in form.fields} - LABELS.keys() == set()


def test_what_is_no_number_stays_as_it_was_written_for_the_api_to_refuse():
    form = forms.form_of("infer")

    document = forms.document_of(
        form, {"spec.max_tokens": "many", "spec.batch_sizes": "1, x", "priority": "[", "q": "1"}
    )

    assert document == {"spec": {"kind": "infer", "max_tokens": "many", "batch_sizes": [1, "x"]}, "priority": "["}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("41", {"job": 41, "artifact": "kcore"}),
        ("build kcore", {"job": "build", "artifact": "kcore"}),
        (DIGEST, {"digest": DIGEST}),
        ("9" * 30, {"job": "9" * 30, "artifact": "kcore"}),
    ],
)
def test_where_an_input_comes_from_is_seen_by_what_is_written(written, meant):
    assert forms.document_of(forms.form_of("serve"), {"spec.kcore": written})["spec"]["kcore"] == meant
