"""A run as its worker recorded it → a shell script that repeats it with the vendor's tools alone. Pure.

The paths of the installation become variables at the top of the script. Every other word is quoted by `shlex`, so that
none of it is read by the shell.
"""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.handover.secrets import MASK

KCORE_HERE = "@KCORE@"
"""What stands in the stored config.json for the place of the kernel image."""

_WORD = re.compile(r"\{(\w+)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class RepeatedInput:
    """A file or folder that the tool read."""

    name: str
    file_name: str
    digest: str
    member: str | None
    """Where it is in the archive; None if it is not, so that a person has to say where it lies."""
    copy_in: str | None = None
    """Where the profile wants it, with place-holders; None: in the folder of inputs."""


@dataclass(frozen=True)
class RepeatedRun:
    """All that the script is made from."""

    job: int
    kind: str
    label: str
    """`JOB.NUMBER`, the name of its working folder."""
    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str
    release: str
    root: str
    """Where the release was installed on that host."""
    container: str | None = None
    model: str | None = None
    model_path: str | None = None
    config: str | None = None
    """Where the config.json of this use is in the archive; None: the tool does not read the model's folder."""
    param_dir: str = "{kcore}"
    """Its `param_dir` in the config.json of this use, with place-holders."""
    inputs: Sequence[RepeatedInput] = ()
    folders: Mapping[str, str] = field(default_factory=dict)
    """Place below the working folder, with place-holders → folder of the release that is copied there."""
    cards: str | None = None


def script(run: RepeatedRun) -> str:
    """The text of `repeat.sh`."""
    places = _Places(run)
    lines = [
        "#!/usr/bin/env bash",
        f"# Repeats job {run.job} ({run.kind}) with the vendor's tools alone: nothing of the orchestrator is needed.",
        "# Change the values below, or set the variables REPEAT_… before you start it.",
    ]
    if run.container is not None:
        lines.append(f"# It ran in the container {_in_comment(run.container)}: start this script inside it.")
    lines += ["set -euo pipefail", 'HERE="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"', ""]
    lines += _variables(run)
    lines += ["", 'mkdir -p "$WORK"/run "$WORK"/out', *_folders(run, places), *_inputs(run)]
    if run.config is not None and run.model is not None:
        lines += ["", *_model(run)]
    lines += ["", f"cd -- {places.shown(run.cwd)}", *_command(run, places)]
    lines += ['echo "ended; outputs are below $WORK" >&2', ""]
    return "\n".join(lines)


class _Places:
    """The installation's paths, and the variable that stands for each."""

    def __init__(self, run: RepeatedRun) -> None:
        self.work = _work_folder(run)
        known = {self.work: "WORK", run.root: "ROOT"}
        if run.config is None and run.model_path:
            known[run.model_path] = "MODEL"
        self._known = {path: name for path, name in known.items() if path and path != "/"}
        paths = sorted(self._known, key=lambda path: (-len(path), path))
        # A path ends where a name ends: /opt/tools is no part of /opt/tools2.
        self._found = re.compile("|".join(rf"{re.escape(path)}(?![\w.-])" for path in paths) or r"(?!)")

    def shown(self, word: str) -> str:
        """The word as the shell has to read it: known paths as variables, the rest quoted."""
        parts, end = [], 0
        for match in self._found.finditer(word):
            parts += [shlex.quote(word[end : match.start()])] if match.start() > end else []
            parts.append(f'"${self._known[match[0]]}"')
            end = match.end()
        parts += [shlex.quote(word[end:])] if end < len(word) or not parts else []
        return "".join(parts)


def _work_folder(run: RepeatedRun) -> str:
    """Where its worker had laid everything: the path that ends with its label."""
    found = re.compile(rf"(/(?:[^\0:'\" ]+/)?{re.escape(run.label)})(?=[/:]|$)")
    for text in (run.cwd, *run.env.values(), *run.argv):
        if match := found.search(text):
            return match[1]
    return ""


def _variables(run: RepeatedRun) -> list[str]:
    lines = [_variable("ROOT", run.root, f"release {run.release}, as it is installed here")] if run.root else []
    if run.model_path:
        lines.append(_variable("MODEL", run.model_path, f"the folder with the weights of {run.model}"))
    for given in run.inputs:
        if given.member is not None:
            lines.append(f'{_variable_of(given)}="$HERE"/{shlex.quote(given.member)}')
        else:
            about = f"{given.name}, {given.file_name}, digest {given.digest}"
            lines.append(_variable(_variable_of(given), None, about))
    if run.cards:
        lines.append(_variable("CARDS", run.cards, "the cards that it ran on"))
    lines += [
        'WORK="${REPEAT_WORK-}"  # an empty folder; by default a new one',
        '[ -n "$WORK" ] || WORK="$(mktemp -d)"',
    ]
    for name in _masked(run):
        lines.append(_variable(f"ENV_{name}", None, f"the value of {name}, which was removed as a secret"))
    return lines


def _variable(name: str, default: str | None, about: str) -> str:
    if default is None:
        told = re.sub(r"[^\w .,:+-]", "_", about)
        return f'{name}="${{REPEAT_{name}:?set it to {told}}}"'
    return f'{name}="${{REPEAT_{name}-}}"; [ -n "${name}" ] || {name}={shlex.quote(default)}  # {_in_comment(about)}'


def _folders(run: RepeatedRun, places: _Places) -> Iterator[str]:
    for target, source in run.folders.items():
        yield from _copied(places.shown(source), _quoted(_filled(target, run)))


def _inputs(run: RepeatedRun) -> Iterator[str]:
    names = {given.name for given in run.inputs}
    # One that lies in another comes after it.
    for given in sorted(run.inputs, key=lambda one: not names.isdisjoint(_WORD.findall(one.copy_in or ""))):
        yield from _copied(f'"${_variable_of(given)}"', _quoted(_place(given, run)))


def _copied(source: str, target: str) -> Iterator[str]:
    yield f'mkdir -p "$(dirname -- {target})"'
    yield f"cp -rL -- {source} {target} && chmod -R u+w -- {target}"


def _place(given: RepeatedInput, run: RepeatedRun) -> str:
    """Where it is laid; the working folder is `\\0WORK`."""
    if given.copy_in is None:
        return f"\0WORK/inputs/{given.name}/{given.file_name}"
    return _filled(given.copy_in, run)


def _filled(text: str, run: RepeatedRun) -> str:
    def word(found: re.Match[str]) -> str:
        name = found[1]
        for given in run.inputs:
            if name in (given.name, f"{given.name}_name"):
                return _place(given, run) if name == given.name else given.file_name
        return {"work": "\0WORK", "model": f"\0WORK/model/{run.model}"}.get(name, found[0])

    return _WORD.sub(word, text)


def _quoted(path: str) -> str:
    """As the shell has to read it."""
    before, work, after = path.partition("\0WORK")
    return (shlex.quote(before) if before else "") + ('"$WORK"' if work else "") + (shlex.quote(after) if after else "")


def _model(run: RepeatedRun) -> list[str]:
    """The model's folder with the config.json of this use, as the worker lays it."""
    folder = f'"$WORK"/model/{shlex.quote(run.model or "")}'
    has_kcore = any(given.name == "kcore" for given in run.inputs)
    kcore = _quoted(_filled(run.param_dir, run)) if has_kcore else "''"
    return [
        f"FOLDER={folder}; PLACE={kcore}",
        'mkdir -p "$FOLDER"',
        'for FILE in "$MODEL"/*; do',
        '  case "${FILE##*/}" in config.json*) continue ;; esac',
        '  [ -e "$FOLDER/${FILE##*/}" ] || ln -s -- "$FILE" "$FOLDER/"',
        "done",
        f'CONFIG="$(cat "$HERE"/{shlex.quote(run.config or "")})"',
        f'printf \'%s\\n\' "${{CONFIG//{KCORE_HERE}/"$PLACE"}}" > "$FOLDER"/config.json',
    ]


def _command(run: RepeatedRun, places: _Places) -> list[str]:
    masked = _masked(run)
    words = ["env -i"]
    for name, value in run.env.items():
        words.append(f'{name}="$ENV_{name}"' if name in masked else shlex.quote(f"{name}=") + places.shown(value))
    words += ['"$CARDS"' if run.cards and word == run.cards else places.shown(word) for word in run.argv]
    return [" \\\n  ".join(words)]


def _masked(run: RepeatedRun) -> list[str]:
    return [name for name, value in run.env.items() if value == MASK and _NAME.fullmatch(name)]


def _variable_of(given: RepeatedInput) -> str:
    return re.sub(r"\W", "_", given.name).upper()


def _in_comment(text: str) -> str:
    return " ".join(text.split())
