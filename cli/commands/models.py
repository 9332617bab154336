"""The commands about models."""

from pathlib import Path

from cyclopts import App

from cli.input.files import file_name, own_archive, registered_path
from cli.pages.catalog import models_table
from cli.session import HERE, Exit, Session
from cli.waiting.jobs import sending

models_app = App(name="models", help="Registered models; `add` registers one.")


@models_app.default
def models(*, retired: bool = False, session: Session = HERE) -> Exit:
    """List the registered models.

    Parameters
    ----------
    retired
        Those that are retired instead.
    """
    with session.client() as client:
        found = client.models(retired=retired)
        session.emit(found, models_table(found))
    return Exit.OK


@models_app.command(name="add")
def add_model(
    name: str,
    path: str,
    /,
    *,
    official_config: str | None = None,
    tx81_config: str | None = None,
    session: Session = HERE,
) -> Exit:
    """Register a folder of weights under a root that the server allows. It is hashed, which takes time.

    Parameters
    ----------
    path
        Path of the folder on the server, which reads it in place; also written server:/path.
    official_config
        The publisher's config.json, if the folder has the TX81 one.
    tx81_config
        The config.json with param_dir, if the folder has the publisher's.
    """
    with session.client() as client:
        made = client.register_model(name, registered_path(path, "PATH"), *_configs(official_config, tx81_config))
        session.emit(made, models_table([made]))
    return Exit.OK


@models_app.command(name="upload")
def upload_model(
    name: str,
    archive: Path,
    /,
    *,
    official_config: str | None = None,
    tx81_config: str | None = None,
    session: Session = HERE,
) -> Exit:
    """Upload weights as .tar or .tar.gz and register them. An interrupted upload resumes where it stopped.

    Parameters
    ----------
    archive
        Contains config.json, the *.safetensors and the tokenizer. The other config.json is next to it, as
        config_tx81.json or config_official.json, or it is named here.
    official_config
        Path on the server of the publisher's config.json, if the archive has the TX81 one, as the vendor's archives do.
    tx81_config
        Path on the server of the config.json with param_dir, if the archive has the publisher's.
    """
    with session.client() as client, sending(file_name(archive)) as told:
        made = client.upload_model(
            name, own_archive(str(archive), "ARCHIVE"), told, *_configs(official_config, tx81_config)
        )
    session.emit(made, models_table([made]))
    return Exit.OK


def _configs(official: str | None, tx81: str | None) -> tuple[str | None, str | None]:
    """The paths of both on the server, which reads them in place, as it reads the weights."""
    return (
        None if official is None else registered_path(official, "--official-config"),
        None if tx81 is None else registered_path(tx81, "--tx81-config"),
    )
