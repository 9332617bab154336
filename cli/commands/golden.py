"""`tx81 golden`: reference answers, against which an inference is compared."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from cli.pages.catalog import artifacts_table
from cli.session import HERE, Exit, Session, Stop, hint_on_terminal

app = App(name="golden", help="Reference answers; `import` takes in a file of them, or a job's answers.")


class Written(StrEnum):
    """How the answers stand in the file."""

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
    """Take in one answer for each prompt; prints the digest that `golden` inputs name.

    Parameters
    ----------
    file
        The answers, under a root that the server allows: JSON lines with question and answer (or response), or one
        answer a line in the order of the prompts.
    prompts
        The questions: a file under such a root, or the digest sha256:… of one.
    model
        Name of the registered model whose answers they are.
    how
        How the file is written, where its first character does not tell.
    job
        Instead of a file: what this inference has answered, in its first repeat.
    """
    if (file is None) == (job is None):
        raise Stop("give either a file of answers, or --job")
    if (file is None) != (prompts is None):
        raise Stop("--prompts: needed with a file, and only there")
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
