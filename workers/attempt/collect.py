"""The outputs of a run: found by the profile's globs, never by a constructed name, and put into the store."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

from orchestrator.catalog.kcore_trees import kernel_image, require_whole
from orchestrator.model.bystanders import is_bystander
from orchestrator.model.kcores import BadKcore
from orchestrator.model.profile import OutputRule
from orchestrator.model.specs import PRODUCES, ClientSpec, ConvertSpec, InferSpec
from orchestrator.results.answers import CheckedAnswer
from orchestrator.results.metrics import Measured
from orchestrator.storage import logs
from orchestrator.storage.artifacts import ArtifactStore
from workers.attempt.given_answers import answered
from workers.load.book import BadMetrics
from workers.toolchain.answers import BadAnswers
from workers.toolchain.commands import Plan
from workers.toolchain.written import written_ns

_WILD = re.compile(r"[*?[]")

MOST_FILES = 20
"""Largest number of files of one kind that are stored: a tool that leaves more logs or answer files wrote something
else."""


@dataclass(frozen=True)
class Output:
    """One stored artifact of the attempt."""

    name: str
    digest: str
    tree: bool
    file_name: str
    size: int


@dataclass
class Results:
    """Everything stored of an attempt; `problems` list the outputs that a successful run should have left and did
    not."""

    outputs: list[Output] = field(default_factory=list)
    answers: list[CheckedAnswer] = field(default_factory=list)
    metrics: list[Measured] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def collect(plan: Plan, store: ArtifactStore, *, since_ns: int, seconds: float) -> Results:
    """Find, check and store every output; files with a time from `since_ns` on belong to the attempt."""
    results = Results()
    for name, rule in plan.kind.outputs.items():
        try:
            found = matches(plan, rule, since_ns=since_ns)
        except BadKcore as bad:
            results.problems.append(f"no {name} below {plan.path(rule.search)}: {bad}")
            continue
        lacking = [(one, glob) for one in found for glob in rule.must_contain if not _holds(one, glob)]
        if not found and not _is_required(plan, name, rule):
            continue
        if not found:
            where = f"{' or '.join(rule.globs)} below {plan.path(rule.search)}{_usually(plan)}"
            results.problems.append(f"no {name}: no new file matches {where}")
        elif lacking:
            results.problems.append(
                f"{name} is incomplete: no {', '.join(glob for _, glob in lacking)} in {lacking[0][0]}"
            )
        else:
            results.outputs += _all_stored(store, name, found)
    if plan.kind.answer_rules and not results.problems and isinstance(plan.spec, InferSpec | ClientSpec):
        try:
            results.answers, results.metrics = answered(plan, plan.spec, since_ns=since_ns, seconds=seconds)
        except (BadAnswers, BadMetrics) as bad:
            results.problems.append(str(bad))
    return results


def _is_required(plan: Plan, name: str, rule: OutputRule) -> bool:
    """Of a run whose answers are not read, nobody knows how their files are called."""
    return rule.required and not (name == PRODUCES["infer"] and plan.kind.answers == "none")


def logs_beside(plan: Plan, work: Path, *, since_ns: int) -> dict[str, list[Path]]:
    """The log files that the tool and the runtime of its devices wrote in addition to its output, by artifact name."""
    named = {"vendor_log": plan.kind.logs, "txda_log": plan.kind.device_logs}
    return {name: found for name, globs in named.items() if (found := _log_files(plan, work, globs, since_ns=since_ns))}


def _log_files(plan: Plan, work: Path, globs: Sequence[str], *, since_ns: int) -> list[Path]:
    """Below the working folder, all; in a folder that others use too, those written since the attempt began."""
    found = set()
    for glob in globs:
        filled = plan.path(glob)
        folder = work
        if filled.is_absolute():
            fixed = list(takewhile(lambda part: not _WILD.search(part), filled.parts[:-1]))
            folder = Path(*fixed)
            filled = filled.relative_to(folder)
        own = folder.is_relative_to(work)
        for path in folder.glob(str(filled)):
            if path.is_file() and not path.is_symlink() and (own or path.lstat().st_mtime_ns >= since_ns):
                found.add(path)
    return sorted(found)[:MOST_FILES]


def store_logs(beside: Mapping[str, Sequence[Path]], store: ArtifactStore) -> list[Output]:
    """Store them as `vendor_log`, or as `vendor_log.1` and so on if there are several."""
    return [output for name, paths in beside.items() for output in _all_stored(store, name, paths)]


def seal_log(path: Path, store: ArtifactStore, *, name: str) -> tuple[Output, int]:
    """Store the whole log, sealed, as the artifact `log`; also returns its size in raw bytes."""
    sealed = path.with_name(name)
    told = logs.seal(path, sealed)
    return _stored(store, "log", sealed, tree=False), told.bytes


def matches(plan: Plan, rule: OutputRule, *, since_ns: int) -> list[Path]:
    """The newest match of the first glob that has one, or all its matches by name if the rule takes several; a link
    that points out of the search folder is no match. BadKcore if a kernel image is not there, or not whole."""
    search = plan.path(rule.search)
    if rule.kind == "kcore":
        if not rule.required and not search.is_dir():
            return []
        node = kernel_image(search, since_ns=since_ns if rule.newer_than_start else 0)
        require_whole(node)
        return [node]
    for glob in rule.globs:
        if fresh := _fresh(search, glob, rule, since_ns):
            return sorted(artifact for _, artifact in fresh)[:MOST_FILES] if rule.several else [max(fresh)[1]]
    return []


def _fresh(search: Path, glob: str, rule: OutputRule, since_ns: int) -> list[tuple[int, Path]]:
    """What matches, with the time when it was last written."""
    fresh = []
    for match in search.glob(glob):
        artifact = match.parents[rule.parents - 1] if rule.parents else match
        inside = artifact.resolve().is_relative_to(search.resolve())
        known = not is_bystander(str(match.relative_to(search)))
        fits = rule.kind == "file_or_tree" or artifact.is_dir() == (rule.kind == "tree")
        if inside and known and fits:
            written = written_ns(artifact)
            if not rule.newer_than_start or written >= since_ns:
                fresh.append((written, artifact))
    return fresh


def _usually(plan: Plan) -> str:
    """The usual folder, for a person who searches: the converter derives its name from the type, but not always."""
    if not isinstance(plan.spec, ConvertSpec):
        return ""
    folder = plan.profile.backend_types[plan.spec.backend_type].output
    return "" if folder is None else f" (usually in {folder})"


def _holds(folder: Path, glob: str) -> bool:
    return any(path.is_file() and path.stat().st_size > 0 for path in folder.glob(glob))


def _all_stored(store: ArtifactStore, name: str, paths: Sequence[Path]) -> list[Output]:
    """One file gets the name itself, several are numbered."""
    names = [name] if len(paths) == 1 else [f"{name}.{number}" for number in range(1, len(paths) + 1)]
    return [_stored(store, name, path, tree=path.is_dir()) for name, path in zip(names, paths, strict=True)]


def _stored(store: ArtifactStore, name: str, path: Path, *, tree: bool) -> Output:
    stored = store.put_tree(path) if tree else store.put_file(path)
    # A name of bytes that are not UTF-8 would be refused by SQL.
    shown = path.name.encode("utf-8", "replace").decode()[:255]
    return Output(name=name, digest=stored.digest, tree=tree, file_name=shown, size=stored.size)
