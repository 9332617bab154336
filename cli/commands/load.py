"""`tx81 load`: a load test on a running server, followed until it ends; prints the measurements."""

from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Group

from cli.input.documents import requirement_in, validated
from cli.input.files import OwnFiles
from cli.pages.jobs import jobs_table, metrics_table
from cli.session import HERE, Exit, Session, hint_on_terminal, once
from cli.waiting.jobs import exit_for, live_progress, wait_for
from orchestrator.model.specs import JobRequest

Switch = Parameter(negative="")


def load(
    server: str,
    /,
    *,
    prompts: str,
    golden: str | None = None,
    require: str | None = None,
    concurrency: int | None = None,
    rate: float | None = None,
    requests: int | None = None,
    repeats: int | None = None,
    warmup: int | None = None,
    shuffle: Annotated[bool, Switch] = False,
    seed: int | None = None,
    max_tokens: int | None = None,
    completion: Annotated[bool, Switch] = False,
    ignore_eos: Annotated[bool, Switch] = False,
    ttft: float | None = None,
    tpot: float | None = None,
    latency: float | None = None,
    project: str = "default",
    name: str | None = None,
    key: str | None = None,
    session: Session = HERE,
) -> Exit:
    """Run a load test on a server; wait for it, and print latency and throughput.

    Parameters
    ----------
    server
        Job number of the server (see: tx81 endpoints), or http://HOST:PORT of one that was not started here.
    prompts
        File with one question a line: on this machine, or server:/path.
    golden
        File with the expected answers, in the same form; answers that miss them fail the job (exit code 1).
    require
        What answers have to be beside --golden: exact (default), similarity=0.98, final_answer, or report.
    concurrency
        Number of requests in flight at any time. Default: 1, unless --rate is given.
    rate
        Instead: average number of requests per second, independent of the answers.
    requests
        Number of measured requests. Default: each prompt `--repeats` times.
    repeats
        How often each prompt is asked.
    warmup
        Number of requests sent before, which are not measured.
    shuffle
        Send the prompts in a random order, from --seed.
    seed
        Seed of that order, and of the times of sending.
    max_tokens
        Maximum number of tokens of an answer.
    completion
        Send each prompt as a completion, not as a chat.
    ignore_eos
        Let every answer have exactly --max-tokens tokens.
    ttft
        Goodput: maximum seconds to the first text.
    tpot
        Goodput: maximum seconds per token after the first.
    latency
        Goodput: maximum seconds to the end of the answer.
    project
        Project of the job.
    name
        Name of the job.
    key
        Idempotency key: repeating the command with the same key and options never starts a second load.
    """
    limits = _said(ttft_seconds=ttft, tpot_seconds=tpot, request_seconds=latency)
    shape = _said(
        concurrency=concurrency, rate=rate, requests=requests, warmup=warmup, seed=seed, shuffle=shuffle or None,
        ignore_eos=ignore_eos or None, interface="completion" if completion else None, goodput=limits or None,
    )  # fmt: skip
    files = OwnFiles()
    sources = {"prompts": files.source("prompts", prompts, "--prompts")}
    sources |= {} if golden is None else {"golden": files.source("golden", golden, "--golden")}
    spec = {
        "kind": "client",
        "endpoint": _endpoint(server),
        "load": shape,
        **sources,
        **_said(max_tokens=max_tokens, repeats=repeats, require=None if require is None else requirement_in(require)),
    }
    request = validated(JobRequest, {"spec": spec, "name": name or "load", "project": project})
    with session.client() as client:
        files.send(client)
        with once(key) as sent:
            job = client.submit(request, key=sent).id
        hint_on_terminal(f"submitted; wait with: tx81 logs -f {job}")
        with live_progress() as progress:
            (ended,) = wait_for(client, [job], progress=progress, timeout=None)
        session.emit(ended, Group(jobs_table([ended]), *([metrics_table(ended)] if ended.metrics else [])))
    return exit_for([ended])


def _endpoint(server: str) -> dict[str, Any]:
    return {"job": int(server), "artifact": "endpoint"} if server.isdecimal() else {"url": server}


def _said(**options: Any) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}
