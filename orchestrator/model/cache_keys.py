"""Cache keys of builds, and why one key differs from another. Pure: no SQL, no files.

A build's result depends on its kind, its normalised parameters, the content of its inputs and the toolchain release,
and on nothing else; the key is the hash of exactly these.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.model.specs import BUILD_KINDS, Spec, inputs_of

CacheParts = dict[str, Any]


def digest_of(document: Any) -> str:
    """`sha256:<hex>` of a JSON document in its canonical form (sorted keys, no spaces).

    Halves of surrogate pairs are kept as they are: JSON may spell them, and file names that are not UTF-8 hold them.
    """
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"sha256:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"


def cache_parts(spec: Spec, inputs: Mapping[str, str], release_digest: str) -> CacheParts | None:
    """Everything the result of `spec` depends on, flat; None for a kind whose result is never reused.

    `inputs` are the digests of the model and of every artifact input, by name.
    """
    if spec.kind not in BUILD_KINDS:
        return None
    fields = spec.model_dump(mode="json", exclude={"kind", "model", *inputs_of(spec)}, exclude_none=True)
    parameters = {f"parameter {name}": value for name, value in fields.items()}
    contents = {f"input {name}": digest for name, digest in inputs.items()}
    return {"kind": spec.kind, "release": release_digest, **parameters, **contents}


@dataclass(frozen=True)
class Change:
    """One part in which two builds differ; None is of the one that has no such part."""

    part: str
    before: Any
    after: Any


def changes(parts: CacheParts, earlier: CacheParts) -> list[Change]:
    """What differs from an earlier build, by the names of the parts."""
    names = sorted(parts.keys() | earlier.keys())
    found = (Change(name, earlier.get(name), parts.get(name)) for name in names)
    return [change for change in found if change.before != change.after]


def why_missed(parts: CacheParts, nearest: CacheParts | None) -> list[str]:
    """What differs from the nearest earlier build, one short line each; `nearest` None means there was none."""
    if nearest is None:
        return ["no earlier build of this kind has succeeded"]
    return [f"{change.part}: {short(change.before)} → {short(change.after)}" for change in changes(parts, nearest)]


def nearest(parts: CacheParts, earlier: Mapping[int, CacheParts]) -> int | None:
    """The number of the earlier build that differs in the fewest parts; of equals the newest, which has the highest."""
    return min(earlier, key=lambda number: (len(changes(parts, earlier[number])), -number), default=None)


def short(value: Any) -> str:
    """A part's value as a person reads it: of a digest the beginning."""
    text = "nothing" if value is None else str(value)
    return text[:19] + "…" if text.startswith("sha256:") else text
