"""What can be asked for: one immutable spec per job kind, and the request around it.

A spec is *what* to do; it is hashed for the cache. A request adds who it is for, where it may run, how urgent it
is and how long it may take; none of that changes the result. Unknown fields are refused everywhere.
"""

import re
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from orchestrator.model.batch_runs import BatchRuns
from orchestrator.model.slots import (
    GROUPS_PER_HOST,
    SINGLE_CARD,
    WHOLE_HOST,
    SlotKind,
    SlotName,
    all_groups,
    cards_of_groups,
    groups_of_cards,
)

MAX_TOKENS = 8192
"""The longest answer the vendor's scripts can be asked for (guide, offline parameters, `-mt`)."""

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
DIGEST_PATTERN = r"^sha256:[0-9a-f]{64}$"

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
"""A name that is safe as a file name and can never be read as a flag."""

Digest = Annotated[str, StringConstraints(pattern=DIGEST_PATTERN)]


def _absolute(path: str) -> str:
    if not path.startswith("/") or "\0" in path or len(path) > 4096:
        raise ValueError("must be an absolute path")
    return path


AbsolutePath = Annotated[str, AfterValidator(_absolute)]
"""Checked against the configured roots at submission, where the file system is known."""


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


class Strict(BaseModel):
    """Base of every document a client sends: frozen, and unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class JobOutput(Strict):
    """An artifact that another job produces: by its name in the same pipeline, or by its number."""

    job: Name | int = Field(description="Name of a job of the same pipeline, or the number of any job.")
    artifact: Name = Field(description="What the producing kind calls it: gm, c_source, kcore, answers, log.")


class StoredArtifact(Strict):
    """An artifact already in the store."""

    digest: Digest


class FilePath(Strict):
    """A file on a path under the allowed roots; it is taken into the store at submission."""

    path: AbsolutePath


BuildInput = JobOutput | StoredArtifact
FileInput = JobOutput | StoredArtifact | FilePath


class QuantizeSpec(Strict):
    """Quantise a model's weights on the CPU: model → `gm`."""

    kind: Literal["quantize"] = "quantize"
    model: Name
    dtype: Literal["bfloat16"] = "bfloat16"


class ConvertSpec(Strict):
    """Turn weights into C source for one backend model type: model (+ `gm`) → `c_source`."""

    kind: Literal["convert"] = "convert"
    model: Name
    backend_type: Name = Field(description="One of the profile's backend model types, e.g. qwen2_7b_bf16.")
    gm: BuildInput | None = Field(default=None, description="Quantised weights; needed by the *_quant types.")


class CompileSpec(Strict):
    """Compile converted C source: `c_source` → `kcore`."""

    kind: Literal["compile"] = "compile"
    c_source: BuildInput


class InferSpec(Strict, BatchRuns):
    """Answer every prompt on each of its card groups: model + kcore + prompts (+ golden) → `answers`, metrics."""

    kind: Literal["infer"] = "infer"
    model: Name
    kcore: BuildInput
    gm: BuildInput | None = Field(default=None, description="The quantised weights an int8 kcore was built from.")
    prompts: FileInput
    golden: FileInput | None = None
    max_tokens: int = Field(default=1024, ge=1, le=MAX_TOKENS)
    repeats: int = Field(default=1, ge=1, le=100_000)
    groups: int = Field(
        default=1, ge=1, le=GROUPS_PER_HOST,
        description="Card groups of one host that answer side by side, each all the prompts; as many as `cards` names.",
    )  # fmt: skip
    cards: Cards | None = Field(
        default=None,
        description="0..3, 4..7, … 28..31, several of them (0..3,8..11), 0..31, or the single card 0 (which holds "
        "g0 whole); any free groups if absent.",
    )

    @model_validator(mode="before")
    @classmethod
    def _counts_its_cards(cls, given: Any) -> Any:
        """Cards alone say how many groups they are; cards that are none are refused where they stand."""
        if not isinstance(given, Mapping) or "groups" in given or not isinstance(given.get("cards"), str):
            return given
        try:
            return {**given, "groups": len(groups_of_cards(given["cards"]))}
        except ValueError:
            return given

    @model_validator(mode="after")
    def _cards_are_so_many_groups(self) -> "InferSpec":
        if self.cards is not None and len(groups_of_cards(self.cards)) != self.groups:
            named = len(groups_of_cards(self.cards))
            told = "1 card group" if named == 1 else f"{named} card groups"
            raise ValueError(f"cards {self.cards} are {told}, but groups says {self.groups}: leave one of the two out")
        return self


class CanarySpec(Strict):
    """A short inference with known answers, run as `infer` is; it succeeds only if every answer is the golden one."""

    kind: Literal["canary"] = "canary"
    model: Name
    kcore: BuildInput
    gm: BuildInput | None = Field(default=None, description="The quantised weights an int8 kcore was built from.")
    prompts: FileInput
    golden: FileInput
    max_tokens: int = Field(default=128, ge=1, le=MAX_TOKENS)

    def inference(self) -> InferSpec:
        """What it asks the vendor's tool for."""
        return InferSpec.model_validate(self.model_dump(exclude={"kind"}))


class GoldenSpec(Strict):
    """Reference answers, computed with transformers from the publisher's weights: model + prompts → `golden`."""

    kind: Literal["golden"] = "golden"
    model: Name
    prompts: FileInput
    max_tokens: int = Field(default=1024, ge=1, le=MAX_TOKENS)
    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    device: Literal["cpu", "cuda"] = Field(default="cpu", description="cuda: select hosts that have one by a label.")


Spec = Annotated[
    QuantizeSpec | ConvertSpec | CompileSpec | InferSpec | CanarySpec | GoldenSpec, Field(discriminator="kind")
]

PRODUCES = {
    "quantize": "gm",
    "convert": "c_source",
    "compile": "kcore",
    "infer": "answers",
    "canary": "answers",
    "golden": "golden",
}
"""The artifact each kind makes; an input called `gm` takes a `gm`, and so on."""

BUILD_KINDS = frozenset({"quantize", "convert", "compile", "golden"})
"""Kinds whose result depends on their inputs alone, so that an identical one may be reused."""


def slot_kind(spec: Spec) -> SlotKind:
    """What sort of slot this spec runs on."""
    return SlotKind.CARD_GROUP if isinstance(spec, InferSpec | CanarySpec) else SlotKind.CPU


def profile_kind(spec: Spec) -> Literal["quantize", "convert", "compile", "infer", "golden"]:
    """Under which of a profile's kinds it is run."""
    return "infer" if isinstance(spec, CanarySpec) else spec.kind


def inputs_of(spec: Spec) -> dict[str, JobOutput | StoredArtifact | FilePath]:
    """The artifact inputs of a spec that are present, by field name."""
    fields = {
        name: getattr(spec, name) for name in ("gm", "c_source", "kcore", "prompts", "golden") if hasattr(spec, name)
    }
    return {name: value for name, value in fields.items() if value is not None}


LONGEST_SECONDS = 10 * 365 * 24 * 3600
"""Ten years: what is meant to be without limit still has to fit a calendar."""


class Limits(Strict):
    """The clocks of one job, in seconds; what is absent comes from the release's profile."""

    queue_seconds: int | None = Field(
        default=None, ge=1, le=LONGEST_SECONDS, description="Longest time in the queue before it fails."
    )
    run_seconds: int | None = Field(default=None, ge=1, le=LONGEST_SECONDS, description="Longest time of one attempt.")
    silence_seconds: int | None = Field(
        default=None, ge=1, le=LONGEST_SECONDS, description="Longest time without output."
    )
    total_seconds: int | None = Field(
        default=None, ge=1, le=LONGEST_SECONDS, description="From submission to the end, all attempts together."
    )


class PlacementRequest(Strict):
    """Where a job may run."""

    slot: SlotPattern | None = Field(default=None, description="Only there: g3, or HOST.g3.")
    exclude: tuple[SlotPattern, ...] = ()
    labels: dict[Label, Label] = Field(default={}, description="Only on hosts that carry all of these.")
    wait_for_slot: bool = Field(
        default=False, description="Taken even if no registered slot fits; waits until one is there."
    )


def _slot_of(pattern: str) -> str:
    return pattern.rpartition(".")[2]


def _refusal(field: str, message: str) -> ValidationError:
    """An error of the whole document that belongs to one field, as a client should see it."""
    error = PydanticCustomError("placement", "{message}", {"message": message})
    return ValidationError.from_exception_data(
        "JobRequest", [{"type": error, "loc": tuple(field.split(".")), "input": None}]
    )


class JobRequest(Strict):
    """One job: the spec and everything that does not change its result."""

    spec: Spec
    name: Name | None = None
    project: Name = "default"
    release: Name | None = Field(default=None, description="A registered toolchain release; the default one if absent.")
    priority: int = Field(default=5, ge=0, le=9, description="9 first.")
    needs: tuple[Name | int, ...] = Field(
        default=(), description="Jobs that must succeed first, beside those its inputs name."
    )
    placement: PlacementRequest = PlacementRequest()
    limits: Limits = Limits()
    tool_retries: int = Field(default=0, ge=0, le=10, description="Tries again after the tool's own failures.")
    use_cache: bool = Field(default=True, description="False builds again even if an identical result is stored.")

    @model_validator(mode="after")
    def _some_slot_can_take_it(self) -> "JobRequest":
        """A job that no slot of any host could ever take would wait in silence until its queue deadline."""
        kind, pinned, excluded = slot_kind(self.spec), self.placement.slot, set(self.placement.exclude)
        if pinned is not None and SlotName.parse(_slot_of(pinned)).kind is not kind:
            raise _refusal("placement.slot", f"jobs of kind {self.spec.kind} do not run on {pinned}")
        if isinstance(self.spec, CanarySpec) and "." not in (pinned or ""):
            raise _refusal("placement.slot", "a canary is for one slot of one host: name it, HOST.g3")
        named = _slots_named(self.spec)
        if pinned is not None:
            _check_pin(self.spec, pinned, named)
            named = (pinned, _slot_of(pinned))
        if excluded.intersection(named):
            raise _refusal("placement.exclude", f"the job asks for {named[0]}, which is excluded")
        if isinstance(self.spec, InferSpec):
            _check_exclusions(self.spec.groups, excluded)
        return self


def _slots_named(spec: Spec) -> tuple[str, ...]:
    """The slots that a spec itself asks for, of whatever host."""
    cards = spec.cards if isinstance(spec, InferSpec) else None
    return () if cards is None else tuple(map(str, groups_of_cards(cards)))


def _check_pin(spec: Spec, pinned: str, named: tuple[str, ...]) -> None:
    if isinstance(spec, InferSpec) and spec.groups > 1:
        raise _refusal(
            "placement.slot",
            f"{spec.groups} card groups are more than one slot: name the groups by cards, and the host by a label",
        )
    if named and named != (_slot_of(pinned),):
        cards = spec.cards if isinstance(spec, InferSpec) else None
        raise _refusal("placement.slot", f"cards {cards} are {named[0]}, so {pinned} cannot be the slot")


def _check_exclusions(groups: int, excluded: Collection[str]) -> None:
    left = sum(str(group) not in excluded for group in all_groups())
    if left == 0:
        raise _refusal("placement.exclude", "every card group is excluded; leave one out")
    if left < groups:
        raise _refusal(
            "placement.exclude",
            f"the job asks for {groups} card groups, and its exclusions leave only {left} of a host",
        )


class PipelineRequest(Strict):
    """Named jobs with `needs` edges, submitted together or not at all."""

    name: Name
    project: Name = "default"
    jobs: dict[Name, JobRequest] = Field(min_length=1, max_length=1000)
