"""The document of an answer. Like `api.documents.base`, of which it is a part; the command line imports this module."""

from pydantic import Field

from api.documents.base import View


class AnswerView(View):
    """One prompt's response in one repeat of one batch."""

    attempt_id: int
    repeat: int
    index: int
    batch: int = Field(default=0, description="Index of the attempt's slot that gave it, from 0.")
    batch_size: int | None = Field(
        default=None,
        description="How many slots ran in parallel; repeats are numbered on from one batch size to the next.",
    )
    slot_id: str | None = Field(default=None, description="The slot that gave it.")
    question: str
    text: str
    prompt_tokens: int | None
    output_tokens: int | None
    seconds: float | None
    ttft_seconds: float | None
    finish_reason: str | None
    golden: str | None
    exact: bool | None = Field(description="Equal to the golden answer character for character; null without one.")
