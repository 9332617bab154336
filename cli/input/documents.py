"""From what a person wrote (JSON, YAML, options) to validated requests; a mistake is one line with its field."""

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from cyclopts import Parameter
from pydantic import BaseModel, ValidationError

from cli.input.files import OwnFiles
from cli.regular_files import open_regular
from cli.session import Stop
from orchestrator.model.batches import BatchRequest
from orchestrator.model.near_misses import MEANT
from orchestrator.model.specs import PRODUCES, JobRequest, PipelineRequest
from orchestrator.model.wrong_fields import wrong_fields
from orchestrator.results.text_files import TextFile
from orchestrator.strict_json import MOST_VALUES, BadDocument, Place, loads
from orchestrator.strict_yaml import load

M = TypeVar("M", bound=BaseModel)

_LONGEST_NUMBER = 40

_PLAIN = {
    "extra_forbidden": "unknown field; remove it or correct its name",
    "union_tag_not_found": f"has no kind; add one of {', '.join(PRODUCES)}",
}
"""The remedy for the commonest mistakes, where the message has none."""


def requests_in(source: str, files: OwnFiles) -> JobRequest | list[JobRequest] | PipelineRequest:
    """The request, the list of requests or the pipeline in a file, or on standard input if `source` is `-`.

    The files of this machine that it names are added to `files`."""
    document, shown = document_in(source)
    document = files.in_document(document, folder_of(source), "jobs" if isinstance(document, list) else "")
    if isinstance(document, list):
        if not document:
            raise Stop(f"{shown}: the list is empty; give at least one job")
        return [validated(JobRequest, job, f"jobs.{index}") for index, job in enumerate(document)]
    if not isinstance(document, dict):
        raise Stop(f"{shown}: expected a job, a list of jobs, or a pipeline with a mapping `jobs`")
    return validated(PipelineRequest, document) if "jobs" in document else validated(JobRequest, document)


def document_in(source: str) -> tuple[Any, str]:
    """What a file or standard input (`-`) holds, and how to call it in an error."""
    shown = "standard input" if source == "-" else source
    return parsed(_text_of(source, shown), shown), shown


def folder_of(source: str) -> Path:
    """The folder to which the paths in a document are relative: its own, or the current one for standard input."""
    return Path() if source == "-" else Path(source).parent


@dataclass(frozen=True)
class WrittenDocument:
    """What a person wrote, and the line of each of its entries where that is known."""

    values: Any
    shown: str
    lines: Mapping[Place, int]

    def at(self, field: str | None) -> str:
        """The line of a dotted field, or of the nearest entry around it, as the beginning of an error."""
        known = {".".join(map(str, place)): line for place, line in self.lines.items()}
        place = field or ""
        while place and place not in known:
            place = place.rpartition(".")[0]
        return f"{self.shown} line {known[place]}: " if place else f"{self.shown}: "


def written_in(source: str) -> WrittenDocument:
    """What a file or standard input (`-`) holds, with the lines of its entries."""
    shown = "standard input" if source == "-" else source
    text = _text_of(source, shown)
    values = parsed(text, shown)
    try:
        lines = load(text, most_values=MOST_VALUES).lines  # most JSON is YAML too
    except BadDocument:
        lines = {}
    return WrittenDocument(values, shown, lines)


def batch_in(source: str, files: OwnFiles) -> BatchRequest:
    """The batch in a file, or on standard input if `source` is `-`; its files of this machine are added to `files`."""
    shown = "standard input" if source == "-" else source
    document = parsed(_text_of(source, shown), shown)
    if not isinstance(document, dict):
        raise Stop(f"{shown}: expected a batch: a mapping with `name`, and `jobs` or `template`")
    return validated(BatchRequest, files.in_document(document, folder_of(source)))


def parsed(text: str, shown: str) -> Any:
    """JSON or YAML as plain data; `Stop` names the line and the place of what is refused."""
    try:
        if text.lstrip()[:1] in ("{", "["):
            try:
                return loads(text)
            except json.JSONDecodeError:
                pass  # YAML's own {flow: style} looks like JSON at first
        return load(text, most_values=MOST_VALUES).values
    except BadDocument as bad:
        told = f"not JSON or YAML that is taken: {bad}" if bad.line is None and bad.field is None else str(bad)
        raise Stop(f"{shown}: {told}") from None


def validated(model: type[M], document: object, prefix: str = "", written: WrittenDocument | None = None) -> M:
    """The document as a request; `Stop` names the first wrong field, with its line if it is `written`, and counts the
    others."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        found = wrong_fields(error.errors(), document, model)
        fields = list(dict.fromkeys(wrong.field for wrong in found))
        where = ".".join(part for part in (prefix, fields[0]) if part) or "the request"
        told = found[0].message if MEANT in found[0].message else _PLAIN.get(found[0].type, found[0].message)
        more = f" (and {len(fields) - 1} more)" if len(fields) > 1 else ""
        line = written.at(fields[0]) if written is not None else ""
        raise Stop(f"{line}{where}: {told}{more}") from None


def requirement_in(text: str) -> Any:
    """A rule for answers, from the command line to how a spec writes it; `Stop` says which there are."""
    name, _, number = text.partition("=")
    if name == "similarity":
        with suppress(ValueError):
            return {"similarity": float(number)}
    if text == "final_answer":
        return {"final_answer": True}
    if text not in ("exact", "report"):
        raise Stop(f"--require: {text[:100]!r} is none of exact, similarity=0.98, final_answer, report")
    return text


def artifact_named(option: str, text: str) -> dict[str, Any]:
    """An artifact that was made or stored before, as a spec names it: by the number of its job, or by its digest."""
    if isinstance(number := _number(text), int):
        return {"job": number, "artifact": option}
    if text.startswith("sha256:"):
        return {"digest": text}
    raise Stop(f"--{option}: {text[:100]!r} is neither a job number nor a digest; write 41 or sha256:…")


@Parameter(name="*")
@dataclass(frozen=True)
class Inference:
    """The options that describe an inference instead of a file."""

    model: str | None = None
    "Name of a registered model."

    kcore: str | None = None
    "The kernel image: number of the job that made it, or its digest sha256:…"

    prompts: str | None = None
    "File with one question a line: on this machine, or server:/path."

    golden: str | None = None
    "File with the expected answers, to compare with: on this machine, or server:/path."

    max_tokens: int | None = None
    "Maximum number of tokens of an answer."

    require: str | None = None
    "What answers have to be beside --golden: exact (default), similarity=0.98, final_answer, or report."

    def fields(self, command: str, needed: Sequence[str], files: OwnFiles) -> dict[str, Any]:
        """Those of the spec that were given, the files of this machine added to `files`; `Stop` names the first that is
        needed and was not."""
        said = {option: value for option, value in vars(self).items() if value is not None}
        if missing := [option for option in needed if option not in said]:
            raise Stop(f"{command}: --{missing[0]} is missing")
        kcore = artifact_named("kcore", said["kcore"])
        texts: tuple[TextFile, ...] = ("prompts", "golden")
        sources: dict[str, Any] = {name: files.source(name, said[name], f"--{name}") for name in texts if name in said}
        rule = {"require": requirement_in(said["require"])} if "require" in said else {}
        return {**said, "kcore": kcore, **sources, **rule}


def model_to_answers(
    *,
    name: str,
    prefix: str = "",
    model: str,
    backend_type: str,
    prompts: Mapping[str, Any],
    golden: Mapping[str, Any] | None = None,
    require: str | None = None,
    quantize: bool = False,
    max_tokens: int | None = None,
    groups: int | None = None,
    cards: str | None = None,
    batch_sizes: str | None = None,
    release: str | None = None,
) -> PipelineRequest:
    """The pipeline from weights to answers: (quantize,) convert, compile, infer; `prefix` begins each job's name.

    `prompts` and `golden` are written as in a spec."""
    gm = {"gm": {"job": f"{prefix}quantize", "artifact": "gm"}} if quantize else {}
    infer = {
        "kind": "infer",
        "model": model,
        "kcore": {"job": f"{prefix}compile", "artifact": "kcore"},
        "prompts": dict(prompts),
        **gm,
        **({"golden": dict(golden)} if golden else {}),
        **({"require": requirement_in(require)} if require is not None else {}),
        **({"max_tokens": max_tokens} if max_tokens is not None else {}),
        **({"groups": groups} if groups is not None else {}),
        **({"cards": cards} if cards else {}),
        **({"batch_sizes": [_number(size) for size in batch_sizes.strip("[]").split(",")]} if batch_sizes else {}),
    }
    specs = {
        **({"quantize": {"kind": "quantize", "model": model}} if quantize else {}),
        "convert": {"kind": "convert", "model": model, "backend_type": backend_type, **gm},
        "compile": {"kind": "compile", "c_source": {"job": f"{prefix}convert", "artifact": "c_source"}},
        "infer": infer,
    }
    chosen = {"release": release} if release else {}
    return validated(
        PipelineRequest,
        {"name": name, "jobs": {f"{prefix}{job}": {"spec": spec, **chosen} for job, spec in specs.items()}},
    )


def _number(text: str) -> int | str:
    """A number of a sensible length, or the text, which the document's own check refuses."""
    return int(text) if text.strip().isdecimal() and len(text) <= _LONGEST_NUMBER else text


def _text_of(source: str, shown: str) -> str:
    try:
        if source == "-":
            return sys.stdin.buffer.read().decode("utf-8-sig")
        with open_regular(Path(source)) as file:
            return file.read().decode("utf-8-sig")
    except OSError as error:
        raise Stop(f"{shown}: cannot be read ({error.strerror}); give a JSON or YAML file, or - for stdin") from None
    except UnicodeDecodeError:
        raise Stop(f"{shown}: is not UTF-8 text") from None
