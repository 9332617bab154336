"""`tx81`: the commands, and what the shell learns from each.

Every command is a function of another module, imported only when it is called. No error leaves a traceback: what a
person can act on is one line on standard error.
"""

import os
import sys
from collections.abc import Sequence
from typing import Literal

from cyclopts import App, CycloptsError, Group

from cli.input.numbers import only_whole_numbers
from cli.session import Exit, Readers, Stop, hint, say
from cli.version import version
from tx81.parts import lacking

_WAITS_FOR_JOBS = frozenset(
    {"run", "wait", "submit", "stress", "batches", "serve", "load", "provision", "canary", "demo", "up", "compare"}
    | {"suites", "schedules", "ab", "triage"}
)
"""Commands whose exit code is the outcome of jobs or of a comparison, even if nobody reads their output."""
_NEEDS = {"up": "embedded", "demo": "embedded"} | dict.fromkeys(("api", "dispatcher", "worker", "migrate"), "server")
"""Commands that run on more than the client, and the extra that installs it."""
_BROKEN_PIPE = 141
"""128 + SIGPIPE: what a shell shows for a program whose reader went away."""

only_whole_numbers()
app = App(
    name="tx81",
    help=(
        "Jobs on TX81 card groups: submit once, know what ran where, never lose a result.\n\n"
        "Exit codes: 0 ok, 1 a job failed (compare: worse), 2 wrong usage (compare: also not judged), "
        "3 server or token, 4 infrastructure fault, 5 refused by the server, 124 wait timed out, 130 detached."
    ),
    help_format="plaintext",
    version=version,
    help_formatter="plain",
    result_action="return_value",
    exit_on_error=False,
    print_error=False,
    help_on_error=False,
    suppress_keyboard_interrupt=False,
)

_COMMANDS = {
    "Getting started": {
        "up": ("cli.commands.up:up", "Run the whole stack on this machine until Ctrl-C."),
        "open": ("cli.commands.open:open_pages", "Open the dashboard in the browser, signed in."),
        "demo": (
            "cli.demo.demo:demo",
            "Take a small real model from weights to answers on eight emulated card groups.",
        ),
        "login": ("cli.commands.contexts:login", "Store a server and your token for it."),
        "whoami": ("cli.commands.contexts:whoami", "Show which server is asked, and with whose token."),
        "context": ("cli.commands.contexts:app", "Servers that you have logged in to: list, `use`, `remove`."),
        "doctor": ("cli.commands.doctor:doctor", "Check this machine and the server; report what to fix and how."),
    },
    "Jobs": {
        "run": ("cli.commands.run:run", "From a model to answers: convert, compile, infer, wait, print."),
        "submit": (
            "cli.commands.jobs:submit",
            "Submit a job, a list of jobs or a pipeline from a file (JSON or YAML).",
        ),
        "jobs": ("cli.commands.jobs:jobs", "List jobs, newest first."),
        "show": ("cli.commands.jobs:show", "Show one job in detail."),
        "answers": ("cli.commands.answers:app", "Show a job's answers, and how they differ from golden ones."),
        "explain": (
            "cli.commands.explain:explain",
            "Explain why a job waits and until when, and why it ran on its slots.",
        ),
        "triage": (
            "cli.commands.triage:app",
            "Find out whether card, toolchain or model is to blame for wrong answers or faults.",
        ),
        "bundle": (
            "cli.commands.bundle:bundle",
            "Pack everything about a job into one archive, with a script that repeats it.",
        ),
        "logs": ("cli.commands.logs:logs", "Print a job's log; -f follows it."),
        "wait": ("cli.commands.jobs:wait", "Wait until jobs have ended; exit 0 only if all succeeded."),
        "cancel": ("cli.commands.orders:cancel", "Cancel jobs."),
        "serve": ("cli.commands.servers:serve", "Start a server with the OpenAI API and wait until it is ready."),
        "stop": ("cli.commands.servers:stop", "Stop servers gracefully."),
        "endpoints": ("cli.commands.servers:endpoints", "List servers that are ready."),
        "load": ("cli.commands.load:load", "Run a load test on a server: latency, throughput, goodput."),
        "hold": ("cli.commands.orders:hold", "Hold jobs: they are not placed until `unhold`."),
        "unhold": ("cli.commands.orders:unhold", "Remove holds."),
        "priority": ("cli.commands.orders:priority", "Change the priority of jobs that have not started."),
        "front": ("cli.commands.orders:front", "Move jobs to the front of their priority."),
        "retry": ("cli.commands.jobs:retry", "Submit a finished job's request again."),
        "stress": ("cli.commands.stress:stress", "Run one job many times on many slots; report, JUnit."),
        "batches": (
            "cli.commands.batches:app",
            "Many jobs with one report: list, `show`, `wait`, `report`, `cancel` and more.",
        ),
        "compare": (
            "cli.commands.compare:compare",
            "Compare results with those of the first job, batch or pipeline: one verdict, also as HTML or JUnit.",
        ),
        "results": ("cli.commands.results:app", "Numbers and answers of many jobs as data: `metrics`, `answers`."),
        "pipelines": (
            "cli.commands.pipelines:app",
            "Jobs submitted together that use each other's outputs: list, `show`, `cancel` and more.",
        ),
    },
    "Results": {
        "suites": (
            "cli.commands.suites:app",
            "What is measured again and again: `apply`, `run`, `show`, `gate` and more.",
        ),
        "ab": ("cli.commands.ab:ab", "Two inferences side by side on one reserved card group: is B worse than A?"),
        "schedules": ("cli.commands.schedules:app", "When suites run: `set`, `show`, `pause`, `resume`, `run`."),
    },
    "Inventory": {
        "hosts": (
            "cli.commands.hosts:hosts",
            "List hosts: which are present, which slots are free, since when one is away.",
        ),
        "slots": ("cli.commands.slots:app", "Card groups and CPU seats; `show` one; `drain`, `resume`, `quarantine`."),
        "canary": ("cli.commands.canaries:app", "Canary jobs, which check quarantined slots; `set`, `show`, `run`."),
        "baselines": (
            "cli.commands.baselines:app",
            "What runs of a suite are held to: list, `show`, `set`, `accept`, `retire`.",
        ),
        "cases": (
            "cli.commands.cases:app",
            "Regressions that suites have found: list, `show`, `accept`, `close`, `reopen`, `comment`.",
        ),
        "history": (
            "cli.commands.history:history",
            "Show one series over the runs of its suite: where its level changed, and what happened meanwhile.",
        ),
        "doubts": ("cli.commands.doubts:app", "Results that are shown and not used, and why; `lift` a doubt."),
        "provision": (
            "cli.commands.provision:provision",
            "Install a release on a host, as a job on all its card groups.",
        ),
        "reserve": (
            "cli.commands.reservations:reserve",
            "Reserve slots for a person, a project or maintenance.",
        ),
        "reservations": ("cli.commands.reservations:reservations", "List current and future reservations."),
        "unreserve": ("cli.commands.reservations:unreserve", "Cancel a reservation."),
        "projects": ("cli.commands.projects:projects_app", "Projects and their shares; `set` changes a weight."),
        "artifacts": (
            "cli.commands.artifacts:app",
            "Stored files and trees; `get` downloads one, `import-kcore` imports a kernel image.",
        ),
        "golden": (
            "cli.commands.golden:app",
            "Reference answers; `import` imports a file, or the answers of a job.",
        ),
        "models": ("cli.commands.models:models_app", "Registered models; `add` registers one."),
        "releases": (
            "cli.commands.releases:releases_app",
            "Toolchain releases; `add` registers one, `check` tests its tools.",
        ),
        "retire": (
            "cli.commands.retire:retire",
            "Hide a model, release, host or artifact from lists, and refuse it for new jobs.",
        ),
        "unretire": ("cli.commands.retire:unretire", "Use a retired model, release, host or artifact again."),
        "notify": (
            "cli.commands.notify:app",
            "Messages about changes: webhooks, DingTalk, Feishu, WeCom, Slack, mail.",
        ),
        "tokens": (
            "cli.commands.tokens:app",
            "API tokens and their scopes; `create`, `rotate` and `revoke`.",
        ),
    },
    "Services": {
        "api": ("cli.commands.services:api", "Run the API."),
        "dispatcher": ("cli.commands.services:dispatcher", "Run the dispatcher."),
        "worker": ("cli.commands.services:worker", "Run the worker of one slot."),
        "migrate": ("cli.commands.services:migrate", "Migrate the database to the newest schema."),
    },
}

for _place, (_title, _entries) in enumerate(_COMMANDS.items()):
    _group = Group(_title, sort_key=_place)
    for _order, (_name, (_path, _help)) in enumerate(_entries.items()):
        app.command(_path, name=_name, help=_help, group=_group, sort_key=_order)


app.command(
    "cli.commands.orders:unhold", name="release", help="Old name of `unhold`, for one more version.", show=False
)


@app.command(group=Group("Shell", sort_key=len(_COMMANDS)))
def completion(shell: Literal["bash", "zsh", "fish"], /) -> None:
    """Print the completion script for your shell.

    bash: tx81 completion bash > ~/.local/share/bash-completion/completions/tx81.
    zsh: tx81 completion zsh > FOLDER/_tx81, where FOLDER is in $fpath.
    fish: tx81 completion fish > ~/.config/fish/completions/tx81.fish.

    Parameters
    ----------
    shell
        Which shell.
    """
    script = app.generate_completion(prog_name="tx81", shell=shell)
    say(lambda: print(script, flush=True))


def main() -> None:
    """The entry point."""
    open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal that is not UTF-8 must not end a command
    sys.exit(run(sys.argv[1:]))


def run(argv: Sequence[str]) -> int:
    """Do what the command line says; returns the exit code."""
    try:
        Readers.gone = False
        if trouble := _lacking(argv):
            return _refused(trouble, Exit.USAGE)
        code = app(list(argv))
        say(sys.stdout.flush)
        if Readers.gone and not code and argv[0] not in _WAITS_FOR_JOBS:
            return _BROKEN_PIPE
    except CycloptsError as error:
        command = " ".join(("tx81", *(error.command_chain or ())))
        wrong = str(error).replace(", ...", " and more").rstrip(".")
        return _refused(f"{wrong}; see: {command} --help", Exit.USAGE)
    except Stop as stop:
        return _refused(str(stop), stop.code)
    except KeyboardInterrupt:
        return _refused("interrupted", Exit.DETACHED)
    except BrokenPipeError:
        nobody = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nobody, sys.stdout.fileno())  # nor may the flush at exit complain
        os.close(nobody)
        return _BROKEN_PIPE
    except OSError as error:
        return _refused(f"{error.filename or 'this machine'}: {error.strerror or error}", Exit.FAULT)
    except Exception as error:
        if isinstance(error, ImportError) and (trouble := _lacking(argv, even_help=True)):
            return _refused(trouble, Exit.USAGE)
        if os.environ.get("TX81_TRACEBACK"):
            raise
        return _refused(f"{type(error).__name__}: {error} (a bug; TX81_TRACEBACK=1 shows where)", Exit.FAULT)
    return int(code) if isinstance(code, int) else Exit.OK


def _lacking(argv: Sequence[str], *, even_help: bool = False) -> str | None:
    """Which package is missing for this command, and the remedy."""
    extra = _NEEDS.get(argv[0]) if argv else None
    if extra is None or ({"--help", "-h"} & set(argv) and not even_help):
        return None
    return lacking(f"tx81 {argv[0]}", extra)


def open_closed_streams() -> None:
    """Give the standard streams that the caller has closed (`<&-`, `>&-`) to nobody.

    Else what is opened next would take their numbers, and printing would be an error."""
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDONLY if mode == "r" else os.O_WRONLY)
            assert opened == number, "the lowest free number is taken"
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def _refused(message: str, code: Exit) -> Exit:
    line = " ".join(message.split())
    shown = "".join(char if char.isprintable() else repr(char)[1:-1] for char in line)  # it may quote anything
    hint(f"tx81: {shown}")
    return code


if __name__ == "__main__":
    main()
