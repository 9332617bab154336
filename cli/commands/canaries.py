"""The commands about canaries: which inference checks the cards of quarantined slots, and checking a slot now."""

from collections.abc import Sequence
from typing import Annotated

from cyclopts import App, Parameter
from rich.table import Table

from api.documents.canaries import CanaryView
from cli.commands.listing import slot_id
from cli.input.documents import Inference, document_in, folder_of, validated
from cli.input.files import OwnFiles
from cli.pages.jobs import job_page
from cli.pages.layout import row, short, table
from cli.session import HERE, Exit, Session, Stop, hint
from orchestrator.model.specs import CanarySpec
from orchestrator.model.states import JobState

_UNTOLD = Inference()
_NEEDED = ("model", "kcore", "prompts", "golden")

app = App(name="canary", help="Canaries, the jobs that check quarantined slots; `set`, `show`, `run`.")


@app.command(name="set")
def set_canary(
    file: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    /,
    *,
    inference: Inference = _UNTOLD,
    release: str | None = None,
    session: Session = HERE,
) -> Exit:
    """Register an inference with known answers as the canary of a release. Keep it short and deterministic.

    Without --max-tokens, each answer has at most 128 tokens.

    Parameters
    ----------
    file
        JSON or YAML with these options as fields, and gm for an int8 kernel image; - means standard input.
    release
        Default: the default release.
    """
    if (file is None) == (inference == _UNTOLD):
        raise Stop("canary set: give either a file or --model, --kcore, --prompts and --golden")
    files = OwnFiles()
    if file is None:
        asked = inference.fields("canary set", _NEEDED, files)
    else:
        asked = files.in_document(document_in(file)[0], folder_of(file))
    spec = validated(CanarySpec, asked)
    with session.client() as client:
        default = next((found.name for found in client.releases() if found.is_default), None)
        if (wanted := release or default) is None:
            raise Stop("no release is registered; see: tx81 releases add --help")
        files.send(client)
        canary = client.set_canary(wanted, spec)
        session.emit(canary, _canaries([canary]))
    return Exit.OK


@app.command
def show(*, session: Session = HERE) -> Exit:
    """List the canaries of all releases."""
    with session.client() as client:
        found = client.canaries()
        session.emit(found, _canaries(found))
    return Exit.OK


@app.command
def run(slot: str, *, session: Session = HERE) -> Exit:
    """Check a slot (HOST.g3) now and wait for the result; a slot that fails is quarantined."""
    with session.client() as client:
        slot = slot_id(client, slot)
        job = client.run_canary(slot).id
        hint(f"canary job {job} on {slot}; Ctrl-C detaches")
        try:
            ended = client.wait([job])[job]
        except KeyboardInterrupt:
            raise Stop(f"detached; see: tx81 show {job}", Exit.DETACHED) from None
        session.emit(ended, job_page(ended))
    return Exit.OK if ended.state is JobState.SUCCEEDED else Exit.FAULT


def _canaries(found: Sequence[CanaryView]) -> Table:
    shown = table("release", "model", "max tokens", "set by", "kcore", "prompts", "golden", right={"max tokens"})
    for canary in found:
        spec = canary.spec
        inputs = [short(spec[name]["digest"]) for name in ("kcore", "prompts", "golden")]
        row(shown, canary.release, spec["model"], spec["max_tokens"], canary.set_by, *inputs)
    return shown
