"""Idle latency: from asking to a vendor process that runs, beside a bare Celery task that starts the same process.

Both sides start the same C program, which writes down when it began; both are asked by the same client process on the
same machine in the same minutes, in turns. `python -m benchmarks.latency [N]` (default 200 of each).
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from celery import Celery

from api.client.client import Client
from cli.stack.embedded import MODEL, Running, StackPlan, free_port, running
from cli.stack.stack import broker_socket, broker_url
from orchestrator.model.specs import JobRequest

HERE = Path(__file__).parent


def bare_celery(url: str) -> Celery:
    """A Celery application as its users write one: one task that starts a process and waits for it."""
    app = Celery("bare", broker=url, set_as_current=False)
    app.conf.update(task_ignore_result=True, task_default_queue="bare", worker_hijack_root_logger=False)

    @app.task(name="bare.start")
    def start(program: str, target: str) -> None:
        subprocess.run([program, target], check=True)

    return app


def ours(stack: Running, client: Client, program: Path) -> float:
    """Milliseconds from the POST to the vendor process, of one job."""
    request = JobRequest.model_validate(
        {"spec": {"kind": "quantize", "model": MODEL}, "release": "stamp", "use_cache": False}
    )
    asked = time.time_ns()
    job = client.submit(request)
    client.wait([job.id])
    output = next(artifact for artifact in client.job(job.id).outputs if artifact.name == "gm")
    return (int(b"".join(client.content(output.id))) - asked) / 1e6


def bare(app: Celery, program: Path, folder: Path) -> float:
    """Milliseconds from `send_task` to the process, of one task."""
    target = folder / "stamp"
    target.unlink(missing_ok=True)
    asked = time.time_ns()
    app.send_task("bare.start", args=(str(program), str(target)))
    while not (target.exists() and (text := target.read_text()).endswith("\n")):
        time.sleep(0.001)
    return (int(text) - asked) / 1e6


def in_turns(count: int, *sides: Callable[[], float]) -> list[list[float]]:
    """`count` measurements of each side, one after the other, after three that do not count."""
    found: list[list[float]] = [[] for _ in sides]
    for number in range(count + 3):
        for side, values in zip(sides, found, strict=True):
            value = side()
            if number >= 3:
                values.append(value)
            time.sleep(0.02)
    return found


def told(name: str, values: list[float]) -> str:
    """One line: median and 95th percentile."""
    cut = statistics.quantiles(values, n=20)
    return f"{name:12} p50 {statistics.median(values):7.1f} ms   p95 {cut[18]:7.1f} ms   n {len(values)}"


def main() -> None:
    """Measure and print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory(prefix="tx81-bench-") as name:
        folder = Path(name)
        tools = folder / "tools" / "bin"
        tools.mkdir(parents=True)
        program = tools / "stamp"
        subprocess.run(["gcc", "-O2", "-o", program, HERE / "stamp.c"], check=True)
        os.environ["TX81_PROFILE_DIRS"] = f'["{HERE / "profiles"}", "{HERE.parent / "orchestrator" / "profiles"}"]'
        os.environ["TX81_ALLOWED_ROOTS"] = f'["{folder}"]'
        plan = StackPlan(state=folder / "state", api_port=free_port(0), flower_port=free_port(0))
        with running(plan) as stack, Client(stack.server, stack.token) as client:
            client.register_release("stamp", "stamp", str(folder / "tools"))
            url = broker_url(broker_socket(plan.state))
            worker = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "benchmarks.bare:app", "worker", "-c", "1", "-P", "threads",
                 "-Q", "bare", "--without-gossip", "--without-mingle", "-l", "error"],
                env={**os.environ, "BARE_BROKER": url},
            )  # fmt: skip
            try:
                app = bare_celery(url)
                own, other = in_turns(count, lambda: ours(stack, client, program), lambda: bare(app, program, folder))
            finally:
                worker.terminate()
                worker.wait()
        print(told("bare Celery", other))
        print(told("tx81", own))
        print(f"ratio of medians {statistics.median(own) / statistics.median(other):.2f}")


if __name__ == "__main__":
    main()
