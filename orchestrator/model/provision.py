"""Provisioning: what is asked for, and what a profile says about setting up a host with its release.

It is no `JobRequest`: only an admin may ask for it, so no route that takes jobs of others can be handed one.
"""

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from orchestrator.model.patterns import Pattern
from orchestrator.model.slots import SlotKind, SlotName, all_groups
from orchestrator.model.specs import AbsolutePath, Limits, Name, Strict

PACKAGES = "packages"
REGISTER = "register"
PROVE = "prove"

STEPS_OF_OURS = (PACKAGES, REGISTER, PROVE)
"""Steps that every plan has, whatever the profile: the first is its first, the others are its last."""


class StepCommand(Strict):
    """One command of a step: an argv list, never a shell string."""

    argv: tuple[str, ...] = Field(
        min_length=1,
        description="Place-holders: {root} {packages} {conda} {work} and every entry of `folders`; with the launcher "
        "docker also {docker} and {container}.",
    )
    cwd: str = "{root}"


class StepCheck(StepCommand):
    """The check that a step is done: it exits with 0, and its output matches. Anything else is *not done*."""

    prints: Pattern | None = Field(default=None, description="What its output must match; nothing if absent.")


class StepRule(Strict):
    """One step between unpacking and registering: looked at before, done if need be, looked at again."""

    name: Name
    title: str = Field(max_length=100, description="What it does, for a person.")
    conda: tuple[Name, ...] = Field(
        default=("base",), min_length=1, description="Done in each of these environments, which is {conda} then."
    )
    inside: bool = Field(
        default=False,
        description="Its commands are run where the tools run: with the launcher docker in its container, as a job's.",
    )
    done: StepCheck
    do: tuple[StepCommand, ...] = Field(min_length=1)
    driver: bool = Field(
        default=False,
        description="It makes the device nodes: left out where a spec says so, and done only while all are there.",
    )
    patience_seconds: int = Field(default=0, ge=0, le=3600, description="How long after it its check may still say no.")

    @model_validator(mode="after")
    def _is_not_one_of_ours(self) -> Self:
        if self.name in STEPS_OF_OURS:
            raise ValueError(f"{self.name} is the name of a built-in step; choose another name")
        return self


class ProvisionRule(Strict):
    """How a host gets a release, from the vendor's packages on; the steps in the order in which they are done."""

    archives: tuple[str, ...] = Field(
        min_length=1, description="Globs, each for one name in SHA256SUMS; unpacked into the root in this order."
    )
    steps: tuple[StepRule, ...] = ()
    run_seconds: int = 14400
    silence_seconds: int = 3600
    log_bytes: int = 2 * 1024**3

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [step.name for step in self.steps]
        if len(set(names)) != len(names):
            raise ValueError("two steps have the same name")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Every step there is, in order."""
        return (PACKAGES, *(step.name for step in self.steps), REGISTER, PROVE)

    def chosen(self, steps: Sequence[str] | None, *, driver: bool) -> tuple[str, ...]:
        """The steps of one plan; ValueError names one that is not there, or not to be done."""
        drivers = {step.name for step in self.steps if step.driver}
        for name in steps or ():
            if name not in self.names:
                raise ValueError(f"there is no step {name!r}; known: {', '.join(self.names)}")
            if name in drivers and not driver:
                raise ValueError(f"step {name} is of the driver, which is excluded: omit one of the two")
        return tuple(
            name for name in self.names if (steps is None or name in steps) and (driver or name not in drivers)
        )


class ProvisionOptions(Strict):
    """What is installed from where to where. Paths are the host's own, below its allowed roots."""

    packages: AbsolutePath = Field(description="Folder with the vendor's archives and their SHA256SUMS.")
    root: AbsolutePath = Field(description="Folder that the release is installed in; made if it is not there.")
    release: Name = Field(description="What the installed release is registered as.")
    profile: Name = Field(description="Says how it is installed, and how its tools are called.")
    steps: tuple[Name, ...] | None = Field(default=None, min_length=1, description="Only these; all if absent.")
    driver: bool = Field(default=True, description="False leaves the driver of the host as it is.")
    without: tuple[str, ...] = Field(
        default=(),
        description="Card groups that this host does not have or that have a dead card: for half a chassis g4, g5, g6 "
        "and g7. Their workers must not run.",
    )
    force: bool = Field(default=False, description="Do the named `steps` even if their checks say they are done.")
    dry_run: bool = Field(
        default=False, description="Only report what would be done; runs on a CPU seat while other jobs run."
    )

    @field_validator("without")
    @classmethod
    def _leaves_some_group(cls, without: tuple[str, ...]) -> tuple[str, ...]:
        known = [str(group) for group in all_groups()]
        for name in without:
            if name not in known:
                raise ValueError(f"{name!r} is not a card group: use {known[0]}…{known[-1]}")
        if not set(known).difference(without):
            raise ValueError("it names all card groups: leave out those that the host has")
        return tuple(sorted(set(without)))

    @property
    def card_groups(self) -> tuple[SlotName, ...]:
        """The card groups that the host has."""
        return tuple(group for group in all_groups() if str(group) not in self.without)

    @model_validator(mode="after")
    def _names_what_it_forces(self) -> Self:
        if self.force and self.steps is None:
            raise ValueError("force needs steps")
        return self


class ProvisionSpec(ProvisionOptions):
    """Install a release on one host, which is all its card groups' only work meanwhile."""

    kind: Literal["provision"] = "provision"
    host: Name

    @property
    def slot_kind(self) -> SlotKind:
        """A dry run touches nothing, so it needs no cards."""
        return SlotKind.CPU if self.dry_run else SlotKind.CARD_GROUP


class ProvisionRequest(ProvisionOptions):
    """What a client sends to a host's route."""

    project: Name = "default"
    priority: int = Field(default=9, ge=0, le=9, description="9 first.")
    limits: Limits = Limits()

    def spec(self, host: str) -> ProvisionSpec:
        """What is to be done on that host."""
        return ProvisionSpec(host=host, **self.model_dump(exclude={"project", "priority", "limits"}))
