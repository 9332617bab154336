"""The documents of results as data."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from api.documents.base import View
from orchestrator.model.states import JobState

Format = Literal["csv", "jsonl", "parquet"]


class NumberView(View):
    """One number of a run, with the definition it was computed by."""

    name: str
    value: float
    unit: str
    definition: str
    n: int = Field(description="Number of answers or requests that it was computed from.")
    counter: str | None = Field(description="Who counted the tokens: `tool`, or a tokenizer.")


class RunFacts(View):
    """What results of a run depend on."""

    job_id: int
    attempt_id: int | None
    name: str
    project: str
    kind: str
    state: JobState
    ended_at: datetime | None
    host: str | None
    slots: tuple[str, ...]
    cards: tuple[int, ...] = Field(description="Numbers of the cards on that host; empty on CPU seats.")
    model: str | None
    model_digest: str | None
    kcore: str | None
    toolchain: str | None = Field(description="Digest of the release that built the kernel image, if known.")
    release: str | None
    release_digest: str | None
    prompts: str | None
    golden: str | None
    options: dict[str, Any] = Field(description="All other fields of the spec.")
    warm: bool = Field(description="The model was loaded before: a client's requests to a server.")
    doubt: str | None = Field(description="Why these results are shown but not used; null if they are used.")


class MeasuredRunView(RunFacts):
    """A run with its numbers."""

    metrics: tuple[NumberView, ...]


class GivenAnswerView(RunFacts):
    """One answer with all that it depends on."""

    repeat: int
    index: int
    batch: int
    slot_id: str | None
    question: str
    text: str
    prompt_tokens: int | None
    output_tokens: int | None
    seconds: float | None
    ttft_seconds: float | None
    finish_reason: str | None
    exact: bool | None
