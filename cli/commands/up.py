"""`tx81 up`: the embedded stack until Ctrl-C."""

import os
import shlex
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators
from rich.text import Text

from cli.input.numbers import Port
from cli.session import Exit, Printing, Stop, hint, settings
from cli.stack.embedded import FLOWER_USER, Running, StackPlan, free_port, running

_HERE = Printing()


def up(
    *,
    state: Path | None = None,
    root: Path | None = None,
    hosts: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=8))] = 1,
    port: Port = 8081,
    flower_port: Port = 5555,
    flower_control: bool = False,
    printing: Printing = _HERE,
) -> Exit:
    """Run broker, API, dispatcher, nine workers a host and Flower on this machine, until Ctrl-C.

    Parameters
    ----------
    state
        Folder for database, store, logs and working folders. Default: $TX81_STATE_DIR or .tx81.
    root
        Folder with the vendor's tools. Default: emulated tools in the state folder.
    hosts
        Number of hosts with 32 emulated cards each; each needs about 700 MB of memory.
    port
        Port of the API; if it is in use, the next free one.
    flower_port
        Port of Flower; if it is in use, the next free one.
    flower_control
        Let Flower stop workers and cancel attempts. Default: it only shows them.
    """
    folder = _state_folder((state or settings().state_dir).absolute())
    plan = StackPlan(
        state=folder, root=root, hosts=hosts, api_port=free_port(port), flower_port=free_port(flower_port),
        flower_control=flower_control, start_folder=start_folder(),
    )  # fmt: skip
    try:
        with running(plan) as stack:
            link = _sign_in_link(stack)
            printing.emit({**_document(stack), "sign_in_link": link}, Text(_page(stack, link)))
            hint("Ctrl-C stops everything.")
            stack.supervisor.wait()
    except KeyboardInterrupt:
        hint("stopped")
    return Exit.OK


def _state_folder(folder: Path) -> Path:
    """The same; `Stop` if there is something else at its place, or above it."""
    nearest = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    if not nearest.is_dir():
        raise Stop(
            f"--state (TX81_STATE_DIR): {nearest} is not a folder; name a folder, or one that does not exist yet"
        )
    return folder


def start_folder() -> Path | None:
    """The current folder, unless it is `/` or contains the home folder: those hold more than files for jobs."""
    folder, home = Path.cwd(), Path.home().resolve()
    return None if home.is_relative_to(folder) else folder


def _document(stack: Running) -> dict[str, str | None]:
    return {
        "server": stack.server,
        "openapi": f"{stack.server}/openapi.json",
        "flower": stack.flower,
        "flower_user": FLOWER_USER,
        "flower_password_file": str(stack.flower_password_file),
        "token_file": str(stack.token_file),
        "logs": str(stack.logs),
        "release": stack.release,
        "model": stack.model,
        "start_folder": None if stack.plan.start_folder is None else str(stack.plan.start_folder),
    }


def _files(stack: Running) -> str:
    """What requests may name as server:/path, and how to allow more; files of the caller are sent and need no leave."""
    started = stack.plan.start_folder
    where = f"server:{started}/… and the tools' folder" if started else "server:/… in the tools' folder"
    return f"{where}; to allow more: TX81_ALLOWED_ROOTS='[\"/srv/data\"]' tx81 up"


def _sign_in_link(stack: Running) -> str:
    from api.client.client import Client

    with Client(stack.server, stack.token) as client:
        return f"{stack.server}{client.sign_ins.make().path}"


def _page(stack: Running, link: str) -> str:
    lines = [
        f"pages    {link}  (signs in once, within ten minutes; later: tx81 open)",
        f"API      {stack.server}  (described by {stack.server}/openapi.json)",
        f"Flower   {stack.flower}  (user {FLOWER_USER}, password {stack.flower_password()})",
        f"token    {stack.token_file}",
        f"logs     {stack.logs}",
        f"release  {stack.release}",
        f"files    {_files(stack)}",
    ]
    if stack.model:
        token, model = (shlex.quote(each) for each in (str(stack.token_file), stack.model))
        lines += [
            f"model    {stack.model}",
            "",
            "try:",
            f'  export TX81_SERVER={stack.server} TX81_TOKEN="$(cat {token})"',
            "  tx81 slots",
            f"  tx81 run --model {model} --backend-type qwen2_7b_bf16 --ask 你是谁？",
        ]
    return "\n".join(lines)
