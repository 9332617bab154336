"""How the tool of one attempt is started, and how it is proven that none of its processes is alive after the
attempt."""

import os
import resource
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Self

from orchestrator.errors import OrchestratorError
from orchestrator.model.assignments import Assignment
from orchestrator.model.failures import Failure, FailureKind, Suspicion
from orchestrator.model.launchers import DockerExec
from workers.attempt.blackbox import tail
from workers.attempt.judge import Evidence
from workers.host import locks
from workers.processes.confinement import Confinement, ToolUser, tool_user
from workers.processes.container import MARK, Container, ContainerAway, Mark
from workers.processes.process import Command, Outcome
from workers.slot import OwnedSlot
from workers.toolchain.commands import Plan

ENTERED = "entered"
"""The file in the working folder that exists once a tool was started in its container."""

_PATIENCE = 5.0
"""Seconds after SIGKILL until a process counts as unkillable, as on the host."""

_LOOK_AGAIN = 0.1

_RESOURCES = {
    "address_space_bytes": resource.RLIMIT_AS, "processes": resource.RLIMIT_NPROC,
    "file_size_bytes": resource.RLIMIT_FSIZE, "open_files": resource.RLIMIT_NOFILE,
}  # fmt: skip
"""Keys of a profile's `resources`."""


class LeftInContainer(OrchestratorError):
    """Processes of an earlier attempt in the container cannot be killed: nothing was started."""

    code = "left_in_container"

    def __init__(self, docker: DockerExec, pids: Sequence[int]) -> None:
        reason = (
            f"processes {', '.join(map(str, pids))} of an earlier attempt still run in container {docker.container} "
            f"after SIGKILL: restart it (`{docker.program} restart {docker.container}`), then resume the slot"
        )
        super().__init__(reason)
        self.failure = Failure(kind=FailureKind.FAULT, reason=reason)
        self.suspicion = Suspicion(reason=reason, blames_job=False)


class Launch:
    """A child of the shim, which ends all its processes. Its `with` block lasts while the tool runs."""

    def __init__(self, user: ToolUser | None = None) -> None:
        self._user = user

    def confinement(self, plan: Plan) -> Confinement | None:
        """What the tool must not do; None if this process does not decide that."""
        limits = plan.profile.resources.model_dump(exclude_none=True)
        return Confinement(self._user, {_RESOURCES[name]: value for name, value in limits.items()})

    below_shim = True
    """Whether the shim is above everything that the tool starts, so that nothing of it runs when the shim says so."""

    doubt: Suspicion | None = None
    """Why it is unknown whether everything has ended; valid after the block."""

    def started(self, command: Command) -> Command:
        """The command to run on this host so that `command` is run."""
        return command

    def clear(self) -> None:
        """End what earlier attempts on the same slots may have left where no lock shows it."""

    def processes(self) -> list[int]:
        """The pids on this host of the tool's processes that are not descendants of the shim."""
        return []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def settled(self, outcome: Outcome) -> Outcome:
        """The outcome of the run, with the findings after it."""
        return outcome


class HostLaunch(Launch):
    """The program that sets up the host, which needs the rights of the service."""

    def confinement(self, plan: Plan) -> Confinement | None:
        """None: it installs drivers and tools."""
        return None


class ContainerLaunch(Launch):
    """A tool in a container. Locks are not inherited there: the proof that it has ended is that no process has its
    mark."""

    below_shim = False

    def __init__(self, plan: Plan, docker: DockerExec, mark: Mark, *, slot: OwnedSlot, work: Path) -> None:
        super().__init__()
        self._docker = docker
        self._mark = mark
        self._work = work
        entered = plan.view.path(str(work / ENTERED))
        self._container = Container(docker, mark, entered=entered, folder=work, shim=slot.shim)
        self._lost: str | None = None
        self._strays = 0
        self._left: tuple[int, ...] = ()

    def confinement(self, plan: Plan) -> Confinement | None:
        """None: the client needs the rights of the service, and the container confines the tool."""
        return None

    def started(self, command: Command) -> Command:
        """The container client, which represents the tool and ends with it."""
        return self._container.started(command)

    def clear(self) -> None:
        """ContainerAway if it cannot be entered, LeftInContainer if a process survives SIGKILL."""
        _, left = self._kill(self._mark.of_slots)
        if left:
            raise LeftInContainer(self._docker, left)

    def processes(self) -> list[int]:
        """Found by their mark; only root sees those of other users."""
        wanted = f"{MARK}={self._mark}".encode()
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            with suppress(OSError), open(f"/proc/{name}/environ", "rb") as environment:
                if wanted in environment.read().split(b"\0"):
                    found.append(int(name))
        return found

    def __exit__(self, *_: object) -> None:
        """Whatever the outcome of the run, and also if the shim was lost, no process may be left."""
        try:
            self._strays, self._left = self._kill(self._mark.own)
        except ContainerAway as away:
            self._lost = f"container {self._docker.container} was stopped while the tool ran in it; start it again"
            if not self._container.is_down():
                self._lost = f"contact with the container was lost while the tool ran: {away.detail}"
                self.doubt = Suspicion(reason=f"unknown what still runs: {away.detail}", blames_job=False)

    def settled(self, outcome: Outcome) -> Outcome:
        """The outcome, with the client's exit code distinguished from the tool's."""
        found = replace(outcome, strays=outcome.strays + self._strays, unkillable=outcome.unkillable + self._left)
        if outcome.exit_code == 0 or outcome.launch_error is not None:
            return found
        if self._lost is not None:
            return replace(found, launch_error=self._lost)
        if not self._was_entered():
            said = Evidence(tail(self._work / "log", 4096)).last_line()
            name = self._docker.container
            return replace(found, launch_error=f"container {name} did not start the tool in {self._work}: {said}")
        return found

    def _was_entered(self) -> bool:
        # A full disk leaves an empty file.
        with suppress(OSError):
            return (self._work / ENTERED).stat().st_size > 0
        return False

    def _kill(self, marked: str) -> tuple[int, tuple[int, ...]]:
        """The number of processes found, and those that survive SIGKILL."""
        give_up = time.monotonic() + _PATIENCE
        seen: set[int] = set()
        while (left := self._container.kill(marked)) and time.monotonic() < give_up:
            seen.update(left)
            time.sleep(_LOOK_AGAIN)
        return len(seen), left


class SetupLaunch(ContainerLaunch):
    """A program on the host that runs others in a container, which may not exist yet."""

    def started(self, command: Command) -> Command:
        """The program itself; signals sent to it reach its processes in the container too."""
        messenger = self._container.started(command).messenger
        return replace(command, env={**self._docker.environment, **command.env}, messenger=messenger)

    def clear(self) -> None:
        """As for any tool; in a container that does not exist nothing is left."""
        try:
            super().clear()
        except ContainerAway:
            if not self._container.is_down():
                raise

    def settled(self, outcome: Outcome) -> Outcome:
        """The program reports the outcome of its steps itself."""
        return replace(outcome, strays=outcome.strays + self._strays, unkillable=outcome.unkillable + self._left)


def mark_of(assignment: Assignment, slot: OwnedSlot) -> Mark:
    """The mark of all processes of the attempt in a container."""
    return Mark(locks.domain(slot.settings.locks), assignment.label, assignment.slot_ids)


def launch_of(plan: Plan, assignment: Assignment, *, slot: OwnedSlot, work: Path) -> Launch:
    """The launcher that the profile names."""
    if plan.docker is None:
        return Launch(tool_user(slot.settings.tool_user))
    return ContainerLaunch(plan, plan.docker, mark_of(assignment, slot), slot=slot, work=work)
