"""What of a profile could only fail, or be silently without effect, once a job runs: told when it is registered. Pure.

Profiles that are stored already are not held to this: a release that was registered before goes on as it is.
"""

import re
from collections.abc import Iterator
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


def problems_of(profile: Profile) -> Iterator[tuple[Place, str]]:
    """Each entry that no job could use as it is written, with why."""
    known = _WORDS | _FIELDS | set(_INPUTS) | {f"{name}_name" for name in _INPUTS} | set(profile.folders)
    for name, kind in profile.kinds.items():
        at: Place = ("kinds", name)
        for key in kind.optional:
            if key not in _FIELDS | set(_INPUTS):
                inputs = ", ".join(sorted(_INPUTS))
                yield (*at, "optional", key), f"is neither an input ({inputs}) nor a switch of a spec"
        for place, text in _texts(kind):
            for word in PLACE_HOLDER.findall(text):
                if word not in known:
                    yield (*at, *place), f"uses {{{word}}}, which no job has (known: {', '.join(sorted(known))})"
        patterns = {("progress",): kind.progress, ("answers", "file_name"): kind.answers and kind.answers.file_name}
        for place, pattern in patterns.items():
            if pattern and isinf(steps(pattern, "")):
                yield (*at, *place), "is tried again and again, and may try for ever: no repeat or choice in a repeat"


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
