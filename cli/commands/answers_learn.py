"""`tx81 answers learn`: the rule by which a profile reads the answers of a tool that nobody knew."""

from collections.abc import Iterator, Sequence
from typing import Any

import yaml
from rich.text import Text

from api.client.client import Client
from api.documents.artifacts import ArtifactView
from api.documents.jobs import JobDetail
from cli.session import HERE, Exit, Session, Stop, hint_on_terminal
from orchestrator.results.learned_rules import Learned, LeftFile, learned
from orchestrator.results.prompts import questions_in

LEFT_FILES = "left_files"
_PROMPTS = "prompts"
_SEARCH = {"out": "{out}", "cwd": "{cwd}", "work": "{work}"}
"""Folder of the tree → the folder that a profile searches; in the order in which they are tried."""

_MOST_BYTES = 16 << 20
"""Of one file: the answers to one set of prompts."""
_MOST_FILES = 200
_MOST_TOLD = 10


def learn(job: int, /, *, session: Session = HERE) -> Exit:
    """Print, as YAML for the profile, the rule that reads the answers in the files that a job has left.

    The files are stored for a job whose answers could not be read, that failed, or whose profile says `answers: none`.
    """
    with session.client() as client:
        document, summary = rule_for(client, client.job(job))
    text = yaml.safe_dump({"kinds": document}, allow_unicode=True, sort_keys=False, width=120)
    session.emit({"kinds": document}, Text(text.rstrip("\n")))
    hint_on_terminal(summary)
    return Exit.OK


def rule_for(client: Client, detail: JobDetail) -> tuple[dict[str, Any], str]:
    """The entries of the job's kind with the rule that reads what it has left, and in one line what is read; Stop if
    there is none."""
    job = detail.id
    tree = _left_files(client, job)
    prompts, folders = _read(client, tree)
    for folder, search in _SEARCH.items():
        found = learned(folders[folder], prompts, search=search)
        if found is not None:
            summary = f"reads {found.answers} answers to {len(prompts)} prompts in {', '.join(found.files)}"
            return {profile_kind(detail): _entry(found)}, summary
    names = [f"{folder}/{file.path}" for folder, files in folders.items() for file in files]
    shown = ", ".join(names[:_MOST_TOLD]) or "none"
    raise Stop(
        f"no known reader finds all {len(prompts)} prompts with an answer in the files of job {job} ({shown}): look at "
        f"them with `tx81 artifacts get {tree.id}`, and write a rule with format: regex (docs/profiles.md)"
    )


def _left_files(client: Client, job: int) -> ArtifactView:
    found = client.artifacts(limit=1, job=job, name=LEFT_FILES).items
    if not found:
        raise Stop(
            f"job {job} has no {LEFT_FILES}: its answers were read, or it wrote nothing; to learn from a job that "
            "succeeds, set answers: none in the profile and run it again"
        )
    return found[0]


def _read(client: Client, tree: ArtifactView) -> tuple[list[str], dict[str, list[LeftFile]]]:
    """The prompts, and the files of each folder."""
    folders: dict[str, list[LeftFile]] = {name: [] for name in _SEARCH}
    prompts: Sequence[str] = []
    for path in _paths(client, tree):
        folder, _, below = path.partition("/")
        if path != _PROMPTS and folder not in folders:
            continue
        text = b"".join(client.content(tree.id, path)).decode("utf-8-sig", "replace")
        if path == _PROMPTS:
            prompts = questions_in(text)
        else:
            folders[folder].append(LeftFile(below, text))
    if not prompts:
        raise Stop(f"artifact {tree.id} has no prompts: answers are recognised by the questions before them")
    return list(prompts), folders


def _paths(client: Client, tree: ArtifactView) -> Iterator[str]:
    small = [entry for entry in client.entries(tree.id) if entry.size <= _MOST_BYTES]
    # The prompts lie in no folder, so they are among the first whatever the number of files.
    yield from sorted((entry.path for entry in small), key=lambda path: ("/" in path, path))[:_MOST_FILES]


def profile_kind(detail: JobDetail) -> str:
    """Under which of a profile's kinds it was run."""
    if detail.kind == "client":
        return f"client_{detail.spec['program']}"
    return "infer" if detail.kind == "canary" else detail.kind


def _entry(found: Learned) -> dict[str, object]:
    """The rule, and the output that is stored: the files that it reads.

    Every key is written, so that nothing of a profile below is left: null takes a key away."""
    output = {
        "search": found.rule.search, "glob": found.rule.glob, "kind": "file", "must_contain": [], "parents": 0,
        "several": True,
    }  # fmt: skip
    return {"answers": found.rule.model_dump(mode="json"), "outputs": {"answers": output}}
