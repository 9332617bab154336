"""What a profile should say otherwise, from the look at a release and from one job that was run with it. Pure.

A proposal is what a person reads and puts into a profile of their own; nothing is changed by it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from orchestrator.model.profile import KindProfile, Profile
from orchestrator.model.release_checks import Finding
from orchestrator.results.learned_cards import cards_pattern


def other_flags(profile: Profile, findings: Iterable[Finding]) -> dict[str, Any]:
    """For each kind its arguments without the flags that its tool does not know, or with what it knows instead."""
    strange: dict[str, dict[str, str | None]] = {}
    for finding in findings:
        if finding.flag is not None:
            strange.setdefault(finding.about, {})[finding.flag] = finding.instead
    kinds = {name: kind for name, kind in profile.kinds.items() if name in strange}
    return {name: _changed(kind, strange[name]) for name, kind in kinds.items()}


def _changed(kind: KindProfile, strange: Mapping[str, str | None]) -> dict[str, Any]:
    """The entries of the kind in which one of these flags stands."""
    told: dict[str, Any] = {}
    if (argv := _without(kind.argv, strange)) != list(kind.argv):
        told["argv"] = argv
    extras = {str(condition): (list(words), _without(words, strange)) for condition, words in kind.optional.items()}
    if changed := {condition: now or None for condition, (words, now) in extras.items() if now != words}:
        told["optional"] = changed
    if kind.serve is not None and (listen := _without(kind.serve.listen, strange)) != list(kind.serve.listen):
        told["serve"] = {"listen": listen}
    return told


def _without(words: Sequence[str], strange: Mapping[str, str | None]) -> list[str]:
    """The words with other flags; a flag without one is left out, with the value that follows it."""
    made: list[str] = []
    leave_out = False
    for word in words:
        flag, equals, value = word.partition("=")
        is_value, leave_out = leave_out and not word.startswith("-"), False
        if is_value:
            continue
        if flag not in strange:
            made.append(word)
        elif (instead := strange[flag]) is not None:
            made.append(f"{instead}{equals}{value}")
        else:
            leave_out = not equals
    return made


def cards_said(said: Sequence[str], log: str, cards: Sequence[int]) -> dict[str, Any]:
    """An entry `own_cards` with one more pattern, for a tool whose words about its cards `said` does not find."""
    pattern = cards_pattern(log, cards) if cards else None
    return {} if pattern is None else {"own_cards": {"said": [*said, pattern]}}


def proposal(profile: Profile, name: str, kinds: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The document of a profile that extends this one; without `kinds` if nothing is to be said otherwise."""
    merged: dict[str, dict[str, Any]] = {}
    for part in kinds:
        for kind, entries in part.items():
            merged.setdefault(kind, {}).update(entries)
    found = {kind: entries for kind, entries in merged.items() if entries}
    return {"extends": profile.profile, "profile": name, **({"kinds": found} if found else {})}
