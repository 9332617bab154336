"""`tx81 run`: from a registered model to answers, waited for and printed."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Group
from rich.text import Text

from api.documents.jobs import JobView
from cli.input.documents import model_to_answers
from cli.input.files import OwnFiles
from cli.pages.jobs import answers_table, jobs_table
from cli.pages.runs import run_summary
from cli.session import HERE, Exit, Session, Stop, hint_on_terminal, once
from cli.waiting.jobs import exit_for, live_progress, wait_for
from orchestrator.model.failures import WITH_RESULTS
from orchestrator.model.states import JobState
from orchestrator.strict_json import BadDocument, check_text

Switch = Parameter(negative="")


def run(
    *,
    model: str,
    backend_type: str,
    prompts: str | None = None,
    ask: Annotated[list[str] | None, Parameter(allow_leading_hyphen=True, negative="")] = None,
    golden: str | None = None,
    require: str | None = None,
    quantize: Annotated[bool, Switch] = False,
    max_tokens: int | None = None,
    groups: int | None = None,
    cards: str | None = None,
    batch_sizes: str | None = None,
    release: str | None = None,
    name: str | None = None,
    key: str | None = None,
    session: Session = HERE,
) -> Exit:
    """From a registered model to answers: (quantize,) convert, compile, infer; waits, prints the answers and a summary.

    Parameters
    ----------
    model
        Name of a registered model; see: tx81 models
    backend_type
        The converter's --backend-model-type, e.g. qwen2_7b_bf16.
    prompts
        File with one question a line: on this machine, or server:/path.
    ask
        Instead of a file: a question; may be repeated.
    golden
        File with the expected answers, in the same form; answers that miss them fail the job (exit code 1).
    require
        What answers have to be beside --golden: exact (default), similarity=0.98, final_answer, or report.
    quantize
        Quantise the weights first, for the *_quant types.
    max_tokens
        Maximum number of tokens of an answer.
    groups
        Number of card groups of one host; each answers all prompts.
    cards
        The cards instead: 0..3, 4..7, … 28..31, several ranges (0..3,8..11), 0..31, or the single card 0.
    batch_sizes
        Run the whole test once for each number of card groups, e.g. 1,5,6.
    release
        Toolchain release. Default: the default release.
    name
        Name of the pipeline.
    key
        Idempotency key: repeating the command with the same key and options never starts a second pipeline.
    """
    files = OwnFiles()
    request = model_to_answers(
        name=name or f"run-{model}"[:100],
        model=model,
        backend_type=backend_type,
        prompts=_questions(files, prompts, ask),
        golden=None if golden is None else files.source("golden", golden, "--golden"),
        require=require,
        quantize=quantize,
        max_tokens=max_tokens,
        groups=groups,
        cards=cards,
        batch_sizes=batch_sizes,
        release=release,
    )
    with session.client() as client:
        files.send(client)
        with once(key) as sent:
            pipeline = client.submit_pipeline(request, key=sent)
        hint_on_terminal(f"pipeline {pipeline.id}: {', '.join(f'job {job.id} {job.name}' for job in pipeline.jobs)}")
        with live_progress() as progress:
            ended = wait_for(client, [job.id for job in pipeline.jobs], progress=progress)
        infer = next(job for job in ended if job.kind == "infer")
        answered = infer.state is JobState.SUCCEEDED or _only_wrong(infer)
        answers = list(client.all_answers(infer.id)) if answered else []
        document = {
            "pipeline": pipeline.id,
            "jobs": [job.model_dump(mode="json") for job in ended],
            "answers": [answer.model_dump(mode="json") for answer in answers],
        }
        shown = answers_table(answers) if answered else jobs_table(ended)
        session.emit(document, Group(shown, Text(), run_summary(pipeline.id, ended)))
        return exit_for(ended)


def _questions(files: OwnFiles, prompts: str | None, ask: Sequence[str] | None) -> Mapping[str, Any]:
    """The prompts of the spec: those of a file, or those on the command line."""
    if (prompts is None) == (not ask):
        raise Stop("run: give either --prompts FILE or --ask QUESTION (which may be repeated)")
    try:
        for question in ask or ():
            check_text(question)
    except BadDocument:
        message = "--ask: the question is not UTF-8; write it in the encoding of this terminal, or use --prompts"
        raise Stop(message) from None
    return {"lines": list(ask or ())} if prompts is None else files.source("prompts", prompts, "--prompts")


def _only_wrong(job: JobView) -> bool:
    """Whether it has answers, which are not what was required."""
    return job.failure is not None and job.failure.kind in WITH_RESULTS
