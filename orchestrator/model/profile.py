"""A toolchain profile: how one release of the vendor's tools is called, as validated data.

Nothing about a tool's spelling, folders, environments or messages is written in code. Text values may hold
`{name}` place-holders; the names a kind offers are listed at `KindProfile.argv`. Source of the shipped values: the
vendor's deployment guide, first edition.
"""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from orchestrator.model.answer_rules import Answers, AnswersRule
from orchestrator.model.conditions import Condition
from orchestrator.model.launchers import Launcher
from orchestrator.model.patterns import Pattern
from orchestrator.model.provision import ProvisionRule
from orchestrator.model.specs import AbsolutePath, Name, Strict
from orchestrator.model.telemetry import TelemetryRule


class KillStep(Strict):
    """One rung of the ladder that ends a vendor process: the signal, and how long it may take effect."""

    signal: Literal["SIGINT", "SIGTERM", "SIGKILL"]
    grace_seconds: float = Field(gt=0)


def _ends_in_kill(ladder: tuple[KillStep, ...]) -> tuple[KillStep, ...]:
    if ladder[-1].signal != "SIGKILL":
        raise ValueError("the last step must be SIGKILL, or a tool that ignores signals is never stopped")
    return ladder


KillLadder = Annotated[tuple[KillStep, ...], Field(min_length=1), AfterValidator(_ends_in_kill)]


class DefaultLimits(Strict):
    """The clocks of a kind, in seconds, where a request names none."""

    queue_seconds: int | None = None
    run_seconds: int
    silence_seconds: int
    log_bytes: int = 2 * 1024**3


class Resources(Strict):
    """Limits that the kernel sets on each process of a tool that runs on the host; in a container, its own apply."""

    address_space_bytes: int | None = Field(default=None, gt=0)
    processes: int | None = Field(
        default=None,
        gt=0,
        description="Of all processes of the tool's user on this host, whatever attempt started them.",
    )
    file_size_bytes: int | None = Field(default=None, gt=0, description="Of one file that it writes.")
    open_files: int | None = Field(default=None, gt=0)


Globs = str | Annotated[tuple[str, ...], Field(min_length=1)]


class OutputRule(Strict):
    """Where a kind leaves one artifact: outputs are discovered, their names are never composed."""

    search: str = Field(description="Folder to search, with place-holders.")
    glob: Globs | None = Field(
        default=None,
        description="Below the search folder; a match is the artifact. Of several, the first with a match counts.",
    )
    kind: Literal["file", "tree", "file_or_tree", "kcore"] = Field(
        description="`file_or_tree`: whichever matches. `kcore`: the folder of a kernel image, however it is laid out; "
        "found without a glob."
    )
    must_contain: tuple[str, ...] = Field(
        default=(), description="Globs that each must match a non-empty file in a tree."
    )
    parents: int = Field(default=0, ge=0, le=4, description="Take this many levels up from the match.")
    required: bool = Field(default=True, description="False keeps it where it is found and misses it in silence.")
    newer_than_start: bool = Field(default=True, description="Only what the attempt itself wrote counts.")
    several: bool = Field(
        default=False, description="Every match is kept, as NAME.1, NAME.2 … by name; a single one as NAME."
    )

    @model_validator(mode="after")
    def _has_globs_unless_it_is_a_kcore(self) -> "OutputRule":
        if (self.kind == "kcore") != (self.glob is None):
            raise ValueError("glob: needed, except for kind kcore, which is found without")
        if self.kind == "kcore" and (self.must_contain or self.parents or self.several):
            raise ValueError("kind kcore has neither must_contain nor parents nor several")
        return self

    @property
    def globs(self) -> tuple[str, ...]:
        """In the order in which they are tried."""
        return () if self.glob is None else (self.glob,) if isinstance(self.glob, str) else self.glob


class OwnCards(Strict):
    """How to tell whether a tool used the cards that were leased for it, and no others.

    What it opens is looked at while it runs. A card of others that it opens or names ends its attempt as `wrong_cards`.
    """

    required: bool = Field(
        default=False,
        description="A result counts only if the tool was seen to have a card of each of its groups open, or named it.",
    )
    said: tuple[Pattern, ...] = Field(
        default=(),
        description="Patterns for what it prints about the cards it uses, in its output and vendor logs; their group "
        "`cards` is `8..11`, `8-11` or `8,9,10,11`.",
    )

    @model_validator(mode="after")
    def _names_cards(self) -> "OwnCards":
        for pattern in self.said:
            if "cards" not in re.compile(pattern).groupindex:
                raise ValueError(f"said: the pattern {pattern!r} needs a group (?P<cards>…)")
        return self


class ServeRule(Strict):
    """How a server gets its address, and how to check that it listens."""

    ready_path: str = Field(
        default="/v1/models", pattern=r"^/[!-~]*$",
        description="Asked again and again; ready once it lists a model, as OpenAI's interface does.",
    )  # fmt: skip
    ready_line: Pattern | None = Field(
        default=None, description="Must also have been printed, for a server that answers before it can serve."
    )
    served_id: str | None = Field(
        default=None,
        description="What it must call its model, with place-holders: if the port was another's, so is the answer.",
    )
    port_taken: Pattern = Field(description="What it prints when its port was taken; it is tried again on another.")
    listen: tuple[str, ...] = Field(
        default=(),
        description="Arguments added, with {address}, where servers are not to be reached on loopback alone.",
    )
    listen_always: bool = Field(
        default=False,
        description="Add `listen` on loopback too: for a tool that listens at every address without.",
    )


ProfileKind = Literal[
    "quantize", "convert", "compile", "infer", "serve",
    "client_chat", "client_completion_llama", "client_chat_processes", "client_completion_llama_processes",
]  # fmt: skip
"""What a profile may say how to run: a client by its program. Our own load client is in no profile."""


class KindProfile(Strict):
    """How one job kind is run."""

    conda: str
    cwd: str
    argv: tuple[str, ...] = Field(
        description="Place-holders: {root} {conda} {work} {out} {model}, every entry of `folders`, the spec's fields "
        "({backend_type} {dtype} {max_tokens} {repeats} {traverse}, {groups} and {card_count}: how many card groups "
        "and cards, {cards} and {card_list}: which, as 8..11 and as 8,9,10,11, {batch_sizes}: the number of groups, or "
        "a list of numbers for several runs), "
        "of a server {port} and {address}, of a client {ports} (comma-separated) {url} {served_id}, "
        "and for every input its path and its file name ({gm} {gm_name} {c_source} {kcore} {prompts} {golden} …)."
    )
    help: tuple[str, ...] = Field(
        default=(),
        description="How the tool is asked for its flags, with {root} {conda} {work} and `folders`: its program as in "
        "`argv`, then the flag. `tx81 releases check` compares the answer with `argv`; a tool without is not asked.",
    )
    optional: dict[Condition, tuple[str, ...]] = Field(
        default={}, description="Condition on the fields of the spec → arguments that are added where it holds."
    )
    environment: dict[str, str] = Field(
        default={}, description="Of this kind's tool, over the profile's; with every place-holder of the kind."
    )
    model_config_file: Literal["official", "tx81"] | None = None
    param_dir: str = Field(
        default="{kcore}", description="Value of param_dir in the TX81 config.json, with place-holders."
    )
    outputs: dict[Name, OutputRule]
    answers: Answers | None = Field(
        default=None, description="One rule, several of which the first that fits counts, or none: not read."
    )
    logs: tuple[str, ...] = Field(
        default=(), description="Vendor log files to keep, as globs below the working folder."
    )
    device_logs: tuple[str, ...] = Field(
        default=(), description="Likewise what the device's runtime logs to files; kept as `txda_log`."
    )
    exclusive: str | None = Field(
        default=None, description="Name of a host-wide lock held while it runs, with place-holders."
    )
    copy_in: dict[str, str] = Field(default={}, description="Input → path it is laid out at, with place-holders.")
    copy_folders: dict[str, str] = Field(
        default={},
        description="Path below the working folder → folder of the release that is copied there before each run, for "
        "scripts that write beside themselves; both with place-holders.",
    )
    kill_ladder: KillLadder | None = Field(default=None, description="Of this kind, in place of the profile's.")
    own_cards: OwnCards | None = Field(default=None, description="Absent: only what it opens is looked at.")
    serve: ServeRule | None = Field(default=None, description="Of the kind serve, and of no other.")
    limits: DefaultLimits
    progress: Pattern | None = Field(
        default=None, description="Named groups `done` and `total`; no match is no failure."
    )

    @property
    def answer_rules(self) -> tuple[AnswersRule, ...]:
        """In the order in which they are tried; none if answers are not read."""
        if self.answers is None or self.answers == "none":
            return ()
        return self.answers if isinstance(self.answers, tuple) else (self.answers,)


class BackendType(Strict):
    """One value of `--backend-model-type`: which models it fits."""

    family: Name = Field(description="The `model_type` in the config.json of the models it fits.")
    precision: Literal["bf16", "fp16", "quant"]
    conda: str | None = Field(default=None, description="Conversion environment, where it is not the kind's own.")
    output: str | None = Field(
        default=None,
        description="Glob of the folder the converter usually writes; told where none is found, never searched for.",
    )


class FaultSignature(Strict):
    """What means that the infrastructure failed, not the job: a line of output or of the kernel's log, or an exit code.

    The kernel speaks of every card of the host. So a pattern for its log has a group `card`, and counts only if that is
    the number of one of the attempt's own cards.
    """

    name: Name
    pattern: Pattern | None = None
    source: Literal["output", "kernel"] = Field(default="output", description="Where the pattern is looked for.")
    exit_codes: tuple[Annotated[int, Field(ge=1, le=255)], ...] = ()
    sticky: bool = Field(default=False, description="The card stays broken until a person or a reset helps.")
    retry_after_seconds: int = Field(
        default=0, ge=0, le=86_400,
        description="Pause before the job is queued again; doubled with every further fault of the job.",
    )  # fmt: skip

    @model_validator(mode="after")
    def _says_something(self) -> "FaultSignature":
        if (self.pattern is None) == (not self.exit_codes):
            raise ValueError(f"signature {self.name}: give either pattern or exit_codes")
        if self.source == "kernel" and "card" not in re.compile(self.pattern or "").groupindex:
            raise ValueError(f"signature {self.name}: a pattern for the kernel's log needs a group (?P<card>…)")
        return self


class CardCheck(Strict):
    """The vendor's own word on whether a card is free; not asked where its program is not installed.

    An exit code other than 0, and no answer in time, mean that the card is missing: so the vendor's own CI reads it."""

    argv: tuple[str, ...] = Field(min_length=1, description="Place-holders: {card} {devices} {root}.")
    environment: dict[str, str] = Field(description="All it gets; its PATH finds the program.")
    free: Pattern = Field(description="What it prints for a card that no process uses; any other output means busy.")
    seconds: float = Field(default=30, gt=0, le=300)


class ProbeRule(Strict):
    """How to find out whether cards are free, before and after every attempt on them."""

    nodes: tuple[str, ...] = Field(
        default=("{devices}/dev-{card}",),
        description="Globs of the device nodes of a card, with {card} {devices} {root}; each must be there. One "
        "without {card} is the node of all cards: who holds which is then asked of `check` alone.",
    )
    holders: tuple[AbsolutePath, ...] = Field(
        default=("/usr/bin/npu_pull_ep_log",), description="Executables that hold the nodes of idle cards by right."
    )
    check: CardCheck | None = None

    @property
    def tells_cards(self) -> bool:
        """Whether an open node says which card is used."""
        return any("{card}" in pattern for pattern in self.nodes)

    @model_validator(mode="after")
    def _somebody_tells_holders(self) -> "ProbeRule":
        if not self.tells_cards and self.check is None:
            raise ValueError("nodes: none has {card}, so `check` must say who holds a card")
        return self


class Profile(Strict):
    """One release of the vendor's tools."""

    profile: Name
    versions: dict[str, str]
    launcher: Launcher = "local"
    folders: dict[str, str] = Field(description="Below the release's root.")
    environment: dict[str, str] = Field(description="All a vendor process gets; nothing is inherited.")
    fingerprint: tuple[str, ...] = Field(description="Globs below the root whose contents tell one build from another.")
    backend_types: dict[Name, BackendType]
    kinds: dict[ProfileKind, KindProfile]
    kill_ladder: KillLadder
    fault_signatures: tuple[FaultSignature, ...] = ()
    resources: Resources = Resources()
    probe: ProbeRule = ProbeRule()
    telemetry: TelemetryRule | None = Field(default=None, description="How the cards are measured; absent, not at all.")
    provision: ProvisionRule | None = Field(default=None, description="How a host gets this release; absent, by hand.")

    @model_validator(mode="after")
    def _only_a_server_serves(self) -> "Profile":
        for name, kind in self.kinds.items():
            if (kind.serve is not None) != (name == "serve"):
                raise ValueError(f"kinds.{name}.serve: the kind serve has such a rule, and no other")
        return self

    def ladder_of(self, kind: KindProfile) -> tuple[KillStep, ...]:
        """How a tool of that kind is ended."""
        return kind.kill_ladder or self.kill_ladder
