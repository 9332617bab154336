"""How often, and with how many card groups side by side, an offline test is run in one job."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, model_validator

from orchestrator.model.slots import GROUPS_PER_HOST


def _differ(sizes: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(sizes)) < len(sizes):
        raise ValueError("a size is listed twice: use repeats instead")
    return sizes


BatchSizes = Annotated[
    tuple[Annotated[int, Field(ge=1, le=GROUPS_PER_HOST)], ...], Field(min_length=1), AfterValidator(_differ)
]
"""Numbers from 1 to 8, each once, in the order in which they run."""


class BatchRuns(BaseModel):
    """The part of a spec that says how the vendor's offline test goes through its batches."""

    groups: int
    batch_sizes: BatchSizes | None = Field(
        default=None,
        description="The whole test once for each of these numbers of groups, one after the other ([1, 5, 6]); "
        "the job occupies the largest number of groups all the time.",
    )
    traverse: bool = Field(
        default=True, description="True: each batch answers all prompts; false: the prompts are divided among them."
    )
    txda_log: bool = Field(
        default=False, description="The device runtime logs to files, stored as txda_log, instead of the tool's output."
    )

    @model_validator(mode="before")
    @classmethod
    def _counts_its_largest_batch(cls, given: Any) -> Any:
        """Batch sizes alone say how many groups they need; what is none is refused where it stands."""
        sizes = given.get("batch_sizes") if isinstance(given, Mapping) and "groups" not in given else None
        if not isinstance(sizes, list | tuple) or not sizes:
            return given
        legal = all(type(size) is int and 1 <= size <= GROUPS_PER_HOST for size in sizes)
        return {**given, "groups": max(sizes)} if legal else given

    @model_validator(mode="after")
    def _groups_are_the_largest_batch(self) -> "BatchRuns":
        if self.batch_sizes is not None and max(self.batch_sizes) != self.groups:
            told = "1 card group" if self.groups == 1 else f"{self.groups} card groups"
            most = max(self.batch_sizes)
            raise ValueError(f"the largest of batch_sizes is {most}, but it has {told}: omit groups and cards")
        return self

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many groups answer side by side, one number for each time that the whole test runs."""
        return self.batch_sizes or (self.groups,)
