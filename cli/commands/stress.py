"""`tx81 stress`: the same job many times on many slots, followed to its end and told in one report."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from cli.input.documents import Inference, requests_in, validated
from cli.pages.batches import batch_page, batches_table
from cli.session import HERE, Exit, Session, Stop, hint_on_terminal, once
from cli.waiting.batches import checked_place, end_of, followed, saved_junit
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
    stop_on: StopOn = StopOn.NEVER,
    name: str | None = None,
    project: str = "default",
    wait: Annotated[bool, Switch] = False,
    timeout: float | None = None,
    junit: Path | None = None,
    key: str | None = None,
    session: Session = HERE,
) -> Exit:
    """Run the same job many times on many slots, each pinned: which group fails, is slow, or answers otherwise?

    Parameters
    ----------
    file
        The job, JSON or YAML; - reads standard input. Or say it by --model, --kcore and --prompts.
    times
        How often on each slot.
    slots
        `all` that serve, or some: g0,g3,HOST.g5
    stop_on
        Skip what has not begun at the first lasting fault of a card, or at the first failed job.
    name
        What to call the batch.
    project
        Whose jobs they are.
    wait
        Follow it to its end and print the report; the exit code says how it ended.
    timeout
        Seconds to wait; then exit 124, and the batch goes on.
    junit
        Write the report as JUnit XML into this file too; waits.
    key
        Idempotency key: the same key and options never start a second batch.
    """
    template = _job(file, inference)
    checked_place(junit)
    request = validated(
        BatchRequest,
        {
            "name": name or f"stress-{getattr(template.spec, 'model', template.spec.kind)}"[:100],
            "project": project,
            "stop_on": stop_on,
            "template": template.model_dump(mode="json", exclude_unset=True),
            "times": times,
            "slots": slots if slots == ALL_SLOTS else [slot.strip() for slot in slots.split(",")],
        },
    )
    with session.client() as client:
        with once(key) as sent:
            made = client.batches.submit(request, key=sent)
        if not (wait or timeout is not None or junit is not None):
            session.emit(made, batches_table([made]))
            hint_on_terminal(f"submitted; watch with: tx81 batches wait {made.id}")
            return Exit.OK
        ended = followed(client, made.id, timeout)
        saved_junit(client, made.id, junit)
        session.emit(ended, batch_page(ended))
    return end_of(ended)


def _job(file: str | None, inference: Inference) -> JobRequest:
    """The job to repeat: that of a file, or an inference by options."""
    if (file is None) == (inference == _UNTOLD):
        raise Stop("stress: give either a file with one job, or --model, --kcore and --prompts")
    if file is not None:
        request = requests_in(file)
        if not isinstance(request, JobRequest):
            raise Stop(f"{file}: one job is expected; for many different ones use: tx81 batches submit")
        return request
    told = inference.fields("stress", ("model", "kcore", "prompts"))
    return validated(JobRequest, {"spec": {"kind": "infer", **told}})
