"""Texts with anything in them, where a document is expected: read, or refused in words; never anything else."""

import json
import tempfile
from json import JSONDecodeError
from pathlib import Path

import yaml
from fuzzing import bounded
from hypothesis import example, given
from hypothesis import strategies as st

from cli.input.documents import parsed
from cli.session import Stop
from orchestrator import strict_json, strict_yaml
from orchestrator.catalog.profile_files import load_profile
from orchestrator.catalog.registry import read_config
from orchestrator.errors import BadRequest, BadSpec
from orchestrator.model.kcores import BadKcore, chips_in
from orchestrator.results import text_files
from orchestrator.settings import Settings
from orchestrator.strict_json import BadDocument

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(["\0", "\ud800"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)
SIGNS = st.text(alphabet="{}[]:,\"'\\ \n-&*<!|>%@#?0e.9ax\u2028\r\t\ufeff", max_size=200)
TEXTS = SIGNS | st.text(max_size=200) | st.builds(json.dumps, VALUES)
CONTENTS = st.binary(max_size=300) | TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass"))


def refusal(kind, call):
    """What `call` returned, and how it was refused with a `kind`, one of them None; nothing else may be raised."""
    try:
        return call(), None
    except kind as refused:
        return None, refused


@given(content=CONTENTS)
@example(content=b'{"a":1,"a":2}')
@bounded()
def test_fuzz_json_is_read_or_refused(content):
    try:
        document = strict_json.loads(content)
    except (JSONDecodeError, BadDocument):
        return
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    json.dumps(document, ensure_ascii=False).encode()


@given(text=TEXTS | VALUES.map(lambda value: yaml.safe_dump(value, allow_unicode=True)))
@bounded()
def test_fuzz_yaml_is_read_or_refused(text):
    try:
        document = strict_yaml.load(text, most_values=1000).values
    except BadDocument:
        return
    json.dumps(document, allow_nan=False, ensure_ascii=False).encode()


@given(text=TEXTS)
@bounded()
def test_fuzz_submissions_are_read_or_refused(text):
    refusal(Stop, lambda: parsed(text, "here"))


@given(content=CONTENTS)
@bounded()
def test_fuzz_prompts_are_questions_or_refused(content):
    found, refused = refusal(BadSpec, lambda: text_files.prompts_in(content, "prompts"))
    assert refused is None or refused.field == "prompts"
    assert all(question == question.strip() != "" for question in found or ())
    assert refused is not None or found


@given(
    content=CONTENTS
    | st.lists(
        st.builds(
            json.dumps, st.dictionaries(st.sampled_from(["question", "answer", "response", "x"]), VALUES, max_size=4)
        ),
        max_size=4,
    ).map(lambda lines: "\n".join(lines).encode())
)
@bounded()
def test_fuzz_goldens_are_answers_or_refused(content):
    _, refused = refusal(BadSpec, lambda: text_files.check_golden(content, "golden"))
    assert refused is None or refused.field == "golden"


@given(content=CONTENTS | VALUES.map(lambda value: json.dumps({"model_type": "qwen2", "x": value}).encode()))
@bounded()
def test_fuzz_configs_are_read_or_refused(content):
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "config.json"
        place.write_bytes(content)
        config, refused = refusal(BadSpec, lambda: read_config(place, "path"))
    assert refused is None or refused.field == "path"
    json.dumps(config, allow_nan=False, ensure_ascii=False).encode()


@given(content=CONTENTS | VALUES.map(lambda value: json.dumps({"chip_num": value}).encode()))
@bounded()
def test_fuzz_model_infos_tell_their_chips_or_are_refused(content):
    chips, _ = refusal(BadKcore, lambda: chips_in(content))
    assert chips is None or 1 <= chips <= 32


@given(text=TEXTS | VALUES.map(lambda value: "extends: txnn_1.2.1_build0307\n" + yaml.safe_dump({"kinds": value})))
@bounded(0.5)
def test_fuzz_profiles_are_read_or_refused(text):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "mine.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
        _, refused = refusal(BadRequest, lambda: load_profile(Settings(profile_dirs=(Path(folder),)), "mine"))
    assert refused is None or refused.field == "profile"
