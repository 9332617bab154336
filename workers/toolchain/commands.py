"""Spec + profile + places → exactly what will be run. Pure: nothing here touches a file.

Text in a profile may hold `{name}` place-holders. They are filled in once, so braces inside a value stay as they are,
and every word of the result is one element of an argv list: no value can become a flag's neighbour or a shell's syntax.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from orchestrator.errors import BadSpec
from orchestrator.model.assignments import Assignment, InputArtifact, RegisteredModel
from orchestrator.model.calling import OwnProgram, how_to_run
from orchestrator.model.card_specs import OnCards
from orchestrator.model.conditions import holds
from orchestrator.model.launchers import DockerExec
from orchestrator.model.profile import FaultSignature, KindProfile, Profile
from orchestrator.model.provision import ProvisionSpec
from orchestrator.model.requirements import Answering
from orchestrator.model.slots import GROUPS_PER_HOST, SINGLE_CARD, WHOLE_HOST, cards_of_groups, groups_of_cards
from orchestrator.model.specs import CanarySpec, ClientSpec, ConvertSpec, InferSpec, ServeSpec, Spec, profile_kind
from workers.processes.process import Command
from workers.toolchain import reference
from workers.toolchain.client_words import client_words
from workers.toolchain.profiles import profile_of
from workers.toolchain.view import View

_PLACE_HOLDER = re.compile(r"\{(\w+)\}")
_SECRET = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|(^|_)KEY$", re.IGNORECASE)
LOOPBACK = "127.0.0.1"
"""Where a server listens by default."""

_SPECS: TypeAdapter[Spec] = TypeAdapter(Spec)


@dataclass(frozen=True)
class LaidInput:
    """Where one input goes; a `private` one is copied, because the tool writes into it."""

    name: str
    digest: str
    target: Path
    private: bool


@dataclass(frozen=True)
class ModelOverlay:
    """The model folder of one attempt: links to the registered one, with the config.json this use needs."""

    source: Path
    target: Path
    config: Mapping[str, Any]
    links_to: Path
    """The registered one as the tool sees it."""


@dataclass(frozen=True)
class Plan:
    """All that is decided about an attempt before a file is touched."""

    spec: Spec | ProvisionSpec
    profile: Profile
    kind: KindProfile
    words: Mapping[str, str]
    """What stands for each place-holder, on this host."""
    inputs: tuple[LaidInput, ...]
    overlay: ModelOverlay | None
    command: Command
    """As the tool itself sees it, wherever it runs."""
    exclusive: str | None
    view: View
    folders: Mapping[Path, Path] = field(default_factory=dict)
    """Folder of the attempt → folder of the release that is copied there."""

    @property
    def docker(self) -> DockerExec | None:
        """The container that the tool runs in, if it does not run on the host itself."""
        return _docker(self.profile, self.kind)

    @property
    def document(self) -> dict[str, Any]:
        """What is run, and where, as it is kept in SQL."""
        where = {} if self.docker is None else {"container": self.docker.container}
        return {**document(self.command), **where}

    @property
    def fault_signatures(self) -> tuple[FaultSignature, ...]:
        """What would speak against its slot: nothing that a client prints, which repeats the output of servers."""
        return () if isinstance(self.spec, ClientSpec) else self.profile.fault_signatures

    def path(self, text: str) -> Path:
        """A path of the profile with its place-holders filled in."""
        return Path(fill(text, self.words))


def plan(assignment: Assignment, *, work: Path, golden_python: str = sys.executable) -> Plan:
    """Decide everything; BadSpec says what does not fit, EndpointClosed which server is not there any more.

    `golden_python` is the interpreter for reference answers."""
    try:
        spec, profile = _SPECS.validate_python(assignment.spec), profile_of(assignment.profile)
    except ValidationError as trouble:
        first = trouble.errors()[0]
        raise BadSpec(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    asked = spec
    if isinstance(spec, CanarySpec):
        spec = spec.inference()
    kind = how_to_run(profile, spec)
    if kind is None:
        raise BadSpec(f"profile {profile.profile} does not say how to run {profile_kind(spec)} jobs")
    _refuse_unread(asked, profile, kind)
    words = _first_words(spec, profile, kind, assignment, work=work)
    words |= {"golden_python": golden_python, "reference": reference.__file__}
    if kind.model_config_file is not None:
        words["model"] = str(work / "model" / _plain(_model(assignment).name))
    inputs = _place(assignment.inputs, kind, words, work)
    words |= {laid.name: str(laid.target) for laid in inputs}
    words["cwd"] = fill(kind.cwd, words)
    view = view_of(_docker(profile, kind), words)
    return Plan(
        spec=spec,
        profile=profile,
        kind=kind,
        words=words,
        inputs=inputs,
        overlay=_overlay(_model(assignment), kind, words, view) if kind.model_config_file is not None else None,
        command=_command(profile, kind, words, fields=_fields(spec)),
        exclusive=None if kind.exclusive is None else fill(kind.exclusive, words),
        view=view,
        folders=dict(_folder(target, source, words, assignment, work) for target, source in kind.copy_folders.items()),
    )


def _refuse_unread(spec: Spec, profile: Profile, kind: KindProfile) -> None:
    """BadSpec if answers that the profile does not read are held to golden ones: the job would be green unseen."""
    held = isinstance(spec, CanarySpec) or (isinstance(spec, Answering) and spec.requirement is not None)
    if held and not kind.answer_rules:
        raise BadSpec(
            f"profile {profile.profile} does not read the answers of {profile_kind(spec)} jobs: omit golden, or give "
            "require: report, until `tx81 answers learn` has found a rule for them",
            field="golden",
        )


def at_address(plan: Plan, address: str, port: int) -> Plan:
    """The same plan for a server that is to listen there."""
    words = {**plan.words, "address": address, "port": str(port)}
    command = _command(plan.profile, plan.kind, words, fields=_fields(plan.spec))
    return replace(plan, words=words, command=command)


def fill(text: str, words: Mapping[str, str]) -> str:
    """`text` with its place-holders replaced; BadSpec names an unknown one."""

    def word(match: re.Match[str]) -> str:
        if match[1] not in words:
            known = ", ".join(sorted(words))
            raise BadSpec(f"the profile uses {{{match[1]}}}, which this job does not have (known: {known})")
        return words[match[1]]

    return _PLACE_HOLDER.sub(word, text)


def document(command: Command) -> dict[str, Any]:
    """The command as it is kept in SQL, with the values of variables that look like secrets masked."""
    env = {name: "***" if _SECRET.search(name) else value for name, value in command.env.items()}
    return {"argv": list(command.argv), "env": env, "cwd": str(command.cwd)}


def _first_words(
    spec: Spec, profile: Profile, kind: KindProfile, assignment: Assignment, *, work: Path
) -> dict[str, str]:
    """The words that do not depend on where inputs are laid."""
    root = Path(assignment.root)
    fields = spec.model_dump(mode="json")
    words = {name: str(value) for name, value in fields.items() if isinstance(value, str | int) and name != "model"}
    words |= {name: str(root / below) for name, below in profile.folders.items()}
    words |= {"root": str(root), "work": str(work), "out": str(work / "out"), "conda": kind.conda}
    if isinstance(spec, ConvertSpec):
        if spec.backend_type not in profile.backend_types:
            raise BadSpec(f"profile {profile.profile} has no backend type {spec.backend_type}", field="backend_type")
        words["conda"] = profile.backend_types[spec.backend_type].conda or kind.conda
    if isinstance(spec, OnCards):
        words |= _card_words(spec, assignment)
    if isinstance(spec, InferSpec):
        words["batch_sizes"] = _batch_sizes(spec)
        words["traverse"] = str(spec.traverse)
    if isinstance(spec, ClientSpec):
        words |= client_words(spec, assignment)
    if isinstance(spec, ServeSpec):
        # Until `at_address` says where.
        words |= {"address": LOOPBACK, "port": "0"}
    return words


def _batch_sizes(spec: InferSpec) -> str:
    """As the guide spells one number, and a list: `5`, `[1,5,6]`."""
    sizes = ",".join(map(str, spec.sizes))
    return f"[{sizes}]" if len(spec.sizes) > 1 else sizes


def _card_words(spec: OnCards, assignment: Assignment) -> dict[str, str]:
    """The leased cards as ranges, one by one, and how many they are."""
    cards = _cards(spec, assignment)
    listed = (
        [SINGLE_CARD] if cards == SINGLE_CARD else [str(card) for group in assignment.groups for card in group.cards]
    )
    return {"cards": cards, "card_list": ",".join(listed), "card_count": str(len(listed))}


def _cards(spec: OnCards, assignment: Assignment) -> str:
    """The cards that were leased, as the tools list them; BadSpec if they are not those that the spec asks for.

    The tools let the number of groups win over the list of cards (guide, offline parameters, `-bs`), and would take
    cards of other jobs if it were larger.
    """
    groups = assignment.groups
    wanted = groups if spec.cards is None else groups_of_cards(spec.cards)
    if len(groups) != spec.groups or set(groups) != set(wanted):
        asked = spec.cards or ("of 1 group" if spec.groups == 1 else f"of {spec.groups} groups")
        raise BadSpec(
            f"the job requests cards {asked}, but was placed on {', '.join(assignment.slot_ids)}", field="cards"
        )
    if spec.cards == SINGLE_CARD:
        return SINGLE_CARD
    whole = isinstance(spec, ServeSpec) and len(groups) == GROUPS_PER_HOST
    return WHOLE_HOST if whole else cards_of_groups(groups)


def _place(
    artifacts: Sequence[InputArtifact], kind: KindProfile, words: Mapping[str, str], work: Path
) -> tuple[LaidInput, ...]:
    names = {f"{artifact.name}_name": _plain(artifact.file_name) for artifact in artifacts}
    words, inputs = {**words, **names}, {artifact.name for artifact in artifacts}
    laid: list[LaidInput] = []
    # One that is laid into another comes after it.
    for artifact in sorted(artifacts, key=lambda one: _mentions(kind.copy_in.get(one.name, ""), inputs)):
        if artifact.digest is None:
            raise BadSpec(f"input {artifact.name} has no content yet; the job it comes from has not succeeded")
        copied = kind.copy_in.get(artifact.name)
        default = work / "inputs" / _plain(artifact.name) / names[f"{artifact.name}_name"]
        target = (
            default if copied is None else Path(fill(copied, {**words, **{one.name: str(one.target) for one in laid}}))
        )
        if ".." in target.parts or not target.is_relative_to(work):
            raise BadSpec(f"the profile places {artifact.name} at {target}, outside the working folder {work}")
        laid.append(LaidInput(artifact.name, artifact.digest, target, private=copied is not None))
    return tuple(laid)


def _folder(
    target: str, source: str, words: Mapping[str, str], assignment: Assignment, work: Path
) -> tuple[Path, Path]:
    """BadSpec for one that is not a release's, or would be copied out of the attempt's folder."""
    to, of, root = Path(fill(target, words)), Path(fill(source, words)), Path(assignment.root)
    if ".." in to.parts or to == work or not to.is_relative_to(work):
        raise BadSpec(f"the profile copies a folder to {to}, which is not below the working folder {work}")
    if ".." in of.parts or not of.is_relative_to(root):
        raise BadSpec(f"the profile copies {of}, which is not below the root {root} of the release")
    return to, of


def _mentions(text: str, names: set[str]) -> bool:
    return not names.isdisjoint(_PLACE_HOLDER.findall(text))


def _docker(profile: Profile, kind: KindProfile) -> DockerExec | None:
    return None if isinstance(kind, OwnProgram) else container_of(profile)


def container_of(profile: Profile) -> DockerExec | None:
    """The container that the vendor's tools run in, if they do not run on the host itself."""
    return None if profile.launcher == "local" else profile.launcher.docker


def view_of(docker: DockerExec | None, words: Mapping[str, str]) -> View:
    """What a tool sees of the host; `words` are the place-holders of the mounts."""
    if docker is None:
        return View()
    return View(docker.container, {fill(host, words): fill(inside, words) for host, inside in docker.mounts.items()})


def _overlay(model: RegisteredModel, kind: KindProfile, words: Mapping[str, str], view: View) -> ModelOverlay:
    official = kind.model_config_file == "official"
    config = model.official_config if official else model.tx81_config
    if config is None:
        which = "official config.json" if official else "TX81 config.json"
        raise BadSpec(f"model {model.name} has no {which}: register it again with that file", field="model")
    if not official:
        config = {**config, "param_dir": fill(kind.param_dir, view.words(words))}
    return ModelOverlay(
        source=Path(model.path), target=Path(words["model"]), config=config, links_to=Path(view.path(model.path))
    )


def _command(profile: Profile, kind: KindProfile, words: Mapping[str, str], *, fields: Mapping[str, Any]) -> Command:
    optional = [word for condition, extra in kind.optional.items() if holds(condition, fields) for word in extra]
    environment = kind.environment if isinstance(kind, OwnProgram) else {**profile.environment, **kind.environment}
    asked = kind.serve is not None and (kind.serve.listen_always or words["address"] != LOOPBACK)
    listen = kind.serve.listen if kind.serve is not None and asked else ()
    words = view_of(_docker(profile, kind), words).words(words)
    return Command(
        argv=tuple(fill(word, words) for word in (*kind.argv, *optional, *listen)),
        env={name: fill(value, words) for name, value in environment.items()},
        cwd=Path(fill(kind.cwd, words)),
    )


def _fields(spec: Spec | ProvisionSpec) -> dict[str, Any]:
    """What the conditions of a profile are about: inputs are fields too."""
    return spec.model_dump(mode="json")


def _model(assignment: Assignment) -> RegisteredModel:
    if assignment.model is None:
        name = assignment.spec.get("model")
        raise BadSpec(f"model {name} is not registered: register it with `tx81 models`", field="model")
    return assignment.model


def _plain(name: str) -> str:
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise BadSpec(f"{name!r} is not a plain file name")
    return name
