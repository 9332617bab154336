"""Profiles as files: found by name, laid over what they extend, and validated so that an error names file and line.

A profile that says `extends: NAME` states only what differs. Mappings are merged entry by entry, anything else is
replaced, and so are answers of another `format`; `null` takes an entry away. The base is looked for in the same folders
and then among the shipped ones; a profile may extend its namesake further on.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from orchestrator.errors import BadRequest, BadSpec
from orchestrator.model.answer_rules import TAGS
from orchestrator.model.known_keys import known_keys
from orchestrator.model.near_misses import did_you_mean
from orchestrator.model.profile import Profile
from orchestrator.model.profile_words import problems_of
from orchestrator.model.specs import NAME_PATTERN
from orchestrator.model.wrong_fields import plain_message
from orchestrator.settings import SHIPPED_PROFILES, Settings
from orchestrator.strict_json import BadDocument
from orchestrator.strict_yaml import load

EXTENDS = "extends"

MOST_BYTES = 1 << 20
"""Of a profile; the largest that is shipped has 20 KiB."""

MOST_VALUES = 50_000

EntryPath = tuple[str | int, ...]
"""Of an entry: the keys and indices that lead to it."""

_MOST_ERRORS = 5


@dataclass
class _Document:
    """What a file says, or several laid over each other, and where each entry is written."""

    file: Path
    values: dict[str, Any]
    places: dict[EntryPath, str] = field(default_factory=dict)

    def place(self, path: EntryPath) -> str:
        """Where the entry is written, or the nearest thing around it that is."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, str(self.file))


def load_profile(settings: Settings, name: str, text: str | None = None) -> Profile:
    """The profile called `name`, or the one that `text` is, which may extend those of the server.

    BadSpec if there is none, BadRequest names what is wrong with it and where."""
    if text is None and not _files(settings, name):
        raise BadSpec(f"there is no profile {name!r}; known: {_known(settings)}", field="profile")
    try:
        own = None if text is None else _parsed(Path(f"{name}.yaml"), text)
        document = _whole(settings, name, ()) if own is None else _extended(settings, own, ())
        profile = Profile.model_validate(document.values)
    except ValidationError as trouble:
        raise BadRequest(f"profile {name} is not valid: {_problems(trouble, document)}", field="profile") from None
    for path, what in problems_of(profile):
        _refuse(document.place(path), f"{'.'.join(map(str, path))}: {what}")
    return profile


def _files(settings: Settings, name: str) -> list[Path]:
    """All of that name, the one that counts first."""
    if not re.fullmatch(NAME_PATTERN, name):
        return []
    return [file for folder in _folders(settings) if (file := folder / f"{name}.yaml").is_file()]


def _folders(settings: Settings) -> list[Path]:
    return list(dict.fromkeys((*settings.profile_dirs, SHIPPED_PROFILES)))


def _known(settings: Settings) -> str:
    return ", ".join(sorted({file.stem for folder in _folders(settings) for file in folder.glob("*.yaml")}))


def _whole(settings: Settings, name: str, above: tuple[Path, ...]) -> _Document:
    """The file of that name that is not already `above`, laid over what it extends."""
    file = next(file for file in _files(settings, name) if file not in above)
    return _extended(settings, _parsed(file, _text_of(file)), above)


def _extended(settings: Settings, own: _Document, above: tuple[Path, ...]) -> _Document:
    """A document laid over what it extends, if it extends anything."""
    file = own.file
    if EXTENDS not in own.values:
        return own
    base = own.values.pop(EXTENDS)
    known = _files(settings, base) if isinstance(base, str) else []
    if not set(known) - {*above, file}:
        why = "would extend itself" if known else f"does not exist; known: {_known(settings)}"
        _refuse(own.place((EXTENDS,)), f"extends {base!r}, which {why}")
    own.values.setdefault("profile", file.stem)
    return _over(_whole(settings, base, (*above, file)), own)


def _over(base: _Document, own: _Document) -> _Document:
    values, replaced = _merged(base.values, own.values, ())
    inherited = {
        path: place
        for path, place in base.places.items()
        if not any(path[: len(gone)] == gone for gone in replaced)
    }  # fmt: skip
    return _Document(own.file, values, inherited | own.places)


def _merged(base: dict[str, Any], own: dict[str, Any], path: EntryPath) -> tuple[dict[str, Any], list[EntryPath]]:
    """`own` laid over `base`, and the paths of what was replaced or taken away as a whole.

    Neither is changed: with an alias of YAML, one mapping may stand in several places of the base."""
    merged, replaced = dict(base), []
    for key, value in own.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict) and not _of_another_format(base[key], value):
            merged[key], below = _merged(base[key], value, (*path, key))
            replaced += below
            continue
        replaced.append((*path, key))
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = value
    return merged, replaced


def _of_another_format(base: dict[str, Any], own: dict[str, Any]) -> bool:
    """Answers of one format have none of the keys of the other: an entry that was left over would only be refused."""
    return "format" in own and own["format"] != base.get("format", "json_lines")


def _parsed(file: Path, text: str) -> _Document:
    try:
        document = load(text, most_values=MOST_VALUES)
    except BadDocument as bad:
        place = str(file) if bad.line is None else f"{file} line {bad.line}"
        _refuse(place, bad.what if bad.field is None else f"{bad.field}: {bad.what}")
    if not isinstance(document.values, dict):
        _refuse(str(file), "is no mapping of keys to values")
    places = {path: f"{file} line {line}" for path, line in document.lines.items()}
    return _Document(file, document.values, places)


def _text_of(file: Path) -> str:
    """The text of a profile; a refusal if it is none, cannot be read, or is longer than any profile."""
    try:
        with file.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            _refuse(str(file), f"is longer than {MOST_BYTES >> 10} KiB")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        _refuse(str(file), "is not UTF-8")
    except OSError as trouble:
        _refuse(str(file), f"cannot be read: {trouble.strerror}")


def _problems(trouble: ValidationError, document: _Document) -> str:
    problems = []
    for error in trouble.errors()[:_MOST_ERRORS]:
        path = _entry(error["loc"], document)
        if error["type"] == "extra_forbidden":
            what = f"unknown key{did_you_mean(path[-1], known_keys(Profile, path[:-1], document.values))}"
        elif error["type"] in ("string_pattern_mismatch", "literal_error", "enum"):
            what = plain_message(error)
        else:
            what = error["msg"]
        problems.append(f"{document.place(path)}: {'.'.join(map(str, path)) or 'profile'}: {what}")
    return "; ".join(problems)


def _entry(loc: EntryPath, document: _Document) -> EntryPath:
    """The entry an error is about, without the words that distinguish the members of a union."""
    path: EntryPath = ()
    for at, part in enumerate(loc):
        of_ours = (*path, part) in document.places
        if of_ours or (
            part not in TAGS and not any((*path, later) in document.places for later in loc[at + 1 : at + 2])
        ):
            path = (*path, part)
    return tuple(part for part in path if part != "[key]")


def _refuse(place: str, what: str) -> NoReturn:
    raise BadRequest(f"{place}: {what}", field="profile")
