"""`tx81 golden`: reference answers, against which an inference is compared."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from cli.pages.catalog import artifacts_table
from cli.session import HERE, Exit, Session, Stop, hint_on_terminal

app = App(name="golden", help="Reference answers; `import` imports a file, or the answers of a job.")


class Written(StrEnum):
    """How the answers are written in the file."""

    AUTO = "auto"
    JSON_LINES = "json_lines"
    LINES = "lines"


@app.command(name="import")
def import_golden(
    file: Path | None = None,
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
        The answers, under a root that the server allows: JSON lines with question and answer (or response), or one
        answer a line in the order of the prompts.
    prompts
        The questions: a file under an allowed root, or the digest sha256:… of a stored one.
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
    if file is None or prompts is None:
        request: dict[str, Any] = {"job": job}
    else:
        asked = {"digest": prompts} if prompts.startswith("sha256:") else {"path": str(Path(prompts).absolute())}
        request = {"path": str(file.absolute()), "prompts": asked, "format": str(how)}
    with session.client() as client:
        made = client.imports.golden(**request, model=model)
        session.emit(made, artifacts_table([made]))
    hint_on_terminal(f"{(made.facts or {}).get('answers')} answers; in an infer job: golden: {{digest: {made.digest}}}")
    return Exit.OK
