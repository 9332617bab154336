"""The commands about what there is: hosts, pipelines, models, releases."""

from itertools import islice
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from cli.session import Exit, Session
from cli.show import hosts_table, models_table, pipelines_table, releases_table
from cli.watching import sending

_HERE = Session()

models_app = App(name="models", help="Registered models; `add` registers one.")
releases_app = App(name="releases", help="Toolchain releases; `add` registers one, `check` tries its tools.")


def pipelines(
    *,
    project: str | None = None,
    name: str | None = None,
    limit: Annotated[int, Parameter(name=["--limit", "-n"])] = 50,
    session: Session = _HERE,
) -> Exit:
    """List pipelines, newest first."""
    with session.client() as client:
        found = client.pipelines(limit=limit, project=project, name=name).items
        session.emit(list(islice(found, limit)), pipelines_table(found))
    return Exit.OK


def hosts(*, session: Session = _HERE) -> Exit:
    """List the hosts: who is there, what is free, and since when one is away."""
    with session.client() as client:
        found = client.hosts()
        session.emit(found, hosts_table(found))
    return Exit.OK


@models_app.default
def models(*, session: Session = _HERE) -> Exit:
    """List the registered models."""
    with session.client() as client:
        found = client.models()
        session.emit(found, models_table(found))
    return Exit.OK


@models_app.command(name="add")
def add_model(
    name: str,
    path: Path,
    /,
    *,
    official_config: Path | None = None,
    tx81_config: Path | None = None,
    session: Session = _HERE,
) -> Exit:
    """Register a folder of weights under a root that the server allows; hashing it takes a while.

    Parameters
    ----------
    path
        The folder, as the server sees it.
    official_config
        The publisher's config.json, if the folder holds the TX81 one.
    tx81_config
        The config.json with param_dir, if the folder holds the publisher's.
    """
    with session.client() as client:
        made = client.register_model(name, str(path.absolute()), _text(official_config), _text(tx81_config))
        session.emit(made, models_table([made]))
    return Exit.OK


@models_app.command(name="upload")
def upload_model(
    name: str,
    archive: Path,
    /,
    *,
    official_config: Path | None = None,
    tx81_config: Path | None = None,
    session: Session = _HERE,
) -> Exit:
    """Send weights packed as .tar or .tar.gz and register them; sent again after a break, it goes on where it was.

    Parameters
    ----------
    archive
        Holds config.json, the *.safetensors and the tokenizer; the other config.json beside it as config_tx81.json or
        config_official.json, or it is named here.
    official_config
        The publisher's config.json as the server sees it, if the archive holds the TX81 one, as the vendor's do.
    tx81_config
        The config.json with param_dir as the server sees it, if the archive holds the publisher's.
    """
    with session.client() as client, sending(archive.name) as told:
        made = client.upload_model(name, archive, told, _text(official_config), _text(tx81_config))
    session.emit(made, models_table([made]))
    return Exit.OK


@releases_app.default
def releases(*, session: Session = _HERE) -> Exit:
    """List the toolchain releases."""
    with session.client() as client:
        found = client.releases()
        session.emit(found, releases_table(found))
    return Exit.OK


@releases_app.command(name="add")
def add_release(
    name: str,
    profile: str,
    root: Path,
    /,
    *,
    default: Annotated[bool, Parameter(negative="")] = False,
    session: Session = _HERE,
) -> Exit:
    """Register the vendor's tools installed at a folder, called as a profile says.

    Parameters
    ----------
    profile
        Name of a profile, e.g. txnn_1.2.1_build0307.
    root
        The folder that the vendor's guide calls $HOME_PATH.
    default
        Use it where a job names no release.
    """
    with session.client() as client:
        made = client.register_release(name, profile, str(root.absolute()), default)
        session.emit(made, releases_table([made]))
    return Exit.OK


releases_app.command("cli.release_check:show", name="show")
releases_app.command("cli.release_check:check", name="check")


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())
