"""What can be asked for: one immutable spec per job kind, and the request around it.

A spec is *what* to do; it is hashed for the cache. A request adds who it is for, where it may run, how urgent it
is and how long it may take; none of that changes the result. Unknown fields are refused everywhere.
"""

from collections.abc import Collection
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from orchestrator.model.batch_runs import BatchRuns
from orchestrator.model.card_specs import OnCards
from orchestrator.model.card_specs import ServeSpec as ServeSpec
from orchestrator.model.client_specs import ClientSpec as ClientSpec
from orchestrator.model.requirements import REPORT, Answering
from orchestrator.model.slots import SlotKind, SlotName, all_groups, groups_of_cards
from orchestrator.model.spec_words import DIGEST_PATTERN as DIGEST_PATTERN
from orchestrator.model.spec_words import LONGEST_SECONDS as LONGEST_SECONDS
from orchestrator.model.spec_words import MAX_TOKENS as MAX_TOKENS
from orchestrator.model.spec_words import NAME_PATTERN as NAME_PATTERN
from orchestrator.model.spec_words import AbsolutePath as AbsolutePath
from orchestrator.model.spec_words import BuildInput, FileInput, InputSource, Label, PromptsInput
from orchestrator.model.spec_words import Digest as Digest
from orchestrator.model.spec_words import FilePath as FilePath
from orchestrator.model.spec_words import JobOutput as JobOutput
from orchestrator.model.spec_words import Name as Name
from orchestrator.model.spec_words import PromptLines as PromptLines
from orchestrator.model.spec_words import SlotPattern as SlotPattern
from orchestrator.model.spec_words import StoredArtifact as StoredArtifact
from orchestrator.model.spec_words import Strict as Strict


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


class InferSpec(OnCards, BatchRuns, Answering):
    """Answer every prompt on each of its card groups: model + kcore + prompts (+ golden) → `answers`, metrics."""

    kind: Literal["infer"] = "infer"
    model: Name
    kcore: BuildInput
    gm: BuildInput | None = Field(default=None, description="The quantised weights an int8 kcore was built from.")
    prompts: PromptsInput
    max_tokens: int = Field(default=1024, ge=1, le=MAX_TOKENS)
    repeats: int = Field(default=1, ge=1, le=100_000)


class CanarySpec(Strict):
    """A short inference with known answers, run as `infer` is; it succeeds only if every answer is the golden one."""

    kind: Literal["canary"] = "canary"
    model: Name
    kcore: BuildInput
    gm: BuildInput | None = Field(default=None, description="The quantised weights an int8 kcore was built from.")
    prompts: PromptsInput
    golden: FileInput
    max_tokens: int = Field(default=128, ge=1, le=MAX_TOKENS)

    def inference(self) -> InferSpec:
        """What it asks the vendor's tool for; its answers are judged by the rule of canaries."""
        return InferSpec.model_validate({**self.model_dump(exclude={"kind"}), "require": REPORT})


class GoldenSpec(Strict):
    """Reference answers, computed with transformers from the publisher's weights: model + prompts → `golden`."""

    kind: Literal["golden"] = "golden"
    model: Name
    prompts: PromptsInput
    max_tokens: int = Field(default=1024, ge=1, le=MAX_TOKENS)
    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    device: Literal["cpu", "cuda"] = Field(default="cpu", description="cuda: select hosts that have one by a label.")


Spec = Annotated[
    QuantizeSpec | ConvertSpec | CompileSpec | InferSpec | CanarySpec | ServeSpec | ClientSpec | GoldenSpec,
    Field(discriminator="kind"),
]

PRODUCES = {
    "quantize": "gm",
    "convert": "c_source",
    "compile": "kcore",
    "infer": "answers",
    "canary": "answers",
    "golden": "golden",
    "serve": "endpoint",
    "client": "answers",
}
"""What each kind makes: an artifact, and an input called `gm` takes a `gm`, and so on; or `endpoint`, which is there
while the server is ready and is no artifact."""

BUILD_KINDS = frozenset({"quantize", "convert", "compile", "golden"})
"""Kinds whose result depends on their inputs alone, so that an identical one may be reused."""


def slot_kind(spec: Spec) -> SlotKind:
    """What sort of slot this spec runs on."""
    return SlotKind.CARD_GROUP if isinstance(spec, OnCards | CanarySpec) else SlotKind.CPU


def profile_kind(spec: Spec) -> str:
    """Under which of a profile's kinds it is run."""
    if isinstance(spec, ClientSpec):
        return f"client_{spec.program}"
    return "infer" if isinstance(spec, CanarySpec) else spec.kind


def inputs_of(spec: Spec) -> dict[str, InputSource]:
    """The artifact inputs of a spec that are present, by field name."""
    fields = {
        name: getattr(spec, name) for name in ("gm", "c_source", "kcore", "prompts", "golden") if hasattr(spec, name)
    }
    return {name: value for name, value in fields.items() if value is not None}


def endpoints_of(spec: Spec) -> tuple[JobOutput, ...]:
    """The endpoints of `serve` jobs that a spec uses: it waits until they are open, not until the jobs have ended."""
    return spec.servers if isinstance(spec, ClientSpec) else ()


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
        if isinstance(self.spec, OnCards):
            _check_exclusions(self.spec.groups, excluded)
        return self


def _slots_named(spec: Spec) -> tuple[str, ...]:
    """The slots that a spec itself asks for, of whatever host."""
    cards = spec.cards if isinstance(spec, OnCards) else None
    return () if cards is None else tuple(map(str, groups_of_cards(cards)))


def _check_pin(spec: Spec, pinned: str, named: tuple[str, ...]) -> None:
    if isinstance(spec, OnCards) and spec.groups > 1:
        raise _refusal(
            "placement.slot",
            f"{spec.groups} card groups are more than one slot: name the groups by cards, and the host by a label",
        )
    if named and named != (_slot_of(pinned),):
        cards = spec.cards if isinstance(spec, OnCards) else None
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
