"""The handover bundle of a job: its members in a fixed order, each read when its turn comes.

Nothing is held open while a slow client reads: every member is a few short reads of SQL or of the store. Large
artifacts are listed by digest and name, and are in the archive only if they are asked for.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from typing import Any

from orchestrator.errors import OrchestratorError
from orchestrator.handover import facts
from orchestrator.handover.archive import ArchiveMember, Compression, archive, safe_name
from orchestrator.handover.facts import Handover
from orchestrator.handover.members import Making, Pieces
from orchestrator.handover.outcome import Outcome
from orchestrator.handover.repeat import KCORE_HERE, RepeatedInput, RepeatedRun, script
from orchestrator.handover.secrets import Redactor, passwords_in
from orchestrator.model.calling import OwnProgram, how_to_run
from orchestrator.model.profile import KindProfile, Profile
from orchestrator.model.specs import CanarySpec, JobRequest
from orchestrator.settings import Settings
from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Attempt, JobInput

MOST_INPUT_BYTES = 64 << 20
"""Of prompts and of reference answers; a longer file is named by its digest."""

_PIECE = 1 << 18


class Bundles:
    """Makes handover bundles."""

    def __init__(self, settings: Settings, database: Database, store: ArtifactStore) -> None:
        self._database = database
        self._store = store
        own = passwords_in(settings.database, settings.broker_url)
        self._redactor = Redactor([*own, settings.flower_password.get_secret_value()])

    def open(self, job_id: int, *, how: Compression, with_artifacts: bool = False) -> Iterator[bytes]:
        """The archive of a job, in pieces; NotFound, at once, if there is no such job."""
        with self._database.read() as session:
            handover = facts.read(session, job_id, self._database.now(session))
        made = handover.facts.listed.job
        packing = _Packing(self._database, self._store, self._redactor, handover, with_artifacts=with_artifacts)
        return archive(packing.members(), below=f"tx81-job-{job_id}", mtime=int(made.created_at.timestamp()), how=how)


class _Packing:
    """One bundle while it is written."""

    def __init__(
        self, database: Database, store: ArtifactStore, redactor: Redactor, handover: Handover, *, with_artifacts: bool
    ) -> None:
        self._database = database
        self._store = store
        self._making = Making(redactor)
        self._handover = handover
        self._with_artifacts = with_artifacts

    def members(self) -> Iterator[ArchiveMember]:
        """All members, in their order."""
        handover, job = self._handover, self._handover.facts.listed.job
        outcome = Outcome(self._database, self._store, self._making, handover)
        bill = facts.bill_of_materials(handover, product=version("tx81-orchestrator"))
        yield self._making.of_json("bill_of_materials.json", bill)
        yield self._making.of_json("request.json", job.request)
        yield self._making.of_json("spec.json", job.spec)
        if handover.release is not None:
            yield self._making.of_json("profile.json", handover.release.profile)
        inputs = {row.name: self._input(row.name, row.digest, row.file_name) for row in handover.ran.inputs}
        config = self._config()
        if config is not None:
            yield config
        yield from (member for member in inputs.values() if member is not None)
        if self._with_artifacts:
            for row in handover.ran.inputs:
                if inputs[row.name] is None and row.digest is not None:
                    yield from self._artifact(row.name, row.digest, row.file_name or row.name)
        run = self._run(inputs, config)
        if run is not None:
            yield self._making.of_text("repeat.sh", script(run), executable=True)
        yield self._making.of_pieces("events.jsonl", outcome.events)
        for attempt in handover.ran.attempts:
            yield from outcome.attempt(attempt)
        if self._with_artifacts:
            for output in handover.ran.outputs:
                yield from self._artifact(f"output/{safe_name(output.name)}", output.digest, output.file_name)
        yield self._making.of_text("README.txt", _readme(handover, run))
        yield self._making.of_json("left_out.json", self._making.left_out)

    # ── inputs ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _input(self, name: str, digest: str | None, file_name: str | None) -> ArchiveMember | None:
        """Prompts and reference answers, character by character: only what is certainly a secret is masked."""
        if name not in ("prompts", "golden") or digest is None:
            return None
        path = f"inputs/{name}/{safe_name(file_name or name)}"
        try:
            size = self._store.size(digest)
        except OrchestratorError as trouble:
            self._making.leave_out(path, str(trouble))
            return None
        if size > MOST_INPUT_BYTES:
            self._making.leave_out(path, f"{size} bytes, digest {digest}: more than {MOST_INPUT_BYTES}")
            return None

        def pieces() -> Pieces:
            with self._store.open(digest) as stored:
                text = stored.read().decode("utf-8", "surrogateescape")
            return [self._making.redactor.known(text).encode("utf-8", "surrogateescape")]

        return self._making.of_pieces(path, pieces)

    def _config(self) -> ArchiveMember | None:
        """The config.json that the tool saw; the place of the kernel image is filled in by the script."""
        kind, model = self._kind(), self._handover.model
        if kind is None or kind.model_config_file is None or model is None:
            return None
        official = kind.model_config_file == "official"
        config = model.official_config if official else model.tx81_config
        if config is None:
            return None
        shown = config if official else {**config, "param_dir": KCORE_HERE}
        # Not by names: a model's configuration has many fields that are called "…token…".
        text = json.dumps(shown, ensure_ascii=False, indent=2)
        return self._making.of_text("inputs/config.json", self._making.redactor.known(text))

    def _artifact(self, name: str, digest: str, file_name: str) -> Iterator[ArchiveMember]:
        path = f"artifacts/{name}"
        try:
            if not self._store.is_tree(digest):
                size = self._store.size(digest)
                yield ArchiveMember(f"{path}/{safe_name(file_name)}", lambda: self._stored(digest), size=size)
                return
            entries = self._store.tree(digest).entries
        except OrchestratorError as trouble:
            self._making.leave_out(path, str(trouble))
            return
        for entry in entries:
            if not self._store.exists(entry.digest):
                self._making.leave_out(f"{path}/{entry.path}", f"the store has no {entry.digest}")
                continue
            place = f"{path}/{safe_name(file_name)}/{entry.path}"
            yield ArchiveMember(place, self._reader(entry.digest), size=entry.size, executable=entry.executable)

    def _reader(self, digest: str) -> Callable[[], Pieces]:
        return lambda: self._stored(digest)

    def _stored(self, digest: str) -> Iterator[bytes]:
        with self._store.open(digest) as stored:
            while piece := stored.read(_PIECE):
                yield piece

    # ── the run ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _kind(self) -> KindProfile | None:
        """How it was called; None of our own programs, and of kinds that no request can name."""
        handover = self._handover
        job, release = handover.ran.listed.job, handover.release
        if release is None or job.kind == "provision":
            return None
        spec = JobRequest.model_validate(job.request).spec
        spec = spec.inference() if isinstance(spec, CanarySpec) else spec
        kind = how_to_run(Profile.model_validate(release.profile), spec)
        return None if isinstance(kind, OwnProgram) else kind

    def _run(self, inputs: Mapping[str, ArchiveMember | None], config: ArchiveMember | None) -> RepeatedRun | None:
        """What is repeated; None if no process of the vendor's was started."""
        handover, kind = self._handover, self._kind()
        attempt, release, model = handover.attempt, handover.release, handover.model
        if attempt is None or attempt.command is None or release is None or kind is None:
            return None
        command = self._making.redactor.document(attempt.command)
        cards = facts.cards_of(attempt)
        return RepeatedRun(
            job=handover.ran.listed.job.id, kind=handover.ran.listed.job.kind,
            label=f"{attempt.job_id}.{attempt.number}", argv=command["argv"], env=command["env"], cwd=command["cwd"],
            release=release.name, root=_root(attempt, release.root), container=command.get("container"),
            model=model.name if model else None, model_path=model.path if model else None,
            config=config.path if config else None,
            inputs=[
                RepeatedInput(
                    row.name, row.file_name or row.name, row.digest or "unknown", self._place(row.name, inputs, row),
                    kind.copy_in.get(row.name),
                )
                for row in handover.ran.inputs
            ],
            cards=cards if cards and cards in command["argv"] else None,
            param_dir=kind.param_dir,
            folders={
                target: _below(source, _root(attempt, release.root), release.profile)
                for target, source in kind.copy_folders.items()
            },
        )  # fmt: skip

    def _place(self, name: str, inputs: Mapping[str, ArchiveMember | None], row: JobInput) -> str | None:
        member = inputs[name]
        if member is not None:
            return member.path
        stored = self._with_artifacts and row.digest is not None and self._store.exists(row.digest)
        return f"artifacts/{name}/{safe_name(row.file_name or name)}" if stored else None


def _root(attempt: Attempt, registered: str) -> str:
    """Where the release was on the host of the attempt: as registered, or where that host has it."""
    command = attempt.command or {}
    texts = [str(command.get("cwd")), *map(str, command.get("argv", ())), *map(str, command.get("env", {}).values())]
    return registered if any(registered in text for text in texts) else ""


def _readme(handover: Handover, run: RepeatedRun | None) -> str:
    job = handover.facts.listed.job
    how = (
        "repeat.sh repeats the run with the vendor's tools alone; see the variables at its top."
        if run is not None
        else "There is no repeat.sh: no program of the vendor was started for this job."
    )
    return f"""Handover bundle of job {job.id} ({job.kind}), state {job.state}.

bill_of_materials.json  release, model, kernel image and its lineage, host, slots, cards, each with its digest
request.json, spec.json what was asked for
profile.json            how the release's tools are called
inputs/                 prompts, reference answers, config.json of the model
attempts/N/             each attempt: its command, log, black box, answers, differences to the reference, metrics
events.jsonl            what happened, in order
left_out.json           what is not here, and why
SHA256SUMS              check with: sha256sum -c SHA256SUMS

{how}
Secrets were replaced by ***.
"""


def _below(text: str, root: str, profile: Mapping[str, Any]) -> str:
    """A folder of the release, with its place-holders filled in."""
    for name, below in profile["folders"].items():
        text = text.replace(f"{{{name}}}", f"{root}/{below}")
    return text.replace("{root}", root)
