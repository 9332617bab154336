import io
import json
import subprocess
from pathlib import Path

import pytest

MODEL = "tiny"
QUANTIZE = {"spec": {"kind": "quantize", "model": MODEL}, "use_cache": False}


def given(monkeypatch, text: str | bytes) -> None:
    content = text.encode() if isinstance(text, str) else text
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_a_job_in_yaml_on_standard_input_is_submitted(tx81, at_site, monkeypatch):
    given(monkeypatch, f"name: from-yaml\nspec: {{kind: quantize, model: {MODEL}}}\nuse_cache: false\n")

    ran = tx81("submit", "-", "--output", "json")

    assert (ran.code, ran.err) == (0, "")
    assert ran.document["name"] == "from-yaml"


def test_a_list_is_submitted_as_many_jobs(tx81, at_site):
    Path("jobs.json").write_text(json.dumps([QUANTIZE, QUANTIZE]))

    ran = tx81("submit", "jobs.json", "--output", "json")

    assert len({job["id"] for job in ran.document}) == 2


def test_a_document_with_jobs_is_a_pipeline(tx81, at_site):
    compiled = {"spec": {"kind": "compile", "c_source": {"job": "convert", "artifact": "c_source"}}}
    convert = {"spec": {"kind": "convert", "model": MODEL, "backend_type": "qwen2_7b_bf16"}}
    Path("pipeline.json").write_text(json.dumps({"name": "p", "jobs": {"compile": compiled, "convert": convert}}))

    ran = tx81("submit", "pipeline.json", "--output", "json")

    assert [job["name"] for job in ran.document["jobs"]] == ["convert", "compile"]


def test_a_dry_run_says_what_the_jobs_would_be_and_submits_none(tx81, at_site):
    before = tx81("jobs", "--output", "json").document
    Path("jobs.json").write_text(json.dumps([QUANTIZE, {**QUANTIZE, "name": "second"}]))

    ran = tx81("submit", "jobs.json", "--dry-run", "--output", "json")

    assert [job["name"] for job in ran.document] == ["quantize", "second"]
    assert tx81("jobs", "--output", "json").document == before


def test_a_key_used_again_makes_no_second_job(tx81, at_site, request):
    Path("job.json").write_text(json.dumps(QUANTIZE))

    first, second = (tx81("submit", "job.json", "--key", request.node.name, "--output", "json") for _ in range(2))

    assert first.document["id"] == second.document["id"]


def test_without_a_key_every_submission_is_a_new_job(tx81, at_site):
    Path("job.json").write_text(json.dumps(QUANTIZE))

    first, second = (tx81("submit", "job.json", "--output", "json") for _ in range(2))

    assert first.document["id"] != second.document["id"]


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ("spec: {kind: quantize}", "spec.model: is missing"),
        ("spec: {kind: paint, model: m}", "'paint'"),
        ("spec: {model: m}", "spec: has no kind"),
        ("spec: 3", "spec:"),
        ("just words", "expected a job"),
        ("", "expected a job"),
        ("[]", "empty"),
        ("spec: [", "line 1"),
        ("[" * 100_000, "not JSON or YAML"),
        ("[{spec: {kind: quantize, model: m}, prio: 9}]", "jobs.0.prio: unknown field"),
        ("jobs: {a: {spec: {kind: infer, model: m, kcore: {job: b}}}}", "name: is missing"),
        ("name: p\njobs: {infer: {spec: {kind: compile, c_source: {path: /x}}}}", "jobs.infer.spec.c_source"),
        (b"\xff\xfe\x00", "not UTF-8"),
        ("spec: {kind: quantize, model: ../../etc}", "spec.model"),
        ("spec: {kind: quantize, model: --help}", "spec.model"),
    ],
)
def test_a_document_that_is_no_request_is_one_line(tx81, at_site, monkeypatch, document, told):
    given(monkeypatch, document)

    ran = tx81("submit", "-")

    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert told in ran.err


def test_what_only_the_server_can_refuse_names_its_field_too(tx81, at_site, monkeypatch):
    given(monkeypatch, "[{spec: {kind: quantize, model: unregistered}}]")

    ran = tx81("submit", "-")

    assert ran.code == 5
    assert ran.err.startswith("tx81: jobs.0.spec.model: ")


def test_prompts_of_the_server_outside_its_allowed_roots_are_refused(tx81, at_site):
    ran = tx81("run", "--model", MODEL, "--backend-type", "qwen2_7b_bf16", "--prompts", "server:/etc/passwd")

    assert ran.code == 5
    assert "jobs.infer.spec.prompts.path: /etc/passwd is not under an allowed root" in ran.err


def test_a_file_that_is_not_there_is_named(tx81, at_site):
    ran = tx81("submit", "没有.yaml")

    assert ran.code == 2
    assert "没有.yaml: cannot be read" in ran.err


def test_a_packed_model_is_sent_and_registered(tx81, at_site, tmp_path):
    archive = tmp_path / "tiny.tar.gz"
    subprocess.run(["tar", "-czf", archive, "-C", at_site.tools["model"], "."], check=True)

    ran = tx81("models", "upload", "sent", archive, "--output", "json")

    assert ran.code == 0, ran.err
    assert ran.document["family"] == "qwen2"


def test_a_file_that_is_no_archive_is_refused_in_one_line(tx81, at_site, tmp_path):
    (tmp_path / "notes.txt").write_text("no weights")

    ran = tx81("models", "upload", "notes", tmp_path / "notes.txt")

    assert ran.code == 5
    assert ran.err.count("\n") == 1
    assert "upload: not a complete .tar or .tar.gz" in ran.err
