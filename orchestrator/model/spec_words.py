"""The words that specs are made of: names, digests, paths, slots and cards, and where an input comes from."""

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    StringConstraints,
    Tag,
)
from pydantic_core import CoreSchema

from orchestrator.model.slots import (
    GROUPS_PER_HOST,
    SINGLE_CARD,
    WHOLE_HOST,
    SlotName,
    cards_of_groups,
    groups_of_cards,
)
from tx81 import start

LONGEST_SECONDS = 10 * 365 * 24 * 3600
"""Ten years: what is meant to be without limit still has to fit a calendar."""

MAX_TOKENS = 8192
"""The longest answer the vendor's scripts can be asked for (guide, offline and online parameters, `-mt`)."""

MAX_ANSWERS = 1_000_000_000
"""More than any job can give: 100,000 repeats of every prompt on every card group."""

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
DIGEST_PATTERN = r"^sha256:[0-9a-f]{64}$"

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
"""A name that is safe as a file name and can never be read as a flag."""

Digest = Annotated[str, StringConstraints(pattern=DIGEST_PATTERN)]


SERVER_PREFIX = "server:"
"""What says that a path is one of the server, where it could be one of the machine that asks."""


def _absolute(text: str) -> str:
    path = text.removeprefix(SERVER_PREFIX)
    if not path.startswith("/") or "\0" in path or len(path) > 4096:
        raise ValueError("must be an absolute path of the server, as server:/srv/q.txt")
    return path


AbsolutePath = Annotated[str, AfterValidator(_absolute)]
"""A path of the server, also written `server:/…`; checked against the configured roots at submission, where the file
system is known."""


def _slot_pattern(text: str) -> str:
    host, dot, slot = text.rpartition(".")
    SlotName.parse(slot)
    if dot and not re.fullmatch(NAME_PATTERN, host):
        raise ValueError(f"{host!r} is not a host name")
    return text


SlotPattern = Annotated[str, AfterValidator(_slot_pattern)]
"""`g3` (that slot of any host) or `HOST.g3`."""


def _cards(text: str) -> str:
    groups = groups_of_cards(text)
    if text == SINGLE_CARD:
        return text
    return WHOLE_HOST if len(groups) == GROUPS_PER_HOST else cards_of_groups(groups)


Label = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
"""Name or value of a host's label."""

Cards = Annotated[str, AfterValidator(_cards)]
"""Card groups of one host, kept in one spelling: ascending, and `0..31` where they are all eight."""


def _make_strict(schema: object) -> None:
    """Mark every number and boolean in a core schema as strict, in place."""
    if isinstance(schema, dict):
        if schema.get("type") in ("int", "float", "bool"):
            schema["strict"] = True
        for inner in schema.values():
            _make_strict(inner)
    elif isinstance(schema, list | tuple):
        for inner in schema:
            _make_strict(inner)


class Strict(BaseModel):
    """Base of every document a client sends: frozen; unknown fields are refused, and so is a value of another JSON
    type where a number or a boolean is expected (`true` is not 1, and "5" is not 5)."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=start.is_command_line)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[BaseModel], handler: GetCoreSchemaHandler) -> CoreSchema:
        """The schema of the fields; Pydantic's own `strict` would also refuse the lists that stand for tuples."""
        schema = handler(source)
        _make_strict(schema)
        return schema


class JobOutput(Strict):
    """An artifact that another job produces: by its name in the same pipeline, or by its number."""

    job: Name | int = Field(description="Name of a job of the same pipeline, or the number of any job.")
    artifact: Name = Field(description="What the producing kind calls it: gm, c_source, kcore, answers, log.")


class StoredArtifact(Strict):
    """An artifact already in the store."""

    digest: Digest


class FilePath(Strict):
    """A file of the server on a path under the allowed roots; it is taken into the store at submission."""

    path: AbsolutePath


MOST_INLINE_LINES = 1000
"""Questions in one spec; more are a file."""

LONGEST_QUESTION = 65_536
"""Characters of one question in a spec: more than any kernel image takes tokens."""


def _question(text: str) -> str:
    if not text.strip():
        raise ValueError("is blank, which is no question; remove it")
    if "\n" in text or "\r" in text:
        raise ValueError("has several lines, which the tools ask as several questions; write it on one line")
    if "\0" in text:
        raise ValueError("contains a NUL character; remove it")
    return text


class PromptLines(Strict):
    """Questions written in the request itself; stored as a file with one a line."""

    lines: tuple[Annotated[str, Field(max_length=LONGEST_QUESTION), AfterValidator(_question)], ...] = Field(
        min_length=1, max_length=MOST_INLINE_LINES
    )

    def content(self) -> bytes:
        """The file."""
        return "".join(f"{line}\n" for line in self.lines).encode()


_TOLD_BY: dict[str, type[Strict]] = {
    "job": JobOutput, "digest": StoredArtifact, "path": FilePath, "lines": PromptLines,
}  # fmt: skip


def _form(given: object) -> str | None:
    """Which input is meant, by the field that only it has; so that an error is reported for it alone."""
    if isinstance(given, Mapping):
        return next((form.__name__ for field, form in _TOLD_BY.items() if field in given), None)
    return type(given).__name__ if isinstance(given, tuple(_TOLD_BY.values())) else None


def _input(forms: str) -> Discriminator:
    return Discriminator(_form, custom_error_type="input_form", custom_error_message=f"give {forms}")


_Output = Annotated[JobOutput, Tag(JobOutput.__name__)]
_Stored = Annotated[StoredArtifact, Tag(StoredArtifact.__name__)]
_File = Annotated[FilePath, Tag(FilePath.__name__)]
_Lines = Annotated[PromptLines, Tag(PromptLines.__name__)]

BuildInput = Annotated[_Output | _Stored, _input("`job` with `artifact`, or `digest`")]
FileInput = Annotated[_Output | _Stored | _File, _input("`path`, or `job` with `artifact`, or `digest`")]
PromptsInput = Annotated[
    _Output | _Stored | _File | _Lines, _input("`lines`, `path`, or `job` with `artifact`, or `digest`")
]
InputSource = JobOutput | StoredArtifact | FilePath | PromptLines
"""Where an input comes from."""
