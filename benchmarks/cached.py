"""The main pipelines a first and a second time, side by side: `python -m benchmarks.cached [ROUNDS]` (default 5).

Each round submits bf16 and int8 pipelines of the tiny model twice: with `use_cache: false`, so that everything is
built, and as usual, so that every build comes from the cache. Both on the same running stack, in turns.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

from api.client.client import Client
from cli.input.documents import model_to_answers
from cli.stack.embedded import MODEL, Running, StackPlan, free_port, running
from orchestrator.model.specs import PipelineRequest


def pipeline(stack: Running, *, quantize: bool, use_cache: bool) -> PipelineRequest:
    """The tiny model from weights to answers."""
    made = model_to_answers(
        name="bench",
        model=MODEL,
        backend_type="qwen2_7b_quant" if quantize else "qwen2_7b_bf16",
        prompts={"path": stack.tools["prompts"]},
        golden={"path": stack.tools["golden"]},
        quantize=quantize,
        max_tokens=512,
    )
    jobs = {name: job.model_copy(update={"use_cache": use_cache}) for name, job in made.jobs.items()}
    return made.model_copy(update={"jobs": jobs})


def seconds(stack: Running, client: Client, *, use_cache: bool) -> float:
    """Wall time of both pipelines, submitted together."""
    began = time.monotonic()
    made = [
        client.submit_pipeline(pipeline(stack, quantize=quantize, use_cache=use_cache)) for quantize in (False, True)
    ]
    client.wait([job.id for one in made for job in one.jobs])
    return time.monotonic() - began


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory(prefix="tx81-bench-") as name:
        plan = StackPlan(state=Path(name) / "state", api_port=free_port(0), flower_port=free_port(0))
        with running(plan) as stack, Client(stack.server, stack.token) as client:
            seconds(stack, client, use_cache=True)
            built, cached = [], []
            for _ in range(rounds):
                built.append(seconds(stack, client, use_cache=False))
                cached.append(seconds(stack, client, use_cache=True))
    print(f"everything built   median {statistics.median(built):6.2f} s   n {rounds}")
    print(f"builds from cache  median {statistics.median(cached):6.2f} s   n {rounds}")
    print(f"ratio of medians   {statistics.median(cached) / statistics.median(built):.2f}")


if __name__ == "__main__":
    main()
