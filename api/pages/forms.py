"""Forms made from the documents that the API takes: from a JSON schema to fields, and from fields to a document. Pure.

A field is named by its place in the document (`spec.max_tokens`), as errors of the API name it. What a form cannot hold
in one box (a union, a list of mappings) is written there as YAML. Nothing is validated here: the API does that.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import yaml

from orchestrator.model.spec_words import SERVER_PREFIX
from orchestrator.model.specs import PRODUCES, JobRequest
from orchestrator.strict_json import BadDocument
from orchestrator.strict_yaml import load

KINDS = ("infer", "client", "serve", *sorted({*PRODUCES} - {"infer", "client", "serve"}))
"""Those that people write most come first."""

SOURCES = ("job", "digest", "path", "lines")
"""Where an input comes from; what a field of an input is named in addition to its place."""

_SOURCE_OF = {"JobOutput": "job", "StoredArtifact": "digest", "FilePath": "path", "PromptLines": "lines"}
_NUMBERS = ("integer", "number")
_MOST_VALUES = 10_000
_ABSENT = object()


@dataclass(frozen=True)
class Field:
    """One field of a form."""

    name: str
    """Its place in the document."""
    shape: str
    """`text`, `number`, `choice`, `switch`, `list`, `pairs`, `source` or `yaml`."""
    required: bool = False
    hint: str = ""
    default: str = ""
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    whole: bool = False
    """Whether a number is an integer."""

    @property
    def label(self) -> str:
        """The last word of its place."""
        return self.name.rpartition(".")[2]


@dataclass(frozen=True)
class Form:
    """The fields of one kind of job: what it needs, what it may say, and what every job may say."""

    kind: str
    about: str
    required: tuple[Field, ...]
    optional: tuple[Field, ...]
    around: tuple[Field, ...]

    @property
    def fields(self) -> tuple[Field, ...]:
        """All of them."""
        return self.required + self.optional + self.around


@cache
def form_of(kind: str) -> Form:
    """The form of a kind of job; KeyError if there is no such kind."""
    schema = JobRequest.model_json_schema()
    known = schema["$defs"]
    spec = known[schema["properties"]["spec"]["discriminator"]["mapping"][kind].rpartition("/")[2]]
    own = tuple(_fields("spec", spec, known))
    around = {name: inner for name, inner in schema["properties"].items() if name != "spec"}
    return Form(
        kind=kind,
        about=str(spec.get("description", "")).partition("\n")[0],
        required=tuple(each for each in own if each.required),
        optional=tuple(each for each in own if not each.required),
        around=tuple(_fields("", {"properties": around}, known)),
    )


def _fields(place: str, schema: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[Field]:
    required = schema.get("required", ())
    for name, inner in schema["properties"].items():
        if name != "kind":
            where = f"{place}.{name}" if place else name
            yield from _field(where, inner, known, required=name in required)


def _field(place: str, schema: Mapping[str, Any], known: Mapping[str, Any], *, required: bool) -> Iterator[Field]:
    said = {"required": required, "hint": schema.get("description", ""), "default": _shown(schema.get("default"))}
    forms = [form for form in schema.get("anyOf", (schema,)) if form.get("type") != "null"]
    inner = forms[0] if len(forms) == 1 else {}
    referred = known.get(str(inner.get("$ref", "")).rpartition("/")[2])
    if referred is not None and "properties" in referred:
        yield from _fields(place, referred, known)
        return
    sources = tuple(_SOURCE_OF.get(str(form.get("$ref", "")).rpartition("/")[2], "") for form in inner.get("oneOf", ()))
    if sources and all(sources):
        yield Field(place, "source", **said, choices=sources)
    elif "enum" in inner or "const" in inner:
        yield Field(place, "choice", **said, choices=tuple(map(str, inner.get("enum", [inner.get("const")]))))
    else:
        yield _plain(place, inner, said)


def _plain(place: str, schema: Mapping[str, Any], said: Mapping[str, Any]) -> Field:
    kind = schema.get("type")
    if kind in _NUMBERS:
        least = schema.get("minimum", schema.get("exclusiveMinimum"))
        most = schema.get("maximum", schema.get("exclusiveMaximum"))
        return Field(place, "number", **said, least=least, most=most, whole=kind == "integer")
    if kind == "array" and "oneOf" not in schema["items"]:
        return Field(place, "list", **said)
    if kind == "object":
        return Field(place, "pairs", **said)
    return Field(place, {"boolean": "switch", "string": "text"}.get(str(kind), "yaml"), **said)


def _shown(value: object) -> str:
    if value in (None, [], {}, ()):
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value) if isinstance(value, str | int | float) else ""


# ── from what a person wrote to a document ──


@dataclass
class _Written:
    document: dict[str, Any] = field(default_factory=dict)

    def put(self, place: str, value: object) -> None:
        *path, last = place.split(".")
        inner = self.document
        for name in path:
            inner = inner.setdefault(name, {})
        inner[last] = value


def document_of(form: Form, values: Mapping[str, str]) -> dict[str, Any]:
    """The document that a filled form means; empty fields are left out. Wrong values stay for the API to refuse."""
    written = _Written({"spec": {"kind": form.kind}})
    for each in form.fields:
        said = values.get(each.name, "")
        if said.strip():
            written.put(each.name, _value(each, said, values.get(f"{each.name}:from", "")))
    return written.document


def _value(of: Field, said: str, source: str) -> object:
    match of.shape:
        case "source":
            return _source(of, said, source)
        case "number" | "yaml":
            return _read(said)
        case "switch":
            return {"true": True, "false": False}.get(said, said)
        case "list":
            return [_read(part) for part in said.split(",") if part.strip()]
        case "pairs":
            pairs = (part.partition("=") for part in said.split(",") if part.strip())
            return {name.strip(): value.strip() for name, _, value in pairs}
    return said.strip()


def _source(of: Field, said: str, source: str) -> dict[str, Any]:
    text = said.strip()
    match source if source in of.choices else _guess(of.choices, text):
        case "lines":
            return {"lines": [line for line in said.splitlines() if line.strip()]}
        case "job":
            job, _, artifact = text.partition(" ")
            return {"job": int(job) if job.isdecimal() and len(job) < 19 else job, "artifact": artifact or of.label}
        case "digest":
            return {"digest": text}
    return {"path": text}


def _guess(choices: Sequence[str], text: str) -> str:
    """Which source is meant where only one of them can be."""
    if text.startswith("sha256:"):
        return "digest"
    return "path" if text.startswith(("/", SERVER_PREFIX)) and "path" in choices else "job"


def _read(said: str) -> object:
    """A value as YAML reads it; the text itself if it is none."""
    try:
        return load(said.strip(), most_values=_MOST_VALUES).values
    except BadDocument:
        return said.strip()


# ── from a document to what a person reads ──


def values_of(form: Form, document: Mapping[str, Any]) -> dict[str, str]:
    """What the form of a document shows; of an input also where it comes from, as `NAME:from`."""
    found: dict[str, str] = {}
    for each in form.fields:
        value = _at(document, each.name.split("."))
        if value is _ABSENT:
            continue
        if each.shape == "source" and isinstance(value, Mapping):
            source = next((name for name in SOURCES if name in value), "")
            found[f"{each.name}:from"] = source
            found[each.name] = _source_shown(each, source, value)
        else:
            found[each.name] = _written(each, value)
    return found


def _at(document: object, path: Sequence[str]) -> object:
    for name in path:
        if not isinstance(document, Mapping) or name not in document:
            return _ABSENT
        document = document[name]
    return document


def _source_shown(of: Field, source: str, value: Mapping[str, Any]) -> str:
    if source == "lines":
        lines = value["lines"]
        return "\n".join(map(str, lines)) if isinstance(lines, list | tuple) else str(lines)
    artifact = value.get("artifact", of.label)
    more = f" {artifact}" if source == "job" and artifact != of.label else ""
    return f"{value.get(source, '')}{more}"


def _written(of: Field, value: object) -> str:
    if of.shape == "list" and isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if of.shape == "pairs" and isinstance(value, Mapping):
        return ", ".join(f"{name}={inner}" for name, inner in value.items())
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    return yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000).strip()


def as_yaml(document: Mapping[str, Any]) -> str:
    """A document as a person writes it."""
    return yaml.safe_dump(dict(document), sort_keys=False, allow_unicode=True, width=110)


def shortest(request: Mapping[str, Any]) -> dict[str, Any]:
    """The request of a job without what is the default anyway."""
    model = JobRequest.model_validate(request)
    found = model.model_dump(mode="json", exclude_defaults=True)
    found["spec"] = {"kind": model.spec.kind, **found.get("spec", {})}
    return dict(sorted(found.items(), key=lambda entry: entry[0] != "spec"))
