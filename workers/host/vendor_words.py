"""What a profile reads of the cards of this host, tried once: whether they are free, and how they are measured.

Nothing here is an error: a job runs without measurements, and a host may be looked at before its driver runs."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from orchestrator.model.profile import Profile
from orchestrator.model.release_checks import Finding, Level
from orchestrator.model.slots import SlotKind, SlotName
from orchestrator.model.telemetry import measured
from orchestrator.settings import Settings
from workers.host.probe import Probe
from workers.processes.ask import ask
from workers.processes.matching import search
from workers.processes.process import Command

_SAID = 300


def findings(profile: Profile, settings: Settings, root: Path, work: Path) -> Iterator[Finding]:
    """Of the first card group; its measurements are those of its first card. No node is opened."""
    group = SlotName(SlotKind.CARD_GROUP, 0)
    found = Probe(profile.probe, devices=settings.devices_dir, root=str(root)).look(group.cards)
    yield Finding(level=Level.OK if found.free else Level.NOTE, about="cards", detail=found.sentence()[:4000])
    yield _measured(profile, settings, root, work, group.cards[0])


def _measured(profile: Profile, settings: Settings, root: Path, work: Path, card: int) -> Finding:
    rule = profile.telemetry
    if rule is None:
        return _note("the profile does not say how cards are measured")
    words = {"devices": str(settings.devices_dir), "root": str(root), "card": str(card)}

    def filled(text: str) -> str:
        for name, value in words.items():
            text = text.replace(f"{{{name}}}", value)
        return text

    environment = {name: filled(value) for name, value in rule.environment.items()}
    argv = tuple(map(filled, rule.argv))
    if shutil.which(argv[0], path=environment.get("PATH", "")) is None:
        return _note(f"{argv[0]} is not installed: cards are not measured (telemetry: environment: PATH)")
    told = ask(Command(argv, environment, Path("/")), folder=work, seconds=rule.seconds)
    if told.exit_code != 0:
        return _note(f"{' '.join(argv)} ended with {told.exit_code or 'no answer'}: {told.last[:_SAID]}")
    for pattern in rule.patterns:
        if (match := search(pattern, told.said)) is not None and (values := measured(match.groups)):
            read = ", ".join(f"{value:g} {measure}" for measure, value in values.items())
            return Finding(level=Level.OK, about="telemetry", detail=f"{' '.join(argv)} reads {read}")
    return _note(f"no pattern reads what {' '.join(argv)} prints: {told.said.strip()[:_SAID]}")


def _note(detail: str) -> Finding:
    return Finding(level=Level.NOTE, about="telemetry", detail=detail)
