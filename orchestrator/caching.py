"""Cache keys of builds, and why one key differs from another. Pure: no SQL, no files.

A build's result depends on its kind, its normalised parameters, the content of its inputs and the toolchain release,
and on nothing else; the key is the hash of exactly these.
"""

import hashlib
import json
from collections.abc import Mapping
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


def why_missed(parts: CacheParts, nearest: CacheParts | None) -> list[str]:
    """What differs from the nearest earlier build, one short line each; `nearest` None means there was none."""
    if nearest is None:
        return ["no earlier build of this kind"]
    names = sorted(parts.keys() | nearest.keys())
    return [
        f"{name}: {_short(nearest.get(name))} → {_short(parts.get(name))}"
        for name in names
        if parts.get(name) != nearest.get(name)
    ]


def nearest(parts: CacheParts, earlier: list[CacheParts]) -> CacheParts | None:
    """The earlier build that differs in the fewest parts; the first of equals."""
    return min(earlier, key=lambda other: len(why_missed(parts, other)), default=None)


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text[:19] + "…" if text.startswith("sha256:") else text
