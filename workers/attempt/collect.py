"""The outputs of a run: found by the profile's globs, never by a constructed name, and put into the store."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.model.bystanders import is_bystander
from orchestrator.model.profile import OutputRule
from orchestrator.model.specs import ClientSpec, ConvertSpec, InferSpec
from orchestrator.results.answers import CheckedAnswer, exact
from orchestrator.results.metrics import Measured, compared, measure
from orchestrator.storage import logs
from orchestrator.storage.artifacts import ArtifactStore
from workers.load.book import BadMetrics, read_metrics
from workers.toolchain.answers import (
    Asked,
    BadAnswers,
    count_prompts,
    in_one_count,
    problems_with,
    read_answers,
    read_golden,
)
from workers.toolchain.commands import Plan
from workers.toolchain.token_counts import counted

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
        found = matches(plan, rule, since_ns=since_ns)
        lacking = [(one, glob) for one in found for glob in rule.must_contain if not _holds(one, glob)]
        if not found and not rule.required:
            continue
        if not found:
            where = f"{rule.glob} below {plan.path(rule.search)}{_usually(plan)}"
            results.problems.append(f"no {name}: no new file matches {where}")
        elif lacking:
            results.problems.append(
                f"{name} is incomplete: no {', '.join(glob for _, glob in lacking)} in {lacking[0][0]}"
            )
        else:
            results.outputs += _all_stored(store, name, found, tree=rule.kind == "tree")
    if plan.kind.answers is not None and isinstance(plan.spec, InferSpec | ClientSpec):
        try:
            _read_answers(plan, plan.spec, results, since_ns=since_ns, seconds=seconds)
        except (BadAnswers, BadMetrics) as bad:
            results.problems.append(str(bad))
    return results


def logs_beside(plan: Plan, work: Path) -> dict[str, list[Path]]:
    """The log files that the tool and the runtime of its devices wrote in addition to its output, by artifact name."""
    named = {"vendor_log": plan.kind.logs, "txda_log": plan.kind.device_logs}
    return {name: found for name, globs in named.items() if (found := _log_files(work, globs))}


def _log_files(work: Path, globs: Sequence[str]) -> list[Path]:
    found = {path for glob in globs for path in work.glob(glob) if path.is_file() and not path.is_symlink()}
    return sorted(found)[:MOST_FILES]


def store_logs(beside: Mapping[str, Sequence[Path]], store: ArtifactStore) -> list[Output]:
    """Store them as `vendor_log`, or as `vendor_log.1` and so on if there are several."""
    return [output for name, paths in beside.items() for output in _all_stored(store, name, paths, tree=False)]


def seal_log(path: Path, store: ArtifactStore, *, name: str) -> tuple[Output, int]:
    """Store the whole log, sealed, as the artifact `log`; also returns its size in raw bytes."""
    sealed = path.with_name(name)
    told = logs.seal(path, sealed)
    return _stored(store, "log", sealed, tree=False), told.bytes


def matches(plan: Plan, rule: OutputRule, *, since_ns: int) -> list[Path]:
    """The newest match of a rule, or all matches by name if it takes several; a link that points out of the search
    folder is no match."""
    search = plan.path(rule.search)
    fresh = []
    for match in search.glob(rule.glob):
        artifact = match.parents[rule.parents - 1] if rule.parents else match
        inside = artifact.resolve().is_relative_to(search.resolve())
        known = not is_bystander(str(match.relative_to(search)))
        if inside and known and artifact.is_dir() == (rule.kind == "tree"):
            written = _written_ns(artifact)
            if not rule.newer_than_start or written >= since_ns:
                fresh.append((written, artifact))
    if rule.several:
        return sorted(artifact for _, artifact in fresh)[:MOST_FILES]
    return [max(fresh)[1]] if fresh else []


def _read_answers(plan: Plan, spec: InferSpec | ClientSpec, results: Results, *, since_ns: int, seconds: float) -> None:
    rule = plan.kind.answers
    assert rule is not None
    out = Path(plan.words["out"])
    files = sorted(path for path in out.glob(rule.glob) if _written_ns(path) >= since_ns)
    if not files and not results.problems:
        results.problems.append(f"no answers: no new file matches {rule.glob} below {out}")
    if results.problems:
        return
    loaded = isinstance(spec, ClientSpec) and spec.load is not None
    if loaded:
        # A load may have unanswered requests, and counts them.
        given = read_answers(files, rule)
    else:
        asked = _asked(spec, count_prompts(Path(plan.words["prompts"])))
        told = read_answers(files, rule, prompts=asked.prompts, most=asked.answers)
        results.problems += problems_with(told, asked)
        given = [] if results.problems else in_one_count(told, asked)
    model = Path(plan.words["model"]) if "model" in plan.words else None
    given, counter = counted(given, model)
    golden = read_golden(Path(plan.words["golden"])) if "golden" in plan.words else None
    for answer in given:
        reference = golden.answer_to(answer.question, answer.index) if golden is not None else None
        results.answers.append(CheckedAnswer(answer, reference, exact(answer.text, reference)))
    exactly = [checked.exact for checked in results.answers]
    if loaded:
        results.metrics += [*compared(exactly), *read_metrics(Path(plan.words["out"]))]
    else:
        results.metrics += measure(given, exactly, seconds, counter)


def _asked(spec: InferSpec | ClientSpec, prompts: int) -> Asked:
    if isinstance(spec, ClientSpec):
        return Asked(prompts, spec.repeats, (spec.askers,), most_empty=spec.most_empty)
    return Asked(prompts, spec.repeats, spec.sizes, traverse=spec.traverse, most_empty=spec.most_empty)


def _usually(plan: Plan) -> str:
    """The usual folder, for a person who searches: the converter derives its name from the type, but not always."""
    if not isinstance(plan.spec, ConvertSpec):
        return ""
    folder = plan.profile.backend_types[plan.spec.backend_type].output
    return "" if folder is None else f" (usually in {folder})"


def _holds(folder: Path, glob: str) -> bool:
    return any(path.is_file() and path.stat().st_size > 0 for path in folder.glob(glob))


def _written_ns(path: Path) -> int:
    """When a file in it was last written: rewriting a file does not change the time of its folder."""
    return max((entry.lstat().st_mtime_ns for entry in _all_of(path)), default=0)


def _all_of(path: Path) -> Iterator[Path]:
    yield path
    if path.is_dir() and not path.is_symlink():
        yield from path.rglob("*")


def _all_stored(store: ArtifactStore, name: str, paths: Sequence[Path], *, tree: bool) -> list[Output]:
    """One file gets the name itself, several are numbered."""
    names = [name] if len(paths) == 1 else [f"{name}.{number}" for number in range(1, len(paths) + 1)]
    return [_stored(store, name, path, tree=tree) for name, path in zip(names, paths, strict=True)]


def _stored(store: ArtifactStore, name: str, path: Path, *, tree: bool) -> Output:
    stored = store.put_tree(path) if tree else store.put_file(path)
    # A name of bytes that are not UTF-8 would be refused by SQL.
    shown = path.name.encode("utf-8", "replace").decode()[:255]
    return Output(name=name, digest=stored.digest, tree=tree, file_name=shown, size=stored.size)
