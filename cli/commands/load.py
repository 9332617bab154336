"""`tx81 load`: a load on a running server, followed to its end and told in numbers."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Group

from cli.input.documents import validated
from cli.pages.jobs import jobs_table, metrics_table
from cli.session import HERE, Exit, Session, hint_on_terminal, once
from cli.waiting.jobs import exit_for, live_progress, wait_for
from orchestrator.model.specs import JobRequest

Switch = Parameter(negative="")


def load(
    server: int,
    /,
    *,
    prompts: Path,
    golden: Path | None = None,
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
    """Ask a server many times and measure it: waits, and prints latencies and throughput.

    Parameters
    ----------
    server
        Number of its job; see: tx81 endpoints
    prompts
        File with one question a line, under a root that the server allows.
    golden
        File with the expected answers, to compare with.
    concurrency
        So many requests under way at any time; 1 if there is no rate either.
    rate
        Instead: so many requests a second on average, whatever has been answered.
    requests
        How many are measured; each prompt `--repeats` times if absent.
    repeats
        How often each prompt is asked.
    warmup
        Requests before these, not measured.
    shuffle
        Ask the prompts in an order drawn by --seed.
    seed
        Of that order, and of the times of sending.
    max_tokens
        Longest answer.
    completion
        Send each prompt as a text to go on from, not as a chat.
    ignore_eos
        Let every answer go on until --max-tokens.
    ttft
        Goodput: at most so many seconds to the first text.
    tpot
        Goodput: at most so many seconds per token after it.
    latency
        Goodput: at most so many seconds to the end of the answer.
    project
        Whose job it is.
    name
        What to call the job.
    key
        Idempotency key: the same key and options never start a second load.
    """
    limits = _said(ttft_seconds=ttft, tpot_seconds=tpot, request_seconds=latency)
    shape = _said(
        concurrency=concurrency, rate=rate, requests=requests, warmup=warmup, seed=seed, shuffle=shuffle or None,
        ignore_eos=ignore_eos or None, interface="completion" if completion else None, goodput=limits or None,
    )  # fmt: skip
    files = _said(prompts=prompts, golden=golden)
    spec = {
        "kind": "client",
        "endpoint": {"job": server, "artifact": "endpoint"},
        "load": shape,
        **{field: {"path": str(file.absolute())} for field, file in files.items()},
        **_said(max_tokens=max_tokens, repeats=repeats),
    }
    request = validated(JobRequest, {"spec": spec, "name": name or "load", "project": project})
    with session.client() as client:
        with once(key) as sent:
            job = client.submit(request, key=sent).id
        hint_on_terminal(f"submitted; watch with: tx81 logs -f {job}")
        with live_progress() as progress:
            (ended,) = wait_for(client, [job], progress=progress, timeout=None)
        session.emit(ended, Group(jobs_table([ended]), *([metrics_table(ended)] if ended.metrics else [])))
    return exit_for([ended])


def _said(**options: Any) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}
