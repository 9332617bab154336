"""Orders of people about baselines."""

from typing import Annotated

from pydantic import Field, StringConstraints, field_validator, model_validator

from orchestrator.model.orders import LARGEST_NUMBER
from orchestrator.model.specs import Name, Strict

MOST_RUNS = 100
"""Jobs that one baseline is made of."""

CellKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._=,-]{1,800}$")]
"""One combination of a suite's matrix: `model=qwen,prompts=basic,slots=g3`."""

Why = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"\S")]
"""Why it is ordered; always required, and kept with what it changes."""

Number = Annotated[int, Field(ge=1, le=LARGEST_NUMBER)]


class BaselineOrder(Strict):
    """Make the results of these jobs the baseline of a cell."""

    suite: Name
    cell: CellKey
    jobs: tuple[Number, ...] = Field(default=(), max_length=MOST_RUNS)
    run: Number | None = Field(default=None, description="Instead of jobs: all that this run of the suite measured.")
    reason: Why
    replaces: Number | None = Field(
        default=None, description="The baseline in force, to accept a shift: the jobs have to be later than its own."
    )

    @field_validator("jobs")
    @classmethod
    def _each_once(cls, jobs: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(jobs)) < len(jobs):
            raise ValueError("names a job twice: every run counts once")
        return jobs

    @model_validator(mode="after")
    def _has_one_source(self) -> "BaselineOrder":
        if bool(self.jobs) == (self.run is not None):
            raise ValueError("say what is copied: give either jobs (a list of numbers) or run")
        return self


class Because(Strict):
    """Why it is ordered."""

    reason: Why
