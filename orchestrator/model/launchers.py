"""Where a vendor tool is started: on the host itself, or in a container that is already running there."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, StringConstraints, Tag

from orchestrator.model.specs import Strict


def _folder(path: str) -> str:
    if not path.startswith(("/", "{")) or "\0" in path or ".." in path.split("/"):
        raise ValueError("must be an absolute path, or begin with a {place-holder}, and have no '..'")
    return path


Folder = Annotated[str, AfterValidator(_folder)]


class DockerExec(Strict):
    """Tools run in one container, by `docker exec`: each with its own environment, working folder and kill ladder.

    The container is there and runs: people or a profile's `provision` have made it (guide, chapter on conda), and no
    job creates, starts or stops one. Every folder that a job uses has to be mounted there: the tools, the working
    folders, the models. What is not below one of `mounts` is refused before anything is started.
    """

    container: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")]
    program: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9/][A-Za-z0-9/_.-]*$")] = Field(
        default="docker", description="The client on the host; any that knows `exec` and `inspect` as docker does."
    )
    mounts: dict[Folder, Folder] = Field(
        min_length=1,
        description="Folder of the host → where it is in the container. Both may use {root} and the entries of "
        "`folders`, which here are the host's; of several that fit, the longest counts.",
    )
    user: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:-]*$")] | None = Field(
        default=None, description="Whom the tools run as there; the container's own user where none is named."
    )
    environment: dict[str, str] = Field(
        default={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
        description="All that the client itself gets, e.g. DOCKER_HOST; the tools' own is the profile's `environment`.",
    )


class InContainer(Strict):
    """The launcher that is written `{docker: {…}}`."""

    docker: DockerExec


def _which(value: Any) -> str | None:
    if value == "local":
        return "local"
    return "container" if isinstance(value, dict | InContainer) else None


Launcher = Annotated[
    Annotated[Literal["local"], Tag("local")] | Annotated[InContainer, Tag("container")],
    Discriminator(
        _which, custom_error_type="launcher", custom_error_message="must be local, or a mapping: {docker: …}"
    ),
]
"""`local`: a child of the worker, with nothing of its environment."""
