"""Files that a request names by path, taken into the store before any row is written."""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from orchestrator.errors import BadSpec, PathRefused
from orchestrator.model.specs import FilePath, Spec, inputs_of
from orchestrator.registry import allowed_path
from orchestrator.results.goldens import pair_in
from orchestrator.settings import Settings
from orchestrator.storage.artifacts import ArtifactStore

FILE_LIMIT = 64 * 1024**2
"""Largest prompt or golden file; they are texts that people write."""


@dataclass(frozen=True)
class TakenIn:
    """A file that is in the store now."""

    digest: str
    size: int
    file_name: str
    at: datetime


class Intake:
    """Checks and stores the files of one submission, each once, however many of its specs name it."""

    def __init__(self, settings: Settings, store: ArtifactStore) -> None:
        self._settings = settings
        self._store = store
        self._taken_in = cache(self._take_in)

    def files_of(self, spec: Spec) -> dict[str, TakenIn]:
        """Store every file the spec names by path; PathRefused or BadSpec names the field at fault."""
        files = {name: source for name, source in inputs_of(spec).items() if isinstance(source, FilePath)}
        return {name: self._taken_in(name, source) for name, source in files.items()}

    def _take_in(self, name: str, source: FilePath) -> TakenIn:
        field = f"spec.{name}.path"
        path = allowed_path(self._settings, source.path, field)
        if not path.is_file():
            raise PathRefused(f"{source.path} is not a file", field=field)
        content = read_text_file(path, field)
        (check_golden if name == "golden" else check_prompts)(content, field)
        stored = self._store.put_bytes(content)
        return TakenIn(stored.digest, stored.size, safe_name(path), datetime.now(UTC))


def read_text_file(path: Path, field: str) -> bytes:
    """The bytes of a file that people write; PathRefused or BadSpec if they cannot be had, or are too many."""
    try:
        with path.open("rb") as stream:
            content = stream.read(FILE_LIMIT + 1)
    except OSError as trouble:
        raise PathRefused(f"{path} cannot be read: {trouble.strerror}", field=field) from None
    if len(content) > FILE_LIMIT:
        raise BadSpec(f"{path.name} is larger than {FILE_LIMIT >> 20} MiB", field=field)
    return content


def check_prompts(content: bytes, field: str) -> None:
    """BadSpec unless the file holds at least one question, one a line, in UTF-8."""
    if not any(line.strip() for line in text_of(content, field).split("\n")):
        raise BadSpec("the file holds no question: write one a line", field=field)


def check_golden(content: bytes, field: str) -> None:
    """BadSpec unless every line is a JSON object with the texts `question` and `answer` (or `response`)."""
    # Not splitlines(): inside a JSON string, U+2028 and its kin are characters like any other.
    lines = [(number, line) for number, line in enumerate(text_of(content, field).split("\n"), start=1) if line.strip()]
    if not lines:
        raise BadSpec('the file holds no answer: write {"question": …, "answer": …}, one a line', field=field)
    for number, line in lines:
        pair_in(line, number, field)


def prompts_in(content: bytes, field: str) -> list[str]:
    """The questions of a prompts file; BadSpec as in `check_prompts`."""
    check_prompts(content, field)
    return [line.strip() for line in text_of(content, field).split("\n") if line.strip()]


def text_of(content: bytes, field: str) -> str:
    """The bytes as text; BadSpec if they are not UTF-8, or hold NUL."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as trouble:
        raise BadSpec(
            f"the file is not UTF-8: byte {trouble.start} is 0x{content[trouble.start]:02x}", field=field
        ) from None
    if "\0" in text:
        raise BadSpec("the file holds NUL characters: it is not a text", field=field)
    return text


def safe_name(path: Path) -> str:
    """A file name that no tool can take for a flag."""
    cleaned = "".join(c if c.isalnum() or c in "._-" else "_" for c in path.name)[:100].lstrip("-.")
    return cleaned or "file"
