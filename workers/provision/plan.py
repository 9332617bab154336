"""Spec + profile + places → the steps of a provisioning, exactly as they will be run. Pure.

The steps are a document, because a process of its own runs them (`workers.provision.__main__`), below the shim of the
slot as any vendor tool.
"""

import glob
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.model.launchers import DockerExec
from orchestrator.model.patterns import Pattern
from orchestrator.model.profile import Profile
from orchestrator.model.provision import PACKAGES, ProvisionRule, ProvisionSpec, StepCommand, StepRule
from orchestrator.model.specs import Strict
from workers.processes.container import Container
from workers.processes.process import Command
from workers.toolchain.commands import fill
from workers.toolchain.view import View


class Run(Strict):
    """One command with all that it is started with."""

    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    shown: str
    """As a person would type it,"""
    where: str
    """in this folder."""


class Packages(Strict):
    """Which archives go where."""

    folder: str
    archives: tuple[str, ...]
    root: str
    force: bool


class Step(Strict):
    """One step in one environment."""

    name: str
    title: str
    check: Run
    prints: Pattern | None
    nodes: tuple[str, ...]
    """Globs that each must match something for the step to be done: the device nodes of a driver's step."""
    commands: tuple[Run, ...]
    patience_seconds: int
    force: bool


class Steps(Strict):
    """All that the process of its own does; `packages` come first."""

    packages: Packages | None
    steps: tuple[Step, ...]
    dry_run: bool


@dataclass(frozen=True)
class ToolsContainer:
    """The container that the tools run in, as steps that are done inside it use it."""

    docker: DockerExec
    view: View
    container: Container


def words_of(spec: ProvisionSpec, profile: Profile, *, work: Path) -> dict[str, str]:
    """What stands for each place-holder on the host, but for {conda}."""
    words = {name: str(Path(spec.root) / below) for name, below in profile.folders.items()}
    return words | {"root": spec.root, "packages": spec.packages, "work": str(work)}


def steps_of(
    spec: ProvisionSpec, profile: Profile, rule: ProvisionRule, *, devices: Path, work: Path,
    tools: ToolsContainer | None = None,
) -> Steps:  # fmt: skip
    """Decide every command; BadSpec names an unknown place-holder or a path that is not mounted, ValueError a
    step."""
    chosen = rule.chosen(spec.steps, driver=spec.driver)
    words = words_of(spec, profile, work=work)
    if tools is not None:
        words |= {"docker": tools.docker.program, "container": tools.docker.container}
    nodes = tuple(_nodes(spec, profile, devices))
    packages = Packages(folder=spec.packages, archives=rule.archives, root=spec.root, force=spec.force)
    return Steps(
        packages=packages if PACKAGES in chosen else None,
        steps=tuple(
            _step(each, {**words, "conda": conda}, profile, nodes, tools, force=spec.force)
            for each in rule.steps
            if each.name in chosen
            for conda in each.conda
        ),
        dry_run=spec.dry_run,
    )


def _step(
    rule: StepRule, words: Mapping[str, str], profile: Profile, nodes: tuple[str, ...], tools: ToolsContainer | None,
    *, force: bool,
) -> Step:  # fmt: skip
    def run(command: StepCommand) -> Run:
        return _run(command, words, profile, tools, inside=rule.inside)

    return Step(
        name=rule.name,
        title=f"{rule.title} ({words['conda']})" if len(rule.conda) > 1 else rule.title,
        check=run(rule.done),
        prints=rule.done.prints,
        nodes=nodes if rule.driver else (),
        commands=tuple(map(run, rule.do)),
        patience_seconds=rule.patience_seconds,
        force=force,
    )


def _run(
    command: StepCommand, words: Mapping[str, str], profile: Profile, tools: ToolsContainer | None, *, inside: bool
) -> Run:  # fmt: skip
    # The profile's environment is that of the tools; with a container, the host's programs get what the client gets.
    environment = profile.environment if tools is None or inside else tools.docker.environment
    if tools is not None and inside:
        words = tools.view.words(words)
    wanted = Command(
        argv=tuple(fill(word, words) for word in command.argv),
        env={name: fill(value, words) for name, value in environment.items()},
        cwd=Path(fill(command.cwd, words)),
    )
    shown, where = shlex.join(wanted.argv), str(wanted.cwd)
    if tools is not None and inside:
        wanted, shown = tools.container.started(wanted), f"{shown} (in container {tools.docker.container})"
    return Run(argv=wanted.argv, env=dict(wanted.env), cwd=str(wanted.cwd), shown=shown, where=where)


def _nodes(spec: ProvisionSpec, profile: Profile, devices: Path) -> Iterator[str]:
    places = {"devices": glob.escape(str(devices)), "root": glob.escape(spec.root)}
    for pattern in profile.probe.nodes:
        for card in (card for group in spec.card_groups for card in group.cards):
            yield fill(pattern, {**places, "card": str(card)})
