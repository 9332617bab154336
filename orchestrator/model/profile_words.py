"""What of a profile could only fail, or be silently without effect, once a job runs: told when it is registered. Pure.

Profiles that are stored already are not held to this: a release that was registered before goes on as it is.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Set
from math import isinf
from typing import get_args

from pydantic import BaseModel

from orchestrator.model.answer_rules import AnswersRule
from orchestrator.model.conditions import terms_of
from orchestrator.model.patterns import steps
from orchestrator.model.profile import KindProfile, Profile
from orchestrator.model.specs import Spec
from orchestrator.strict_json import Place

PLACE_HOLDER = re.compile(r"\{(\w+)\}")

_INPUTS = frozenset({"gm", "c_source", "kcore", "prompts", "golden"})
_SPECS: Mapping[str, type[BaseModel]] = {
    spec.model_fields["kind"].default: spec for spec in get_args(get_args(Spec)[0])
}
_WORDS = frozenset({"root", "conda", "work", "cwd", "out"})
"""Of every job, besides the folders of the profile and the fields of its spec."""
_OF_CARDS = frozenset({"cards", "card_list", "card_count"})
_OF_KINDS: Mapping[str, Set[str]] = {
    "infer": _OF_CARDS | {"batch_sizes"}, "serve": _OF_CARDS | {"address", "port"},
    "client": frozenset({"ports", "url", "served_id"}),
}  # fmt: skip

_ENVIRONMENT = frozenset({"root", "conda", "work"})
"""What every use of the tools' environment has: each kind of job, the check of a release and the set-up of a host."""
_MOUNTS = frozenset({"root"})
_PROBE = frozenset({"card", "devices", "root"})
_PROVISION = frozenset({"root", "packages", "conda", "work"})
_PROVISION_DOCKER = frozenset({"docker", "container"})


def problems_of(profile: Profile) -> Iterator[tuple[Place, str]]:
    """Each entry that no job could use as it is written, with why."""
    for name, kind in profile.kinds.items():
        at: Place = ("kinds", name)
        fields = _fields_of(name)
        known = _known(name, kind) | set(profile.folders)
        for key in kind.optional:
            if strange := [term.name for term in terms_of(key) if term.name not in fields]:
                known_fields = ", ".join(sorted(fields))
                yield (*at, "optional", key), f"is about {strange[0]}, which {name} jobs do not have ({known_fields})"
        if strange_inputs := sorted(set(kind.copy_in) - fields):
            yield (*at, "copy_in", strange_inputs[0]), f"is no input of {name} jobs"
        yield from _unknown((((*at, *place), text) for place, text in _texts(kind)), known, f"no {name} job has")
        yield from _unknown([((*at, "cwd"), kind.cwd)], known - {"cwd"}, f"no {name} job has")
        for place, pattern in _patterns(kind):
            if pattern and isinf(steps(pattern, "")):
                yield (*at, *place), "is tried again and again, and may try for ever: no repeat or choice in a repeat"
    folders = frozenset(profile.folders)
    yield from _unknown(_environment(profile), _ENVIRONMENT | folders, "not every use of the tools has")
    yield from _unknown(_mounts(profile), _MOUNTS | folders, "no mount has")
    yield from _unknown(_probe(profile), _PROBE, "no probe has")
    in_container = frozenset() if profile.launcher == "local" else _PROVISION_DOCKER
    yield from _unknown(_provision(profile), _PROVISION | folders | in_container, "no step has")


def _fields_of(kind: str) -> Set[str]:
    """The fields of the spec that is run as that kind of a profile."""
    return _SPECS["client" if kind.startswith("client_") else kind].model_fields.keys() - {"kind"}


def _known(name: str, kind: KindProfile) -> Set[str]:
    """The place-holders that a job of the kind has."""
    fields = _fields_of(name)
    inputs = fields & _INPUTS
    own = _OF_KINDS.get("client" if name.startswith("client_") else name, frozenset())
    known = _WORDS | fields | {f"{each}_name" for each in inputs} | own
    return known if kind.model_config_file is not None else known - {"model"}


def _patterns(kind: KindProfile) -> Iterator[tuple[Place, str | None]]:
    """Those that are matched where nothing limits the time."""
    yield ("progress",), kind.progress
    yield from (((*place, "file_name"), rule.file_name) for place, rule in _rules(kind))


def _rules(kind: KindProfile) -> Iterator[tuple[Place, AnswersRule]]:
    for number, rule in enumerate(kind.answer_rules):
        yield ("answers", number) if isinstance(kind.answers, tuple) else ("answers",), rule


def _unknown(texts: Iterable[tuple[Place, str]], known: Set[str], why: str) -> Iterator[tuple[Place, str]]:
    for place, text in texts:
        for word in PLACE_HOLDER.findall(text):
            if word not in known:
                yield place, f"uses {{{word}}}, which {why} (known: {', '.join(sorted(known))})"


def _environment(profile: Profile) -> Iterator[tuple[Place, str]]:
    yield from ((("environment", name), text) for name, text in profile.environment.items())


def _mounts(profile: Profile) -> Iterator[tuple[Place, str]]:
    if profile.launcher != "local":
        for host, inside in profile.launcher.docker.mounts.items():
            yield from ((("launcher", "docker", "mounts", host), text) for text in (host, inside))


def _probe(profile: Profile) -> Iterator[tuple[Place, str]]:
    yield from ((("probe", "nodes", index), text) for index, text in enumerate(profile.probe.nodes))
    for at, asked in ((("probe", "check"), profile.probe.check), (("telemetry",), profile.telemetry)):
        if asked is not None:
            yield from (((*at, "argv", index), word) for index, word in enumerate(asked.argv))
            yield from (((*at, "environment", name), text) for name, text in asked.environment.items())


def _provision(profile: Profile) -> Iterator[tuple[Place, str]]:
    if profile.provision is None:
        return
    if profile.launcher != "local":
        client = profile.launcher.docker.environment
        yield from ((("launcher", "docker", "environment", name), text) for name, text in client.items())
    for index, step in enumerate(profile.provision.steps):
        at: Place = ("provision", "steps", index)
        for place, command in (
            (("done",), step.done),
            *((("do", number), each) for number, each in enumerate(step.do)),
        ):
            yield (*at, *place, "cwd"), command.cwd
            yield from (((*at, *place, "argv", number), word) for number, word in enumerate(command.argv))


def _texts(kind: KindProfile) -> Iterator[tuple[Place, str]]:
    yield from ((("argv", index), word) for index, word in enumerate(kind.argv))
    yield from ((("help", index), word) for index, word in enumerate(kind.help))
    yield from ((("optional", key, at), word) for key, extra in kind.optional.items() for at, word in enumerate(extra))
    yield from ((("environment", name), text) for name, text in kind.environment.items())
    yield from ((("copy_folders", to), text) for to, of in kind.copy_folders.items() for text in (to, of))
    if kind.model_config_file == "tx81":
        yield ("param_dir",), kind.param_dir
    yield from ((("copy_in", name), text) for name, text in kind.copy_in.items())
    yield from ((("outputs", name, "search"), rule.search) for name, rule in kind.outputs.items())
    yield from (((*place, "search"), rule.search) for place, rule in _rules(kind))
    yield from ((("logs", index), glob) for index, glob in enumerate(kind.logs))
    yield from ((("device_logs", index), glob) for index, glob in enumerate(kind.device_logs))
    if kind.exclusive is not None:
        yield ("exclusive",), kind.exclusive
    if kind.serve is not None:
        yield from ((("serve", "listen", index), word) for index, word in enumerate(kind.serve.listen))
        if kind.serve.served_id is not None:
            yield ("serve", "served_id"), kind.serve.served_id
