"""How the answers of a run are read from its files, as a profile says it: one rule, several, or none. Pure."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from orchestrator.model.patterns import Pattern
from orchestrator.model.specs import Strict

COLUMNS = frozenset(
    {
        "question", "text", "repeat", "index", "batch", "batch_size", "prompt_tokens", "output_tokens", "seconds",
        "ttft_seconds", "finish_reason",
    }
)  # fmt: skip
"""What can be read of an answer (`orchestrator.results.answers.GivenAnswer`)."""


class AnswerFiles(Strict):
    """Where answers are, in whatever format."""

    glob: str = Field(description="The files, below the search folder.")
    search: str = Field(default="{out}", description="Folder to search, with place-holders.")
    file_name: Pattern | None = Field(
        default=None,
        description="Looked for in a file's name; its groups batch_size, batch and repeat hold for all answers in it.",
    )
    counts_from: int = Field(default=0, ge=0, le=1, description="Number of the first question; repeats begin at 1.")


class JsonAnswers(AnswerFiles):
    """How to read answers that are JSON objects: the vendor's key for each of our columns.

    `json_lines`: one object a line. `json`: the file is one list of objects. Without `index` and `repeat`, answers are
    counted as those of text records are.
    """

    format: Literal["json_lines", "json"] = "json_lines"
    question: str
    text: str
    repeat: str | None = None
    index: str | None = None
    batch: str | None = Field(default=None, description="Which group of several answered, from 0; absent means 0.")
    batch_size: str | None = Field(default=None, description="How many groups answered side by side in that run.")
    output_tokens: str | None = None
    prompt_tokens: str | None = None
    seconds: str | None = None
    ttft_seconds: str | None = None
    finish_reason: str | None = None

    def keys(self) -> dict[str, str]:
        """Our column → the key it is read from, as far as they are named."""
        return {name: value for name, value in self if name in COLUMNS and value is not None}


class TextAnswers(AnswerFiles):
    """How to read answers that are text for people, in records of several lines.

    A record goes from a line that matches `starts` to the next such line; what stands before the first is no record.
    Line ends are read as \\n, and those at the end of a record are left out. `pattern` is looked for in each record; it
    has named groups `question` and `text`, and one for each other column of ours that the records tell. Without
    `index`, answers are counted in the order of the files; without `repeat`, a batch that has answered every prompt
    begins anew.
    """

    format: Literal["regex"]
    starts: Pattern
    pattern: Pattern

    @model_validator(mode="after")
    def _groups_are_columns(self) -> "TextAnswers":
        groups = re.compile(self.pattern).groupindex.keys()
        if lacking := {"question", "text"} - groups:
            raise ValueError(f"pattern: needs the named groups question and text, lacks {', '.join(sorted(lacking))}")
        if unknown := groups - COLUMNS:
            raise ValueError(f"pattern: unknown group {min(unknown)}; known are {', '.join(sorted(COLUMNS))}")
        return self

    def keys(self) -> dict[str, str]:
        """Our column → the group it is read from: they have the same name."""
        return {name: name for name in re.compile(self.pattern).groupindex}


def _format(rule: Any) -> str:
    told = rule.get("format", "json_lines") if isinstance(rule, Mapping) else getattr(rule, "format", "")
    return "json" if told in ("json_lines", "json") else str(told)


AnswersRule = Annotated[
    Annotated[JsonAnswers, Tag("json")] | Annotated[TextAnswers, Tag("regex")], Discriminator(_format)
]
"""How to read what a run has answered; JSON lines where the rule does not say its `format`."""


def _shape(value: Any) -> str:
    return "none" if isinstance(value, str) else "either_or" if isinstance(value, list | tuple) else "one"


TAGS = frozenset({"one", "either_or", "none", "json", "regex"})
"""They stand in the place of an error, where no person wrote them."""

Answers = Annotated[
    Annotated[AnswersRule, Tag("one")]
    | Annotated[tuple[AnswersRule, ...], Field(min_length=1), Tag("either_or")]
    | Annotated[Literal["none"], Tag("none")],
    Discriminator(_shape),
]
"""One rule; or several, of which the first that fits counts; or `none`: the answers are not read."""
