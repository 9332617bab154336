"""The whole stack on one machine, started until it is ready: tools, database, services, registrations.

`running` does this in one `with` block: inside it all nine slots are present and a job can be submitted; after it no
process of the stack is left, for whatever reason it ended.
"""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from api.client.client import ApiError, Client, ServerUnreachable
from api.documents.slots import Presence
from cli.session import Exit, Stop, hint, settings
from cli.stack.stack import embedded
from cli.stack.supervisor import ServiceEvent, StackError, Supervisor, What, sole_user_of
from tx81.start import service_environment
from tx81.state import private_umask

PROFILE = "txnn_1.2.1_build0307"
MODEL = "DeepSeek-R1-Distill-Qwen-Tiny"
RELEASE = "emulated"
FLOWER_USER = "tx81"
MARKER = "TX81_STACK"
"""Environment variable that identifies every process of one run of the stack, also after a crash."""
SLOTS = 9
MOST_NAMES = 20
"""Largest number of releases or models registered from one state folder; a new one is registered when the shipped one
changes."""
_READABLE = 0o022
"""The umask with which tools are installed that run as another user than the services."""
_READY_WITHIN = 90.0
"""Seconds for each host."""


@dataclass(frozen=True, kw_only=True)
class StackPlan:
    """What to run, and where."""

    state: Path
    root: Path | None = None
    """Folder with the vendor's tools; None means emulated tools in the state folder."""
    hosts: int = 1
    """Number of hosts: all beyond the first are emulated, with cards, tools, locks and working folders of their own."""
    api_port: int
    flower_port: int
    start_folder: Path | None = None
    """A folder whose files requests may name, but for hidden ones."""
    flower_control: bool = False
    """Whether Flower may control workers, or is read-only."""
    mark: str = field(default_factory=lambda: secrets.token_hex(8))
    """Distinguishes the processes of this run from all others."""


@dataclass(frozen=True, kw_only=True)
class Running:
    """A stack that is ready."""

    plan: StackPlan
    token: str
    tools: Mapping[str, str]
    """Places in the emulated tree: prompts, golden, events, …; empty for real tools."""
    release: str
    model: str | None
    supervisor: Supervisor

    @property
    def server(self) -> str:
        """The API's address."""
        return f"http://127.0.0.1:{self.plan.api_port}"

    @property
    def flower(self) -> str:
        """Flower's address."""
        return f"http://127.0.0.1:{self.plan.flower_port}"

    @property
    def flower_password_file(self) -> Path:
        """The file with the password of Flower's user `tx81`."""
        return _flower_folder(self.plan.state) / "password"

    def flower_password(self) -> str:
        """Flower's password; `Stop` if Flower wrote none."""
        return _left_in(self.flower_password_file, "Flower wrote no password", self.plan.state)

    @property
    def token_file(self) -> Path:
        """The file with the admin token."""
        return _token_file(self.plan.state)

    @property
    def logs(self) -> Path:
        """The folder with one log file per service."""
        return self.plan.state / "logs"


@contextmanager
def running(plan: StackPlan) -> Iterator[Running]:
    """Start the stack, and stop it after the block; a `Stop` reports why it did not start."""
    try:
        with private_umask(), sole_user_of(plan.state):
            tools = _tools(plan)
            env = settings_env(plan, tools) | {MARKER: plan.mark}
            run_to_end("preparing the database", [sys.executable, "-P", "-m", "migrations"], env, plan.state)
            more = more_hosts(plan)
            services = embedded(
                env, plan.state, sys.executable, more_hosts=more, api_port=plan.api_port, flower_port=plan.flower_port
            )
            hint(f"starting {len(services)} services; their logs: {plan.state / 'logs'}")
            with Supervisor(services, plan.state / "logs", _tell) as supervisor:
                token = _token(plan.state)
                with Client(f"http://127.0.0.1:{plan.api_port}", token) as client:
                    _await_ready(client, plan.state / "logs", [env["TX81_HOST"], *more])
                    release, model = _register(client, plan, tools)
                yield Running(
                    plan=plan, token=token, tools=tools, release=release, model=model,
                    supervisor=supervisor,
                )  # fmt: skip
    except StackError as error:
        what, _, log = str(error).partition("\n")
        if log:
            hint(log)
        raise Stop(what.rstrip(":"), Exit.FAULT) from error
    except (ApiError, ServerUnreachable) as error:
        raise Stop(f"the stack's own API: {error}; see {plan.state / 'logs' / 'api.log'}", Exit.FAULT) from error


def free_port(wanted: int) -> int:
    """`wanted` if no process listens there, otherwise the next free port, and a line that reports it; 0 means any
    port."""
    for port in range(wanted, wanted + 100) if wanted else [0]:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except (OSError, OverflowError):
                continue
            found = int(probe.getsockname()[1])
        if wanted and found != wanted:
            hint(f"port {wanted} is in use; using {found}")
        return found
    raise Stop(
        f"ports {wanted} to {wanted + 99} are all in use or not allowed; choose another with --port/--flower-port"
    )


def settings_env(plan: StackPlan, tools: Mapping[str, str]) -> dict[str, str]:
    """The settings of every process: all locations are set here, whatever the caller's environment contains."""
    given = settings()
    roots = [plan.root.absolute() if plan.root else Path(tools["home"]), *given.allowed_roots]
    env = {
        "TX81_STATE_DIR": str(plan.state),
        "TX81_DATABASE_URL": "",
        "TX81_STORE_DIR": str(plan.state / "store"),
        "TX81_WORK_DIR": str(_work(plan)),
        "TX81_TOKEN_FILE": str(_token_file(plan.state)),
        "TX81_API_HOST": "127.0.0.1",
        "TX81_API_PORT": str(plan.api_port),
        "TX81_FLOWER_DIR": str(_flower_folder(plan.state)),
        "TX81_FLOWER_PASSWORD": "",
        "TX81_FLOWER_CONTROL": str(plan.flower_control or given.flower_control),
        "TX81_HOST": given.host,
        "TX81_ALLOWED_ROOTS": json.dumps([str(root) for root in roots]),
    }
    if plan.start_folder is not None:
        env["TX81_START_FOLDER"] = str(plan.start_folder)
    if tools:
        env["TX81_DEVICES_DIR"] = tools["cards"]
        env["TX81_LOCK_DIR"] = str(Path(tools["cards"]).parent / "locks")
    return env


def _work(plan: StackPlan) -> Path:
    """Where tools work; only a user of their own needs another folder, because it may not enter the state folder."""
    given = settings()
    return given.work_dir.absolute() if given.tool_user and given.work_dir else plan.state / "work"


def more_hosts(plan: StackPlan) -> dict[str, dict[str, str]]:
    """The settings of the workers of each host beyond the first; their tools are installed or updated."""
    if plan.hosts > 1 and plan.root:
        raise Stop("--hosts: several hosts on one machine must be emulated; omit --root")
    told = {}
    for number in range(2, plan.hosts + 1):
        name = f"{settings().host}-{number}"
        tools = _install(plan, plan.state / "hosts" / name / "tree")
        told[name] = {
            "TX81_DEVICES_DIR": tools["cards"],
            "TX81_LOCK_DIR": str(Path(tools["cards"]).parent / "locks"),
            "TX81_WORK_DIR": str(plan.state / "hosts" / name / "work"),
            "TX81_RELEASE_ROOTS": json.dumps(dict.fromkeys(_names(RELEASE), tools["home"])),
        }
    return told


def _tools(plan: StackPlan) -> dict[str, str]:
    """The places in the emulated tree, created or updated; none if the tools are real."""
    tree = plan.root.absolute() if plan.root else plan.state / "tree"
    if plan.root and not (tree / ".tx81-emulator").exists():
        if not tree.is_dir():
            raise Stop(f"--root: {tree} is not a folder; name the one that the vendor's guide calls $HOME_PATH")
        return {}
    return _install(plan, tree)


def _install(plan: StackPlan, tree: Path) -> dict[str, str]:
    command = [sys.executable, "-P", "-m", "emulator", "install", str(tree)]
    umask = _READABLE if settings().tool_user else -1
    printed = run_to_end(f"installing the emulated tools in {tree}", command, {}, plan.state, umask=umask)
    places: dict[str, str] = json.loads(printed.splitlines()[-1])
    return places


def run_to_end(what: str, command: list[str], env: Mapping[str, str], folder: Path, *, umask: int = -1) -> str:
    """The output of a command; if it fails, a `Stop` with the last line of its output."""
    hint(what)
    done = subprocess.run(
        command, env=service_environment(os.environ) | dict(env), cwd=folder, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, errors="replace", check=False, umask=umask,
    )  # fmt: skip
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["it printed nothing"]
        told = next((line for line in reversed(lines) if ": " in line and not line.startswith("(")), lines[-1])
        raise Stop(f"{what} failed with exit {done.returncode}: {told}", Exit.FAULT)
    return done.stdout


def _token_file(state: Path) -> Path:
    return state / "admin-token"


def _flower_folder(state: Path) -> Path:
    return state / "flower"


def _token(state: Path) -> str:
    return _left_in(_token_file(state), "the API wrote no token", state)


def _left_in(file: Path, otherwise: str, state: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError as error:
        raise Stop(f"{otherwise} to {file} ({error.strerror}); remove {state} and start again", Exit.FAULT) from None


def _await_ready(client: Client, logs: Path, hosts: Sequence[str]) -> None:
    """Return when the API is ready, a dispatcher leads and every slot has a live worker."""
    within = _READY_WITHIN * len(hosts)
    deadline = time.monotonic() + within
    missing = ["the API"]
    wanted = [f"{host}.{slot}" for host in hosts for slot in (*(f"g{number}" for number in range(SLOTS - 1)), "cpu0")]
    while time.monotonic() < deadline:
        try:
            state = client.ready()
            alive = [slot.id for slot in client.slots() if slot.presence is Presence.ALIVE]
        except ServerUnreachable:
            state, alive = None, []
        missing = [slot for slot in wanted if slot not in alive]
        if state and state.ready and state.dispatcher and not missing:
            return
        missing = missing or ["dispatcher"]
        time.sleep(0.2)
    raise Stop(f"not ready after {within:g} s: {', '.join(missing)}; their logs are in {logs}", Exit.FAULT)


def _register(client: Client, plan: StackPlan, tools: Mapping[str, str]) -> tuple[str, str | None]:
    """The names under which tools and model are registered; a name used for other content is not changed."""
    root = tools.get("home") or str(plan.root)
    wanted = RELEASE if tools else "local"
    release = _under_a_free_name(wanted, lambda name: client.register_release(name, PROFILE, root, default=True).name)
    if not tools:
        return release, None
    folder = Path(tools["models"]) / MODEL
    tx81_config = str(folder / "config_tx81.json")
    model = _under_a_free_name(
        MODEL, lambda name: client.register_model(name, str(folder), tx81_config=tx81_config).name
    )
    return release, model


def _under_a_free_name(wanted: str, register: Callable[[str], str]) -> str:
    for name in _names(wanted):
        try:
            return register(name)
        except ApiError as error:
            if error.code != "already_exists":
                raise
    raise Stop(f"{wanted}: {MOST_NAMES} versions of it are registered; use another state folder", Exit.FAULT)


def _names(wanted: str) -> list[str]:
    return [wanted, *(f"{wanted}-{number}" for number in range(2, MOST_NAMES + 1))]


def _tell(event: ServiceEvent) -> None:
    if event.what is What.DIED:
        hint(f"  {event.service} {event.detail}")
    elif event.what in (What.RESTARTING, What.KILLED):
        hint(f"  {event.service} {event.what.value} {event.detail}".rstrip())
