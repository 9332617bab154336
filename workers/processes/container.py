"""Processes in a running container: started there, found again, and ended; nothing but `docker exec` is needed.

What `docker exec` starts is no descendant of ours, signals to the client do not reach it, it inherits no descriptor,
and it lives on when the client is killed. So each process of an attempt bears a mark in its environment: the attempt,
and the slots it holds within a folder of locks. A process that has the locks of a slot may end whatever is marked with
it; an attempt's own end asks for its own mark alone, because its slots may be another's by then. The session and
descendants of what is marked are found too, for a program may overwrite its own environment to change its title. What
clears its environment, leaves its session and loses its parent is not found; if it holds a card, the probe of the cards
does.
"""

import re
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import OrchestratorError
from orchestrator.model.launchers import DockerExec
from workers.processes.ask import Told, ask
from workers.processes.process import Command
from workers.processes.tree import Shim

MARK = "TX81_ATTEMPT"
"""The variable that holds an attempt's mark."""

_SECONDS = 30.0
"""For one answer of the client: a daemon under load takes its time."""

_TOOL = 'echo $$ >"$0" || exit 126; trap : INT TERM HUP; "$@"; exit "$?"'
"""Leaves its number, which is that of the session, in the working folder: so it is known that the container was entered
and sees that folder. Then it stays above the tool, because the environment of a shell is never overwritten; the signals
that the tool may survive do not end it."""

_SIGNAL = """
marked=$(grep -lzE -- "$1" /proc/[0-9]*/environ 2>/dev/null)
pids=$(cat /proc/[0-9]*/stat 2>/dev/null | awk -v marked="$marked" -v notes="$2" '
    BEGIN {
        n = split(marked, file, "\\n"); for (i = 1; i <= n; i++) { split(file[i], part, "/"); ours[part[3]] }
        # Never compared if there is none: processes from without the container have session 0.
        noted = (getline session < notes) > 0 && session ~ /^[1-9][0-9]*$/
        while (noted && (getline line < notes) > 0) known[line]
    }
    {
        pid = $1; sub(/^.*\\) /, ""); state[pid] = $1; parent[pid] = $2; born[pid] = $20
        if (noted && ($4 == session || (pid " " born[pid]) in known)) ours[pid]
    }
    END {
        do {
            more = 0
            for (pid in parent) if (!(pid in ours) && parent[pid] in ours) { ours[pid]; more = 1 }
        } while (more)
        for (pid in ours) if (state[pid] ~ /[^ZX]/) { print pid; if (noted) print pid, born[pid] >> notes }
    }' | sort -n)
[ -z "$pids" ] || { kill -"$3" $pids; kill -CONT $pids; } 2>/dev/null
echo $pids
"""
"""Sends the signal `$3` to the living processes whose environment matches `$1`, to those of the session that is noted
in the file `$2`, and to all below them; names them. They are noted too, with the time of their birth: one that survives
its parent would not be found the next time."""


class ContainerAway(OrchestratorError):
    """The container cannot be entered: nothing was started."""

    code = "container_away"

    def __init__(self, docker: DockerExec, said: str) -> None:
        super().__init__(
            f"container {docker.container} cannot be entered ({said}): start it with "
            f"`{docker.program} start {docker.container}`, or create it as the vendor's guide says"
        )


@dataclass(frozen=True)
class Mark:
    """What all processes of an attempt bear: which it is and its slots, within one folder of locks."""

    domain: str
    attempt: str
    slot_ids: Collection[str]

    def __str__(self) -> str:
        return "".join(f"{self.domain}/{word}," for word in (self.attempt, *self.slot_ids))

    @property
    def own(self) -> str:
        """The pattern of this attempt's variable, and of no other's."""
        return f"^{MARK}={self.domain}/{_literal(self.attempt)},"

    @property
    def of_slots(self) -> str:
        """The pattern of the variable of every attempt that held one of these slots."""
        return f"^{MARK}=.*,{self.domain}/({'|'.join(map(_literal, self.slot_ids))}),"


def _literal(text: str) -> str:
    return text.replace(".", "[.]")


class Container:
    """A container as one attempt uses it.

    `entered` is the file that says so, as a path of the container. Questions are asked under `shim`; what they say is
    kept in `folder`."""

    def __init__(self, docker: DockerExec, mark: Mark, *, entered: str, folder: Path, shim: Shim | None) -> None:
        self._docker = docker
        # Found once: the shim looks for no program. A missing one is named when it is first called.
        self._program = shutil.which(docker.program, path=docker.environment.get("PATH")) or docker.program
        self._entered = entered
        self.mark = mark
        self._folder = folder
        self._shim = shim

    def started(self, command: Command) -> Command:
        """What to run on the host for `command` to run inside."""
        user = () if self._docker.user is None else ("-u", self._docker.user)
        env = {**command.env, MARK: str(self.mark)}
        return Command(
            argv=(
                self._program, "exec", "-w", str(command.cwd), *user,
                *(word for name, value in env.items() for word in ("-e", f"{name}={value}")),
                self._docker.container, "sh", "-c", _TOOL, self._entered, *command.argv,
            ),
            env=self._docker.environment,
            cwd=Path("/"),
            messenger=self._signal(self.mark.own),
        )  # fmt: skip

    def kill(self, marked: str) -> tuple[int, ...]:
        """Kill what bears such a mark; the processes that were there. ContainerAway if it cannot be entered."""
        told = self._ask(*self._signal(marked), "9")
        if told.exit_code != 0:
            raise self._away(told)
        return tuple(int(pid) for pid in told.said.split() if pid.isdigit())

    def lacking(self, folders: Sequence[str]) -> list[str]:
        """Which of these folders are not there, as the container sees them. ContainerAway if it cannot be entered."""
        script = 'for folder; do [ -d "$folder" ] || echo "$folder"; done'
        told = self._ask(self._program, "exec", self._docker.container, "sh", "-c", script, "tx81", *folders)
        if told.exit_code != 0:
            raise self._away(told)
        return told.said.splitlines()

    def is_down(self) -> bool:
        """Whether it certainly does not run: then nothing in it does."""
        told = self._ask(self._program, "inspect", "-f", "{{.State.Running}}", self._docker.container)
        gone = told.exit_code is not None and re.search("(?i)no such (object|container)", told.said)
        return told.said.strip() == "false" or bool(gone)

    def _away(self, told: Told) -> ContainerAway:
        return ContainerAway(self._docker, told.last or f"exit code {told.exit_code}")

    def _signal(self, marked: str) -> tuple[str, ...]:
        # As root, whichever user the tools run as: others may not read every environment.
        return (
            self._program, "exec", "-u", "0", self._docker.container,
            "sh", "-c", _SIGNAL, "tx81", marked, self._entered,
        )  # fmt: skip

    def _ask(self, *argv: str) -> Told:
        command = Command(argv, self._docker.environment, Path("/"))
        return ask(command, folder=self._folder, seconds=_SECONDS, shim=self._shim)
