"""Files that a request names by path, and prompts that it contains, stored before any row is written."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from orchestrator.catalog.paths import allowed_path
from orchestrator.catalog.text_files import read_text_file, safe_name
from orchestrator.errors import BadSpec, PathRefused
from orchestrator.model.requirements import Answering
from orchestrator.model.specs import FilePath, PromptLines, Spec, StoredArtifact, inputs_of
from orchestrator.results.text_files import FILE_LIMIT, check_golden, check_prompts, golden_in, prompts_in
from orchestrator.settings import Settings
from orchestrator.storage.artifacts import ArtifactStore

Written = FilePath | PromptLines
"""What is stored for a spec that has or names it."""


@dataclass(frozen=True)
class TakenIn:
    """A file that was put into the store."""

    digest: str
    size: int
    file_name: str
    at: datetime


class Intake:
    """The files of one submission: each is checked and stored once, even if several specs name it.

    One that does not keep them (`keeps`) only checks them, for a submission that is not meant yet."""

    def __init__(self, settings: Settings, store: ArtifactStore, *, keeps: bool = True) -> None:
        self._settings = settings
        self._store = store
        self._keeps = keeps
        self._unkept: dict[str, bytes] = {}
        self._taken_in: dict[tuple[str, Written], TakenIn] = {}
        self._related: set[tuple[str, str, bool]] = set()

    def take_in(self, spec: Spec) -> dict[str, TakenIn]:
        """Store every file the spec names by path or contains; PathRefused or BadSpec names the field at fault."""
        for name, source in _files(spec).items():
            if (name, source) not in self._taken_in:
                self._taken_in[name, source] = self._take_in(name, source)
        self._refuse_strange_golden(spec)
        return self.files_of(spec)

    def files_of(self, spec: Spec) -> dict[str, TakenIn]:
        """The files the spec names by path or contains; all of them have been stored before."""
        return {name: self._taken_in[name, source] for name, source in _files(spec).items()}

    def _take_in(self, name: str, source: Written) -> TakenIn:
        if isinstance(source, PromptLines):
            check_prompts(content := source.content(), f"spec.{name}.lines")
            return TakenIn(self._put(content), len(content), "prompts.txt", datetime.now(UTC))
        field = f"spec.{name}.path"
        path = allowed_path(self._settings, source.path, field)
        if not path.is_file():
            raise PathRefused(f"{source.path} is not a file", field=field)
        content = read_text_file(path, field)
        (check_golden if name == "golden" else check_prompts)(content, field)
        return TakenIn(self._put(content), len(content), safe_name(path), datetime.now(UTC))

    def _put(self, content: bytes) -> str:
        if self._keeps:
            return self._store.put_bytes(content).digest
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self._unkept[digest] = content
        return digest

    def _refuse_strange_golden(self, spec: Spec) -> None:
        """BadSpec if both files are known here, and the golden answers none of the prompts (it belongs to other
        prompts), or not all of them although its answers are required."""
        sources = inputs_of(spec)
        prompts, golden = (self._digest(name, sources.get(name)) for name in ("prompts", "golden"))
        if prompts is None or golden is None:
            return
        partial = isinstance(spec, Answering) and spec.requirement is None
        if (prompts, golden, partial) in self._related:
            return
        self._related.add((prompts, golden, partial))
        try:
            asked = prompts_in(self._content(prompts), "spec.prompts")
            known = [question.strip() for question, _ in golden_in(self._content(golden), "spec.golden")]
        except BadSpec:
            return  # stored under that name, but not such a file: the worker reports it
        if known and (strange := _lacking(asked, known, partial=partial)):
            self._related.discard((prompts, golden, partial))
            raise BadSpec(strange, field="spec.golden")

    def _digest(self, name: str, source: object) -> str | None:
        if isinstance(source, Written):
            return self._taken_in[name, source].digest
        if not isinstance(source, StoredArtifact) or not self._store.exists(source.digest):
            return None
        readable = not self._store.is_tree(source.digest) and self._store.size(source.digest) <= FILE_LIMIT
        return source.digest if readable else None

    def _content(self, digest: str) -> bytes:
        if digest in self._unkept:
            return self._unkept[digest]
        with self._store.open(digest) as stored:
            return stored.read(FILE_LIMIT)


def _files(spec: Spec) -> dict[str, Written]:
    return {name: source for name, source in inputs_of(spec).items() if isinstance(source, Written)}


def _lacking(asked: Sequence[str], known: Sequence[str], *, partial: bool) -> str | None:
    """Why a golden with these questions is none of the prompts; `partial`: it may have only some of them."""
    has = set(known)
    missing = [(number, prompt) for number, prompt in enumerate(asked, 1) if prompt.strip() not in has]
    if len(missing) == len(asked):
        return (
            f"the golden answers none of the {len(asked)} prompts: it has {len(known)} questions, the first is "
            f"{known[0][:60]!r}"
        )
    if not missing or partial:
        return None
    number, prompt = missing[0]
    return (
        f"the golden has no answer to {len(missing)} of the {len(asked)} prompts; the first is prompt {number}, "
        f"{prompt[:60]!r}: add them, or set require: report"
    )
