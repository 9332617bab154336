"""What a worker knows of one claimed attempt: the spec, the tools, the model, inputs and endpoints."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from orchestrator.model.slots import SlotKind, SlotName, together


def task_id_of(job_id: int, number: int) -> str:
    """The id under which Celery's tools know an attempt: its own, because workers remember revoked ones."""
    return f"{job_id}.{number}"


def in_one_line(job_id: int, name: str, kind: str, slot_ids: Sequence[str], number: int) -> str:
    """What Celery's tools show of an attempt in place of arguments."""
    return f"job {job_id} ({name}): {kind} on {together(slot_ids)}, attempt {number}"


@dataclass(frozen=True)
class UsedEndpoint:
    """One open endpoint as an attempt found it."""

    job_id: int
    job_name: str
    attempt_id: int
    url: str
    served_id: str
    host: str
    """The host of the server."""

    @property
    def port(self) -> int:
        """The port at which it listens."""
        return urlsplit(self.url).port or 80

    @property
    def authority(self) -> str:
        """The value of `Host`."""
        return urlsplit(self.url).netloc

    @property
    def on_loopback(self) -> bool:
        """Whether it can be reached only from its own host."""
        address = urlsplit(self.url).hostname or ""
        try:
            return ip_address(address).is_loopback
        except ValueError:
            return address == "localhost"


@dataclass(frozen=True)
class ForeignServer:
    """A server that was not started here, as an attempt found it."""

    url: str
    """By its address: the name was resolved and checked, and is not resolved again."""
    authority: str
    """Its name and port, the value of `Host`."""
    served_id: str

    @property
    def port(self) -> int:
        """The port at which it listens."""
        return urlsplit(self.url).port or 80

    @property
    def on_loopback(self) -> bool:
        """Whether it is on the host of its client, at the address that the vendor's clients ask."""
        return urlsplit(self.url).hostname == "127.0.0.1"


@dataclass(frozen=True)
class InputArtifact:
    """One artifact the job consumes, by its digest and the file name it was stored from."""

    name: str
    digest: str | None
    file_name: str


@dataclass(frozen=True)
class RegisteredModel:
    """A registered weights folder, and the config.json that each use of it needs."""

    name: str
    path: str
    official_config: dict[str, Any] | None
    tx81_config: dict[str, Any] | None
    digest: str
    stamp: str | None = None
    created_at: datetime | None = None


@dataclass(frozen=True)
class Assignment:
    """One claimed attempt. `spec` and `profile` are as stored: they are validated where a failure can be reported.

    For a job that has not installed its release yet, `profile`, `release`, `release_digest` and `root` are empty."""

    attempt_id: int
    number: int
    job_id: int
    job_name: str
    slot_ids: tuple[str, ...]
    spec: dict[str, Any]
    profile: dict[str, Any]
    release: str
    release_digest: str
    root: str
    """The folder that the release was registered with, until `workers.attempt.release_here` says where it is on this
    host."""
    model: RegisteredModel | None
    inputs: tuple[InputArtifact, ...]
    run_seconds: int
    silence_seconds: int
    log_bytes: int
    seconds_left: float
    """Seconds from the claim to the job's total deadline; infinite without one."""
    endpoints: tuple[UsedEndpoint, ...] = ()
    """The open endpoints that a client sends requests to."""
    elsewhere: tuple[ForeignServer, ...] = ()
    """Or the servers that were not started here, in the order of the spec."""

    @property
    def label(self) -> str:
        """`JOB.NUMBER`, the name of its folder and of its Celery task."""
        return f"{self.job_id}.{self.number}"

    @property
    def groups(self) -> tuple[SlotName, ...]:
        """The card groups that were leased to it, in the order of its lanes; none for a CPU seat."""
        slots = (SlotName.parse(slot_id.rpartition(".")[2]) for slot_id in self.slot_ids)
        return tuple(slot for slot in slots if slot.kind is SlotKind.CARD_GROUP)
