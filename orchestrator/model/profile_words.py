"""What of a profile could only fail, or be silently without effect, once a job runs: told when it is registered. Pure.

Profiles that are stored already are not held to this: a release that was registered before goes on as it is.
"""

import re
from collections.abc import Iterable, Iterator, Set
from math import isinf
from typing import get_args

from orchestrator.model.patterns import steps
from orchestrator.model.profile import KindProfile, Profile
from orchestrator.model.specs import Spec
from orchestrator.strict_json import Place

PLACE_HOLDER = re.compile(r"\{(\w+)\}")

_INPUTS = ("gm", "c_source", "kcore", "prompts", "golden")
_FIELDS = frozenset(name for spec in get_args(get_args(Spec)[0]) for name in spec.model_fields) - {"kind"}
_WORDS = frozenset(
    {
        "root", "conda", "work", "out", "model", "kind", "cards", "groups", "batch_sizes", "traverse", "address",
        "port", "ports", "url", "served_id", "python", "code", "load", "golden_python", "reference",
    }
)  # fmt: skip
"""Besides the fields of specs, the inputs with their names, and the folders of the profile."""

_ENVIRONMENT = frozenset({"root", "conda", "work"})
"""What every use of the tools' environment has: each kind of job, the check of a release and the set-up of a host."""
_MOUNTS = frozenset({"root"})
_PROBE = frozenset({"card", "devices", "root"})
_PROVISION = frozenset({"root", "packages", "conda", "work"})
_PROVISION_DOCKER = frozenset({"docker", "container"})


def problems_of(profile: Profile) -> Iterator[tuple[Place, str]]:
    """Each entry that no job could use as it is written, with why."""
    known = _WORDS | _FIELDS | set(_INPUTS) | {f"{name}_name" for name in _INPUTS} | set(profile.folders)
    for name, kind in profile.kinds.items():
        at: Place = ("kinds", name)
        for key in kind.optional:
            if key not in _FIELDS | set(_INPUTS):
                inputs = ", ".join(sorted(_INPUTS))
                yield (*at, "optional", key), f"is neither an input ({inputs}) nor a switch of a spec"
        yield from _unknown((((*at, *place), text) for place, text in _texts(kind)), known, "no job has")
        patterns = {("progress",): kind.progress, ("answers", "file_name"): kind.answers and kind.answers.file_name}
        for place, pattern in patterns.items():
            if pattern and isinf(steps(pattern, "")):
                yield (*at, *place), "is tried again and again, and may try for ever: no repeat or choice in a repeat"
    folders = frozenset(profile.folders)
    yield from _unknown(_environment(profile), _ENVIRONMENT | folders, "not every use of the tools has")
    yield from _unknown(_mounts(profile), _MOUNTS | folders, "no mount has")
    yield from _unknown(_probe(profile), _PROBE, "no probe has")
    in_container = frozenset() if profile.launcher == "local" else _PROVISION_DOCKER
    yield from _unknown(_provision(profile), _PROVISION | folders | in_container, "no step has")


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
    yield ("cwd",), kind.cwd
    yield from ((("argv", index), word) for index, word in enumerate(kind.argv))
    yield from ((("help", index), word) for index, word in enumerate(kind.help))
    yield from ((("optional", key, at), word) for key, extra in kind.optional.items() for at, word in enumerate(extra))
    yield from ((("copy_in", name), text) for name, text in kind.copy_in.items())
    yield from ((("outputs", name, "search"), rule.search) for name, rule in kind.outputs.items())
    if kind.exclusive is not None:
        yield ("exclusive",), kind.exclusive
    if kind.serve is not None:
        yield from ((("serve", "listen", index), word) for index, word in enumerate(kind.serve.listen))
        if kind.serve.served_id is not None:
            yield ("serve", "served_id"), kind.serve.served_id
