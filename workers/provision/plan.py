"""Spec + profile + places → the steps of a provisioning, exactly as they will be run. Pure.

The steps are a document, because a process of its own runs them (`workers.provision.__main__`), below the shim of the
slot as any vendor tool.
"""

import glob
from collections.abc import Iterator, Mapping
from pathlib import Path

from orchestrator.model.patterns import Pattern
from orchestrator.model.profile import Profile
from orchestrator.model.provision import PACKAGES, ProvisionRule, ProvisionSpec, StepCommand, StepRule
from orchestrator.model.slots import CARDS_PER_HOST
from orchestrator.model.specs import Strict
from workers.toolchain.commands import fill


class Run(Strict):
    """One command with all that it is started with."""

    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str


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


def steps_of(spec: ProvisionSpec, profile: Profile, rule: ProvisionRule, *, devices: Path, work: Path) -> Steps:
    """Decide every command; BadSpec names a place-holder that nobody knows, ValueError a step."""
    chosen = rule.chosen(spec.steps, driver=spec.driver)
    root = Path(spec.root)
    words = {name: str(root / below) for name, below in profile.folders.items()}
    words |= {"root": spec.root, "packages": spec.packages, "work": str(work)}
    nodes = tuple(_nodes(profile, devices, spec.root))
    packages = Packages(folder=spec.packages, archives=rule.archives, root=spec.root, force=spec.force)
    return Steps(
        packages=packages if PACKAGES in chosen else None,
        steps=tuple(
            _step(each, {**words, "conda": conda}, profile, nodes, force=spec.force)
            for each in rule.steps
            if each.name in chosen
            for conda in each.conda
        ),
        dry_run=spec.dry_run,
    )


def _step(
    rule: StepRule, words: Mapping[str, str], profile: Profile, nodes: tuple[str, ...], *, force: bool
) -> Step:  # fmt: skip
    env = {name: fill(value, words) for name, value in profile.environment.items()}

    def run(command: StepCommand) -> Run:
        return Run(argv=tuple(fill(word, words) for word in command.argv), env=env, cwd=fill(command.cwd, words))

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


def _nodes(profile: Profile, devices: Path, root: str) -> Iterator[str]:
    places = {"devices": glob.escape(str(devices)), "root": glob.escape(root)}
    for pattern in profile.probe.nodes:
        for card in range(CARDS_PER_HOST):
            yield fill(pattern, {**places, "card": str(card)})
