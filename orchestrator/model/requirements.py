"""What the answers of a job have to be: the rule against its golden, and how many may be empty. Pure."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, Discriminator, Field, Tag, model_validator

from orchestrator.model.spec_words import MAX_ANSWERS, FileInput, Strict

EXACT: Literal["exact"] = "exact"
REPORT: Literal["report"] = "report"


class Similarity(Strict):
    """Every answer is at least this similar to its golden answer."""

    similarity: float = Field(
        gt=0, le=1, allow_inf_nan=False,
        description="2 × longest common subsequence / sum of both lengths, in characters (RapidFuzz's Indel ratio).",
    )  # fmt: skip


class FinalAnswer(Strict):
    """What follows the last `</think>` is equal, without the space around it."""

    final_answer: bool

    @model_validator(mode="after")
    def _is_meant(self) -> "FinalAnswer":
        if not self.final_answer:
            raise ValueError("write {final_answer: true}, or another rule: exact, report")
        return self


_WORD, _SIMILARITY, _FINAL = "a_word", "a_similarity", "a_final_answer"


def _form(given: object) -> str | None:
    """Which of the forms is meant; None for what is none."""
    if given in (EXACT, REPORT):
        return _WORD
    if isinstance(given, BaseModel):
        return _SIMILARITY if isinstance(given, Similarity) else _FINAL
    names = set(given) if isinstance(given, Mapping) else set()
    return _SIMILARITY if "similarity" in names else _FINAL if "final_answer" in names else None


Require = Annotated[
    Annotated[Literal["exact", "report"], Tag(_WORD)]
    | Annotated[Similarity, Tag(_SIMILARITY)]
    | Annotated[FinalAnswer, Tag(_FINAL)],
    Discriminator(
        _form,
        custom_error_type="require",
        custom_error_message="write exact, report, {similarity: 0.98} or {final_answer: true}",
    ),
]
"""`exact`: character for character. `report`: compared and counted, but nothing follows from it."""


class Answering(BaseModel):
    """The part of a spec that says what its answers have to be."""

    golden: FileInput | None = None
    require: Require | None = Field(
        default=None,
        description="What answers have to be, compared with the golden, which has one for each; otherwise the job "
        "fails with wrong_answers. Default: exact where a golden is given.",
    )
    most_empty: int | None = Field(
        default=None, ge=0, le=MAX_ANSWERS,
        description="Most answers that may be empty. Default: any number, but not all of them.",
    )  # fmt: skip

    @model_validator(mode="after")
    def _has_something_to_meet(self) -> "Answering":
        if self.golden is None and self.require not in (None, REPORT):
            raise ValueError("require compares with golden answers: give golden, or omit require")
        return self

    @property
    def requirement(self) -> Require | None:
        """The rule that its answers are held to; None if nothing follows from the comparison."""
        if self.golden is None or self.require == REPORT:
            return None
        return EXACT if self.require is None else self.require
