"""A suite: what is measured again and again, as a person writes it, and the cells and jobs that follow from it. Pure.

A cell is one combination of the matrix. Its key names the values of the axes that the matrix gives, so it stays the
same when other values are added.
"""

import math
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from orchestrator.model.batch_runs import BatchSizes
from orchestrator.model.cache_keys import digest_of
from orchestrator.model.spec_words import (
    LONGEST_SECONDS,
    MAX_TOKENS,
    BuildInput,
    FileInput,
    Label,
    Name,
    PromptsInput,
    SlotPattern,
)
from orchestrator.model.spec_words import Strict as Strict
from orchestrator.model.specs import Limits

MOST_CELLS = 1000
MOST_JOBS_OF_A_RUN = 1000
"""Written in one transaction, which takes some tenths of a second."""
MOST_REPEATS = 200
MOST_VALUES_OF_AN_AXIS = 100

Across = Literal[
    "model", "kcore", "toolchain", "backend_type", "precision", "release", "prompts", "golden", "gm", "max_tokens",
    "repeats", "groups", "cards", "batch_sizes", "traverse", "txda_log", "slots", "host",
]  # fmt: skip
"""Fields of a run's setting (`orchestrator.comparisons.runs`) that may differ from the baseline."""


class RunPurpose(StrEnum):
    """What a run of a suite is for."""

    MEASURE = "measure"  #: Against the baseline.
    AA = "aa"  #: The same thing against itself: its noise floor.
    AB = "ab"  #: Two things side by side in one reservation.


class JobRole(StrEnum):
    """What a job of a suite run is for."""

    MEASURE = "measure"
    REPEAT = "repeat"  #: The first ones did not suffice to say.
    CONFIRM_SAME = "confirm_same"  #: On the card group on which it was worse.
    CONFIRM_OTHER = "confirm_other"  #: On another one.
    A = "a"
    B = "b"


class CellOutcome(StrEnum):
    """What is known of a cell once its run has ended."""

    GOOD = "good"  #: Same or better.
    WORSE = "worse"  #: Worse, and not measured again, because the suite does not confirm.
    MODEL_OR_TOOLCHAIN = "model_or_toolchain"  #: Worse again, on this card group and on another one.
    CARD = "card"  #: Worse again on this card group only.
    NOT_CONFIRMED = "not_confirmed"  #: Not worse when measured again: a false alarm.
    UNDECIDED = "undecided"  #: Worse, but the second measurement did not decide.
    UNJUDGED = "unjudged"  #: Unknown, missing, not comparable, or spoiled by the infrastructure.


ALARMS = frozenset({CellOutcome.MODEL_OR_TOOLCHAIN, CellOutcome.CARD, CellOutcome.NOT_CONFIRMED, CellOutcome.UNDECIDED})
"""Outcomes of cells that were worse at first and were measured again."""


class PromptSet(Strict):
    """Questions, and the answers that are expected if they are known."""

    prompts: PromptsInput
    golden: FileInput | None = None


class RunOptions(Strict):
    """How the inference of a cell is run; what is absent is as in a job."""

    max_tokens: int | None = Field(default=None, ge=1, le=MAX_TOKENS)
    repeats: int | None = Field(default=None, ge=1, le=100_000, description="Of every prompt within one job.")
    groups: int | None = Field(default=None, ge=1, le=8)
    batch_sizes: BatchSizes | None = None
    traverse: bool | None = None


class CellPattern(Strict):
    """The cells that have all of these values."""

    model: Name | None = None
    backend_type: Name | None = None
    release: Name | None = None
    prompts: Name | None = None
    options: Name | None = None
    slots: SlotPattern | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "CellPattern":
        if not self.model_fields_set:
            raise ValueError("it is empty and would exclude every cell; name at least one value")
        return self


class SuiteMatrix(Strict):
    """The axes; every combination that `exclude` does not name is a cell."""

    models: tuple[Name, ...] = Field(min_length=1, max_length=MOST_VALUES_OF_AN_AXIS)
    backend_types: tuple[Name, ...] = Field(
        default=(), max_length=MOST_VALUES_OF_AN_AXIS, description="Built for each cell; omit with template.kcore."
    )
    releases: tuple[Name, ...] = Field(
        default=(), max_length=MOST_VALUES_OF_AN_AXIS, description="Default: the default release of the day."
    )
    prompts: dict[Name, PromptSet] = Field(min_length=1, max_length=MOST_VALUES_OF_AN_AXIS)
    options: dict[Name, RunOptions] = Field(default={}, max_length=MOST_VALUES_OF_AN_AXIS)
    slots: tuple[SlotPattern, ...] = Field(
        default=(), max_length=MOST_VALUES_OF_AN_AXIS, description="g3 or HOST.g3. Default: any free card group."
    )
    exclude: tuple[CellPattern, ...] = Field(default=(), max_length=MOST_VALUES_OF_AN_AXIS)

    @model_validator(mode="after")
    def _values_differ(self) -> "SuiteMatrix":
        for axis in ("models", "backend_types", "releases", "slots"):
            if len(set(values := getattr(self, axis))) < len(values):
                raise ValueError(f"{axis} lists a value twice; list it once")
        return self

    @property
    def size(self) -> int:
        """Number of combinations, without `exclude`."""
        return math.prod(len(values) or 1 for values in self.axes.values())

    @property
    def axes(self) -> dict[str, tuple[str, ...]]:
        """The values of each axis, by the name that keys use; no values: the axis is not given."""
        return {
            "model": self.models, "backend_type": self.backend_types, "release": self.releases,
            "prompts": tuple(self.prompts), "options": tuple(self.options), "slots": self.slots,
        }  # fmt: skip


class CellTemplate(Strict):
    """What a cell runs: its kernel image is built, or is one that exists; then every repeat is one inference."""

    quantize: bool = Field(default=False, description="Quantise the weights before they are converted.")
    kcore: BuildInput | None = Field(default=None, description="An existing kernel image instead of backend_types.")
    gm: BuildInput | None = Field(default=None, description="The quantised weights an int8 kcore was built from.")
    priority: int = Field(default=1, ge=0, le=9, description="Of all its jobs; 9 first.")
    labels: dict[Label, Label] = Field(default={}, description="Inferences run only on hosts with these labels.")
    limits: Limits = Field(default=Limits(), description="Of the inferences.")
    tool_retries: int = Field(default=0, ge=0, le=10)


class GateRule(Strict):
    """When a difference of a metric counts."""

    effect: float = Field(default=0.03, gt=0, le=10, description="Smallest relative difference that matters.")
    alpha: float = Field(
        default=0.01, gt=0, lt=0.5, description="Probability of better or worse if nothing has changed."
    )
    direction: Literal["higher", "lower"] | None = Field(
        default=None, description="Which values are better. Default: what is known of the metric."
    )


MetricName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,59}$")]


class MedianOfGood(Strict):
    """A cell is held to its latest good runs together."""

    median_of_good: int = Field(ge=2, le=20, description="Number of good runs.")


class SuiteDocument(Strict):
    """A suite as it is applied."""

    name: Name
    project: Name = "default"
    matrix: SuiteMatrix
    template: CellTemplate = CellTemplate()
    repeats: int = Field(default=3, ge=1, le=MOST_REPEATS, description="Inferences of each cell at first.")
    budget: int | None = Field(
        default=None, ge=1, le=MOST_REPEATS, description="Most inferences of a cell. Default: repeats."
    )
    gates: dict[MetricName, GateRule] = Field(
        default={}, max_length=50, description="Metrics that are judged; no other is."
    )
    answers: Literal["unchanged", "not_worse", "report"] = "unchanged"
    baseline: Literal["set", "previous_good"] | MedianOfGood = Field(
        default="set",
        description="What cells are held to: the baseline that a person set, or the good runs after it.",
    )
    across: tuple[Across, ...] = Field(default=(), description="What may differ from the baseline.")
    confirm: bool = Field(default=True, description="Measure what is worse again before it is reported.")
    max_jobs: int = Field(default=200, ge=1, le=MOST_JOBS_OF_A_RUN, description="Most jobs of one run at first.")
    max_age_seconds: int | None = Field(
        default=None, ge=60, le=LONGEST_SECONDS, description="The suite is missing if it was not judged for so long."
    )

    @model_validator(mode="after")
    def _is_whole(self) -> "SuiteDocument":
        built, given = bool(self.matrix.backend_types), self.template.kcore is not None
        if built == given:
            raise ValueError("give either matrix.backend_types, to build from, or template.kcore")
        if given and self.template.quantize:
            raise ValueError("template.quantize is for kernel images that are built; omit it, or template.kcore")
        if built and self.template.gm is not None:
            raise ValueError("template.gm belongs to template.kcore; write quantize: true to make it")
        if self.most_runs < self.repeats:
            raise ValueError(f"budget {self.budget} is less than repeats {self.repeats}; raise it")
        if self.answers == "report" and not self.gates:
            raise ValueError("nothing is judged: give gates for metrics, or a rule for answers")
        return self

    @property
    def most_runs(self) -> int:
        """Most inferences of a cell, before a difference is confirmed."""
        return self.repeats if self.budget is None else self.budget

    @property
    def looks(self) -> tuple[int, ...]:
        """How many inferences a cell has each time it is judged: `repeats`, twice that, and so on up to the budget."""
        sizes = [self.repeats]
        while sizes[-1] < self.most_runs:
            sizes.append(min(2 * sizes[-1], self.most_runs))
        return tuple(sizes)

    def normalised(self) -> dict[str, Any]:
        """As plain data with every default written out: what two spellings of one suite have in common."""
        return self.model_dump(mode="json")

    @property
    def digest(self) -> str:
        """Of the normalised document: its version."""
        return digest_of(self.normalised())


class SuiteRunRequest(Strict):
    """A request to run a suite."""

    purpose: Literal["measure", "aa"] = Field(
        default="measure", description="aa: against itself, twice the budget; its noise raises the gates."
    )
