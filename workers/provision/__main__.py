"""The process that sets a host up: `python -m workers.provision STEPS OUTCOMES`.

Each step is looked at, done if need be, and looked at again; the first that fails ends it. What it prints is the log of
the attempt, with a heading for each step; the outcome of each is added to the file OUTCOMES. It ends with 0 if all
steps are done, or, of a dry run, if all could be looked at; else with 1.
"""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from orchestrator.errors import OrchestratorError
from workers.provision.outcomes import Journal, StepState, in_one_line
from workers.provision.packages import BadPackages
from workers.provision.plan import Steps
from workers.provision.tasks import CommandTask, PackagesTask, StepFailed, Task, say

_LOOK_AGAIN = 1.0


def main(argv: Sequence[str]) -> int:
    """Do all steps of the document."""
    steps = Steps.model_validate_json(Path(argv[0]).read_text("utf-8"))
    journal = Journal(Path(argv[1]))
    tasks: list[Task] = [] if steps.packages is None else [PackagesTask(steps.packages)]
    tasks += [CommandTask(step) for step in steps.steps]
    for task in tasks:
        say(f"==> {task.name}: {task.title}")
        journal.add(task.name, task.title, StepState.CHECKING)
        try:
            state, why = _taken(task, journal, dry_run=steps.dry_run)
        except (StepFailed, BadPackages, OrchestratorError, OSError, subprocess.SubprocessError) as trouble:
            state, why = StepState.FAILED, in_one_line(str(trouble))
        except KeyboardInterrupt:
            say(f"provisioning was stopped at step {task.name}")
            return 1
        journal.add(task.name, task.title, state, why)
        if state is StepState.FAILED:
            say(f"provisioning failed at step {task.name}: {why}")
            return 1
        say(f"{task.name}: {state.replace('_', ' ')}{f': {why}' if why else ''}")
    return 0


def _taken(task: Task, journal: Journal, *, dry_run: bool) -> tuple[StepState, str]:
    """Run one step, and return its outcome."""
    lacking = task.lacking() or ("it will be done again (force)" if task.force else None)
    if lacking is None:
        return StepState.DONE_BEFORE, ""
    if dry_run:
        for line in task.described():
            say(f"would do: {line}")
        return StepState.WOULD_DO, lacking
    say(lacking)
    journal.add(task.name, task.title, StepState.DOING, lacking)
    task.do()
    give_up = time.monotonic() + task.patience_seconds
    while (lacking := task.lacking()) is not None:
        if time.monotonic() >= give_up:
            raise StepFailed(f"it was done, but {lacking}")
        time.sleep(_LOOK_AGAIN)
    return StepState.DONE, ""


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
