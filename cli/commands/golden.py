"""`tx81 golden`: reference answers, against which an inference is compared."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from cli.input.files import OwnFiles, file_name, own_file, server_path
from cli.pages.catalog import artifacts_table
from cli.session import HERE, Exit, Session, Stop, hint_on_terminal
from orchestrator.model.spec_words import SERVER_PREFIX

app = App(name="golden", help="Reference answers; `import` imports a file, or the answers of a job.")


class Written(StrEnum):
    """How the answers are written in the file."""

    AUTO = "auto"
    JSON_LINES = "json_lines"
    LINES = "lines"


@app.command(name="import")
def import_golden(
    file: str | None = None,
    /,
    *,
    prompts: str | None = None,
    model: str | None = None,
    how: Annotated[Written, Parameter(name="--format")] = Written.AUTO,
    job: int | None = None,
    session: Session = HERE,
) -> Exit:
    """Import one answer for each prompt; print the digest to use as `golden` input.

    Parameters
    ----------
    file
        The answers, on this machine or as server:/path: JSON lines with question and answer (or response), or one
        answer a line in the order of the prompts.
    prompts
        The questions: a file, in the same form, or the digest sha256:… of a stored one.
    model
        Name of the registered model whose answers they are.
    how
        Format of the file. Default: decided by its first character.
    job
        Instead of a file: the answers of this inference job, of its first repeat.
    """
    if (file is None) == (job is None):
        raise Stop("give either a file of answers or --job")
    if (file is None) != (prompts is None):
        raise Stop("--prompts: required with a file, and only allowed with one")
    files = OwnFiles()
    request: dict[str, Any] = {"job": job, "model": model}
    if prompts is not None:
        request |= {"prompts": files.source("prompts", prompts, "--prompts"), "format": str(how)}
    answers = None
    if file is not None and file.startswith(SERVER_PREFIX):
        request["path"] = server_path(file, "FILE")
    elif file is not None:
        answers = own_file(Path(file), file, "FILE")
    with session.client() as client:
        files.send(client)
        if file is None or answers is None:
            made = client.imports.golden(**request)
        else:
            made = client.imports.send_golden(answers, file_name(Path(file)), **request)
        session.emit(made, artifacts_table([made]))
    hint_on_terminal(f"{(made.facts or {}).get('answers')} answers; in an infer job: golden: {{digest: {made.digest}}}")
    return Exit.OK
