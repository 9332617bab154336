"""`tx81 stress`: one job many times on many slots, followed until it ends, with one report."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from cli.input.documents import Inference, requests_in, validated
from cli.input.files import OwnFiles
from cli.input.numbers import Seconds
from cli.output_files import require_writable
from cli.pages.batches import batch_page, batches_table
from cli.session import HERE, Exit, Session, Stop, hint_on_terminal, once
from cli.waiting.batches import end_of, followed, saved_junit
from orchestrator.model.batches import ALL_SLOTS, BatchRequest, StopOn
from orchestrator.model.specs import JobRequest

_UNTOLD = Inference()
Switch = Parameter(negative="")


def stress(
    file: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    /,
    *,
    inference: Inference = _UNTOLD,
    times: Annotated[int, Parameter(validator=Number(gte=1))] = 1,
    slots: str = ALL_SLOTS,
    stop_on: StopOn | None = None,
    name: str | None = None,
    project: str = "default",
    wait: Annotated[bool, Switch] = False,
    timeout: Seconds | None = None,
    junit: Path | None = None,
    require_agreement: Annotated[bool, Switch] = False,
    key: str | None = None,
    session: Session = HERE,
) -> Exit:
    """Run one job many times on many slots, to find a card group that fails, is slow, or gives other answers.

    Parameters
    ----------
    file
        The job, JSON or YAML; - means standard input. Or use --model, --kcore and --prompts.
    times
        Number of runs on each slot.
    slots
        `all` that are in service, or a list: g0,g3,HOST.g5
    stop_on
        When to skip the jobs that have not started: at the first sticky fault of a card, or at the first failed job.
        Default: sticky-fault with --wait, because jobs of a slot that was quarantined wait for a person; else never.
    name
        Name of the batch.
    project
        Project of the jobs.
    wait
        Wait until it has ended and print the report; the exit code tells how it ended.
    timeout
        Seconds to wait; then exit with 124. The batch continues.
    junit
        Also write the report as JUnit XML into this file; implies --wait.
    require_agreement
        Exit with 1, and fail in JUnit, unless all slots give the same answers; implies --wait.
    key
        Idempotency key: repeating the command with the same key and options never starts a second batch.
    """
    files = OwnFiles()
    template = _job(file, inference, files)
    waits = wait or require_agreement or timeout is not None or junit is not None
    require_writable(junit, "--junit")
    request = validated(
        BatchRequest,
        {
            "name": name or f"stress-{getattr(template.spec, 'model', template.spec.kind)}"[:100],
            "project": project,
            "stop_on": stop_on or (StopOn.STICKY_FAULT if waits else StopOn.NEVER),
            "template": template.model_dump(mode="json", exclude_unset=True),
            "times": times,
            "slots": slots if slots == ALL_SLOTS else [slot.strip() for slot in slots.split(",")],
        },
    )
    with session.client() as client:
        files.send(client)
        with once(key) as sent:
            made = client.batches.submit(request, key=sent)
        if not waits:
            session.emit(made, batches_table([made]))
            hint_on_terminal(f"submitted; wait with: tx81 batches wait {made.id}")
            return Exit.OK
        ended = followed(client, made.id, timeout)
        saved_junit(client, made.id, junit, require_agreement=require_agreement)
        session.emit(ended, batch_page(ended))
    return end_of(ended, require_agreement=require_agreement)


def _job(file: str | None, inference: Inference, files: OwnFiles) -> JobRequest:
    """The job to repeat: that of a file, or an inference by options."""
    if (file is None) == (inference == _UNTOLD):
        raise Stop("stress: give either a file with one job or --model, --kcore and --prompts")
    if file is not None:
        request = requests_in(file, files)
        if not isinstance(request, JobRequest):
            raise Stop(f"{file}: expected one job; for several different jobs use: tx81 batches submit")
        return request
    told = inference.fields("stress", ("model", "kcore", "prompts"), files)
    return validated(JobRequest, {"spec": {"kind": "infer", **told}})
