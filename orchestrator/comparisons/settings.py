"""How runs were set: what decides whether they may be compared, from as few SELECTs as there are tables.

A client is set as the servers that it asked: their model, kernel image, release and options are its own. Of a kernel
image that was built here, toolchain, backend type and precision are those of the jobs that built it; of an imported
one, the precision is what was known when it was imported, and its toolchain is not known.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator.model.slots import SINGLE_CARD
from orchestrator.model.states import Until
from orchestrator.storage.tables import Artifact, Attempt, Endpoint, Job, JobInput, JobNeed, Model, Release

FILES = ("kcore", "prompts", "golden", "gm")
"""Fields of a spec that name a file: compared by its content, wherever it came from."""

PLACES = ("cards", "endpoint")
"""Fields of a spec that say where: the slots and the servers that were used are compared instead."""

JUDGED = ("require", "most_empty")
"""Fields of a spec that say how its answers are judged, which changes none of them."""

SERVED = ("dtype", "max_model_len", "gpu_blocks", "block_size", "groups")
"""Fields of a server's spec that its answers and its speed depend on."""


class RunSettings:
    """The settings of these jobs, each with its latest attempt if it has one."""

    def __init__(self, session: Session, jobs: Sequence[Job], attempts: Mapping[int, Attempt]) -> None:
        self._releases: dict[str, str] = dict(session.execute(select(Release.name, Release.digest)).all())
        self._models: dict[str, str] = dict(session.execute(select(Model.name, Model.digest)).all())
        self._servers = _Servers(session, [job.id for job in jobs if job.kind == "client"], attempts)
        numbers = [job.id for job in jobs] + [job.id for job in self._servers.jobs.values()]
        self._inputs: dict[int, dict[str, JobInput]] = defaultdict(dict)
        for row in session.scalars(select(JobInput).where(JobInput.job_id.in_(numbers))):
            self._inputs[row.job_id][row.name] = row
        kcores = [inputs["kcore"] for inputs in self._inputs.values() if "kcore" in inputs]
        self._origins = _Origins(session, kcores, self._releases)

    def of(self, job: Job, attempt: Attempt | None) -> dict[str, Any]:
        """Every field that is known, with its value as JSON has it."""
        setting = {name: value for name, value in job.spec.items() if name not in (*FILES, *PLACES, *JUDGED)}
        setting = {name: value for name, value in setting.items() if value is not None}
        if job.spec.get("cards") == SINGLE_CARD:
            setting["cards"] = SINGLE_CARD
        setting |= self._of_files(job) | self._of_weights(job)
        setting |= {"release": self._release(job.release), "slot_kind": job.slot_kind.value}
        if job.kind == "client":
            setting |= self._of_servers(job)
            asked = job.spec["endpoint"]
            urls = [one["url"] for one in (asked if isinstance(asked, list) else [asked]) if "url" in one]
            setting |= {"server_url": _together(urls)} if urls else {}
        if attempt is not None:
            setting |= {"slots": list(attempt.slot_ids), "host": attempt.slot_id.rpartition(".")[0]}
        return setting

    def served_by(self, job_id: int) -> Collection[int]:
        """The attempts whose endpoints a client used."""
        return self._servers.attempts_of(job_id)

    def _of_files(self, job: Job) -> dict[str, Any]:
        inputs = self._inputs[job.id]
        return {name: inputs[name].digest for name in FILES if name in inputs and inputs[name].digest}

    def _of_weights(self, job: Job) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if (model := job.spec.get("model")) is not None:
            found["model"] = self._models.get(model, model)
        if (kcore := self._inputs[job.id].get("kcore")) is not None:
            found |= self._origins.of(kcore)
        return found

    def _of_servers(self, job: Job) -> dict[str, Any]:
        servers = self._servers.of(job.id)
        parts = [
            {
                **self._of_files(server), **self._of_weights(server), "release": self._release(server.release),
                "server": {name: server.spec[name] for name in SERVED if name in server.spec},
            }
            for server in servers
        ]  # fmt: skip
        names = dict.fromkeys(name for part in parts for name in part)
        found = {name: _together(part.get(name) for part in parts) for name in names}
        found["server_slots"] = self._servers.slots_of(job.id)
        if job.spec.get("program", "load") != "load":  # Our own client is no part of a release.
            found["client_release"] = self._release(job.release)
        return found

    def _release(self, name: str | None) -> str | None:
        return None if name is None else self._releases.get(name, name)


class _Servers:
    """The servers that clients asked, and the attempts at them that answered."""

    def __init__(self, session: Session, clients: Sequence[int], attempts: Mapping[int, Attempt]) -> None:
        needs = select(JobNeed.job_id, JobNeed.needs_id).where(JobNeed.job_id.in_(clients))
        needs = needs.where(JobNeed.until == Until.READY).order_by(JobNeed.needs_id)
        self._of: dict[int, list[int]] = defaultdict(list)
        for client, server in session.execute(needs) if clients else ():
            self._of[client].append(server)
        servers = {server for asked in self._of.values() for server in asked}
        self.jobs = {job.id: job for job in session.scalars(select(Job).where(Job.id.in_(servers)))} if servers else {}
        opened = select(Endpoint.job_id, Endpoint.attempt_id, Endpoint.ready_at, Attempt.slot_ids)
        opened = opened.join(Attempt, Attempt.id == Endpoint.attempt_id).where(Endpoint.job_id.in_(servers))
        self._opened: dict[int, list[Any]] = defaultdict(list)
        for row in session.execute(opened.order_by(Endpoint.ready_at)) if servers else ():
            self._opened[row.job_id].append(row)
        self._attempts = attempts

    def of(self, client: int) -> list[Job]:
        return [self.jobs[server] for server in self._of.get(client, ())]

    def slots_of(self, client: int) -> list[str]:
        return [slot for row in self._used(client) for slot in row.slot_ids]

    def attempts_of(self, client: int) -> list[int]:
        return [row.attempt_id for row in self._used(client)]

    def _used(self, client: int) -> list[Any]:
        """Of each server the endpoint that was open when the client began: the latest that was ready by then."""
        began = getattr(self._attempts.get(client), "started_at", None)
        lives = [self._opened[server] for server in self._of.get(client, ())]
        ready = [[row for row in rows if began is None or row.ready_at <= began] for rows in lives]
        return [rows[-1] for rows in ready if rows]


class _Origins:
    """Where kernel images came from: found by the job that an input names, otherwise by their digest."""

    def __init__(self, session: Session, kcores: Sequence[JobInput], releases: Mapping[str, str]) -> None:
        self._releases = releases
        self._made = _Made(session, "kcore", kcores)
        sources = select(JobInput).where(JobInput.job_id.in_(self._made.jobs), JobInput.name == "c_source")
        self._sources = {row.job_id: row for row in session.scalars(sources)} if self._made.jobs else {}
        self._converted = _Made(session, "c_source", list(self._sources.values()))
        by = {job.release for job in self._converted.jobs.values()}
        profiles = select(Release.name, Release.profile).where(Release.name.in_(by))
        self._profiles: dict[str, Any] = dict(session.execute(profiles).all()) if by else {}

    def of(self, kcore: JobInput) -> dict[str, Any]:
        found: dict[str, Any] = {"toolchain": None}
        compiled = self._made.job_of(kcore)
        if compiled is None:
            facts = self._made.facts_of(kcore)
            return found | {name: facts[name] for name in ("precision",) if facts.get(name) is not None}
        if compiled.release is not None:
            found["toolchain"] = self._releases.get(compiled.release, compiled.release)
        source = self._sources.get(compiled.id)
        converted = None if source is None else self._converted.job_of(source)
        if converted is not None and (backend := converted.spec.get("backend_type")) is not None:
            known = self._profiles.get(converted.release or "", {}).get("backend_types", {})
            precision = (known.get(backend) or {}).get("precision")
            found |= {"backend_type": backend, **({"precision": precision} if precision else {})}
        return found


class _Made:
    """The jobs that made some inputs, and what is known of inputs that were imported."""

    def __init__(self, session: Session, name: str, inputs: Sequence[JobInput]) -> None:
        digests = {entry.digest for entry in inputs if entry.digest}
        stored = select(Artifact.digest, Artifact.job_id, Artifact.facts).order_by(Artifact.id.desc())
        stored = stored.where(Artifact.digest.in_(digests), Artifact.name == name)
        self._by_digest: dict[str, int] = {}
        self._facts: dict[str, Mapping[str, Any]] = {}
        for digest, job_id, facts in session.execute(stored) if digests else ():  # the first one made stays
            if job_id is not None:
                self._by_digest[digest] = job_id
            elif facts is not None:
                self._facts[digest] = facts
        numbers = {entry.from_job_id for entry in inputs} | set(self._by_digest.values())
        self.jobs = {job.id: job for job in session.scalars(select(Job).where(Job.id.in_(numbers - {None})))}

    def job_of(self, entry: JobInput) -> Job | None:
        number = entry.from_job_id or self._by_digest.get(entry.digest or "")
        return None if number is None else self.jobs.get(number)

    def facts_of(self, entry: JobInput) -> Mapping[str, Any]:
        return self._facts.get(entry.digest or "", {})


def _together(values: Iterable[Any]) -> Any:
    """The one value that all have, or the list of the different ones."""
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found[0] if len(found) == 1 else found
