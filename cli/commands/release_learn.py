"""`tx81 releases learn`: what a profile should say otherwise, from the tools' help and from one job."""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from rich.text import Text

from api.client.client import Client
from api.documents.jobs import JobDetail
from api.documents.releases import ReleaseDetail
from cli.commands.answers_learn import profile_kind, rule_for
from cli.commands.release_check import looked_at
from cli.input.documents import requests_in
from cli.input.files import OwnFiles
from cli.pages.layout import clean
from cli.session import HERE, Exit, Session, Stop
from cli.waiting.jobs import live_progress, wait_for
from orchestrator.model.profile import Profile
from orchestrator.model.release_checks import Level, ReleaseCheck
from orchestrator.model.slots import SlotName
from orchestrator.model.specs import JobRequest
from orchestrator.model.states import JobState
from orchestrator.results.learned_profile import cards_said, other_flags, proposal

_LOGS = ("vendor_log",)
_MOST_BYTES = 4 << 20
"""Of one log: what a tool says about its cards stands near the beginning."""


def learn(
    name: str, /, *, submit: Path | None = None, job: int | None = None, root: Path | None = None,
    session: Session = HERE,
) -> Exit:  # fmt: skip
    """Print what a profile should say otherwise for the tools of a release on this machine; nothing is changed.

    The tools are asked for their help, as `tx81 releases check` does. With --submit or --job it is also found how the
    answers of a job are read, and how the tool names its cards. The result is YAML for a profile of your own.

    Parameters
    ----------
    submit
        File with one job of kind infer, as `tx81 submit` takes it: run with this release, without golden and cache.
    job
        A job that this release has run, instead.
    root
        Folder of the release on this machine. Default: the registered one, or that in TX81_RELEASE_ROOTS.
    """
    if submit is not None and job is not None:
        raise Stop("releases learn: give either --submit or --job")
    with session.client() as client:
        release = client.release(name)
        profile = Profile.model_validate(release.profile)
        check = looked_at(release, root)
        remarks = [_remark(finding.about, finding.detail) for finding in check.findings if finding.level != Level.OK]
        remarks += [_remark(found.about, found.detail) for found in check.findings if found.about == "telemetry"][:1]
        found = [other_flags(profile, check.findings)]
        detail = _run(client, release, check, submit) if submit is not None else _known(client, release, job)
        if detail is not None:
            entries, told = _of_job(client, profile, detail)
            found.append(entries)
            remarks += told
    document = proposal(profile, _name(name), found)
    remarks = list(dict.fromkeys(remarks))
    text = yaml.safe_dump(document, allow_unicode=True, sort_keys=False, width=120)
    session.emit(
        {"profile": document, "remarks": remarks, "job": None if detail is None else detail.id},
        Text(clean("".join(map(_comment, remarks)) + text.rstrip("\n"))),
    )
    return Exit.OK


def _remark(about: str, detail: str) -> str:
    return " ".join(f"{about}: {detail}".split())


def _comment(remark: str) -> str:
    """Lines of YAML that no terminal folds into lines that are none."""
    return textwrap.fill(remark, 76, initial_indent="# ", subsequent_indent="#   ", break_on_hyphens=False) + "\n"


def _name(release: str) -> str:
    return f"{release}_learned"[-100:]


def _run(client: Client, release: ReleaseDetail, check: ReleaseCheck, source: Path) -> JobDetail | None:
    """The job of the file, once it has ended; None where its tool would refuse its arguments."""
    files = OwnFiles()
    request = requests_in(str(source), files)
    if not isinstance(request, JobRequest) or request.spec.kind != "infer":
        raise Stop(f"{source}: expected one job of kind infer")
    if any(finding.flag is not None for finding in check.findings if finding.about == "infer"):
        return None
    spec = request.spec.model_copy(update={"golden": None})
    files.send(client)
    asked = request.model_copy(update={"spec": spec, "release": release.name, "use_cache": False})
    with live_progress() as progress:
        return wait_for(client, [client.submit(asked).id], progress=progress)[0]


def _known(client: Client, release: ReleaseDetail, job: int | None) -> JobDetail | None:
    if job is None:
        return None
    detail = client.job(job)
    if detail.release != release.name:
        raise Stop(f"--job: job {job} belongs to release {detail.release}, not to {release.name}")
    return detail


def _of_job(client: Client, profile: Profile, detail: JobDetail) -> tuple[dict[str, Any], list[str]]:
    """What its kind should say otherwise, and remarks about what was seen."""
    kind, remarks = profile_kind(detail), []
    if detail.failure is not None:
        remarks.append(_remark(f"job {detail.id}", detail.failure.reason))
    entries: dict[str, Any] = {}
    try:
        rule, summary = rule_for(client, detail)
        entries |= rule[kind]
        remarks.append(_remark("answers", f"the rule below {summary}"))
    except Stop as nothing:
        read = detail.state is JobState.SUCCEEDED
        remarks.append(_remark("answers", "read as the profile says" if read else str(nothing)))
    said, how = _cards(client, profile, detail)
    return {kind: {**entries, **said}}, [*remarks, how]


def _cards(client: Client, profile: Profile, detail: JobDetail) -> tuple[dict[str, Any], str]:
    """An entry for the cards that the tool names, and whether it does."""
    slot = next((tried.slot_id for tried in reversed(detail.attempts) if tried.slot_id), None)
    cards = [] if slot is None else list(SlotName.parse(slot.rpartition(".")[2]).cards)
    rule = profile.kinds[profile_kind(detail)].own_cards  # type: ignore[index]  # a kind of the profile, or it had not run
    log = "\n".join(_logs(client, detail))
    said = () if rule is None else rule.said
    if any(re.search(pattern, log) for pattern in said):
        return {}, "own_cards: the tool names its cards as the profile says"
    entry = cards_said(said, log, cards)
    if entry:
        return (
            entry,
            "own_cards: the last pattern below reads which cards the tool names; look at the line before you use it",
        )
    return {}, "own_cards: the tool does not name its cards; only what it opens is seen"


def _logs(client: Client, detail: JobDetail) -> Iterator[str]:
    yield _text(client.log(detail.id))
    for output in detail.outputs:
        if output.name.partition(".")[0] in _LOGS and not output.tree:
            yield _text(client.content(output.id))


def _text(pieces: Iterator[bytes]) -> str:
    read = bytearray()
    for piece in pieces:
        read += piece
        if len(read) >= _MOST_BYTES:
            break
    return read.decode("utf-8", "replace")
