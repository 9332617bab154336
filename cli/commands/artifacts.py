"""`tx81 artifacts`: list what is stored, download it, and import what was made elsewhere."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Annotated, Literal

from cyclopts import App, Parameter
from rich.text import Text

from api.client.client import Client
from api.documents.artifacts import ArtifactView
from cli.commands.unknown_names import hint_if_unknown
from cli.input.files import file_name, own_archive, server_path
from cli.input.numbers import Limit
from cli.output_files import require_new
from cli.pages.catalog import artifacts_table
from cli.pages.layout import size
from cli.session import FILE_HERE, HERE, Exit, FileSession, Session, Stop, hint_on_terminal
from cli.waiting.jobs import sending
from orchestrator.model.spec_words import SERVER_PREFIX

app = App(name="artifacts", help="Stored files and trees; `get` downloads one, `import-kcore` imports a kernel image.")


@app.default
def artifacts(
    *,
    job: int | None = None,
    name: str | None = None,
    retired: bool = False,
    limit: Limit = 50,
    session: Session = HERE,
) -> Exit:
    """List artifacts, newest first.

    Parameters
    ----------
    job
        Only those that this job produced.
    name
        Only those with this name: gm, c_source, kcore, answers, log.
    retired
        Those that are retired instead.
    limit
        Number of entries at most, up to 500.
    """
    with session.client() as client:
        only = {"retired": "true"} if retired else {}
        found = client.artifacts(limit=limit, job=job, name=name, **only).items
        session.emit(found, artifacts_table(found))
        hint_if_unknown(client, found, job=job)
    return Exit.OK


@app.command(name="get")
def get(
    artifact: int,
    /,
    *,
    to: Annotated[Path | None, Parameter(name=["--to", "-o"])] = None,
    session: FileSession = FILE_HERE,
) -> Exit:
    """Download an artifact: a file as it is, a tree as a folder.

    Parameters
    ----------
    to
        Where to write it. Default: its own name in the current folder. An existing file is not overwritten.
    """
    with session.client() as client:
        found = client.artifact(artifact)
        target = _target(found, to)
        with _emerging(target) as draft:
            if found.tree:
                _download_tree(client, found.id, draft)
            else:
                _download(client.content(found.id), draft)
        session.emit({**found.model_dump(mode="json"), "path": str(target.absolute())}, Text(str(target)))
    hint_on_terminal(f"{size(found.size)} in {target}")
    return Exit.OK


@app.command(name="import-kcore")
def import_kcore(
    path: str,
    /,
    *,
    model: str | None = None,
    precision: Literal["bf16", "fp16", "quant"] | None = None,
    session: Session = HERE,
) -> Exit:
    """Import a kernel image that was compiled elsewhere; print the digest to use as `kcore` input.

    Parameters
    ----------
    path
        A .tar or .tar.gz on this machine with a node folder or kcore.bin in it; it is sent, and an interrupted upload
        resumes where it stopped. Or server:/path of an archive, a folder or kcore.bin under a root that the server
        allows.
    model
        Name of the registered model it was compiled from. Jobs with other weights are then refused.
    precision
        Precision of its weights, if its name does not contain it.
    """
    with session.client() as client:
        if path.startswith(SERVER_PREFIX):
            made = client.imports.kcore(server_path(path, "PATH"), model, precision)
        else:
            with sending(file_name(Path(path))) as told:
                made = client.imports.send_kcore(own_archive(path, "PATH"), told, model, precision)
    session.emit(made, artifacts_table([made]))
    known = ", ".join(f"{name} {value}" for name, value in (made.facts or {}).items())
    hint_on_terminal(f"{known or 'nothing is known about its origin'}; in a job: kcore: {{digest: {made.digest}}}")
    return Exit.OK


def _target(artifact: ArtifactView, to: Path | None) -> Path:
    own_name = Path(artifact.file_name).name or f"artifact-{artifact.id}"
    target = Path(own_name) if to is None else to / own_name if to.is_dir() else to
    require_new(target)
    return target


@contextmanager
def _emerging(target: Path) -> Iterator[Path]:
    """A temporary path next to the target: renamed to the target on success, removed on failure."""
    with TemporaryDirectory(dir=target.absolute().parent, prefix=".tx81-") as folder:
        draft = Path(folder) / "draft"
        yield draft
        os.rename(draft, target)


def _download_tree(client: Client, artifact: int, folder: Path) -> None:
    folder.mkdir()
    for entry in client.entries(artifact):
        place = PurePosixPath(entry.path)
        if place.is_absolute() or ".." in place.parts or not place.parts:
            raise Stop(
                f"artifact {artifact} has a file named {entry.path!r}, which would be outside the folder", Exit.SERVER
            )
        file = folder / place
        file.parent.mkdir(parents=True, exist_ok=True)
        _download(client.content(artifact, entry.path), file)
        file.chmod(0o755 if entry.executable else 0o644)


def _download(content: Iterable[bytes], file: Path) -> None:
    with file.open("xb") as stream:
        for piece in content:
            stream.write(piece)
