"""`tx81 answers learn` on the files that a job has left."""

from pathlib import Path

import pytest
import yaml

from orchestrator.catalog.profile_files import load_profile
from orchestrator.settings import Settings
from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Artifact

PROMPTS = "你是谁？\nWhat is 2+2?\n"
TEXT = "Question: 你是谁？\nAnswer: 我是一个模型。\nQuestion: What is 2+2?\nAnswer: 4\n"
JSON = '{"q": "你是谁？", "a": "我是一个模型。"}\n{"q": "What is 2+2?", "a": "4"}\n'


def left(site, job, files, folder: Path):
    """What its attempt would have stored."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    settings = Settings(state_dir=site.token_file.parent)
    tree = ArtifactStore(settings.store).put_tree(folder)
    database = Database(f"sqlite:///{site.token_file.parent / 'tx81.db'}")
    try:
        with database.write() as session:
            session.add(
                Artifact(
                    digest=tree.digest, tree=True, name="left_files", file_name="left_files", size=tree.size,
                    job_id=job, created_at=database.now(session),
                )
            )  # fmt: skip
    finally:
        database.close()


@pytest.mark.parametrize(
    ("name", "text", "form", "search"),
    [
        ("out/r.log", TEXT, "regex", "{out}"),
        ("cwd/sub/TX8_1.log", TEXT, "regex", "{cwd}"),
        ("out/r.json", JSON, "json_lines", "{out}"),
    ],
)
def test_the_rule_that_reads_the_files_is_yaml_that_a_profile_takes(
    tx81, at_site, queued, tmp_path, name, text, form, search
):
    left(at_site, queued, {"prompts": PROMPTS, name: text, "work/trace": "loading\n"}, tmp_path / "left")

    learned = tx81("answers", "learn", queued)

    assert learned.code == 0, learned.err
    assert "reads 2 answers to 2 prompts" in learned.err or not learned.err
    found = yaml.safe_load(learned.out)["kinds"]["quantize"]
    profile = {"extends": "txnn_1.2.1_build0307", "kinds": {"infer": found}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(profile, allow_unicode=True), encoding="utf-8")
    rule = load_profile(Settings(profile_dirs=(tmp_path,)), "mine").kinds["infer"].answers
    assert (rule.format, rule.search) == (form, search)
    assert set(rule.keys()) == {"question", "text"}


def test_files_that_no_reader_understands_are_named(tx81, at_site, queued, tmp_path):
    left(at_site, queued, {"prompts": PROMPTS, "out/r.bin": "loading\n"}, tmp_path / "left")

    refused = tx81("answers", "learn", queued)

    assert refused.code == 2
    assert "no known reader" in refused.err
    assert "out/r.bin" in refused.err


def test_a_job_without_such_files_says_how_to_get_them(tx81, at_site, queued):
    refused = tx81("answers", "learn", queued)

    assert refused.code == 2
    assert "answers: none" in refused.err
