"""The command that packs everything about a job into one archive."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.text import Text

from cli.output_files import new_file, require_new
from cli.pages.layout import size
from cli.session import FILE_HERE, Exit, FileSession, Stop, hint_on_terminal

_ENDINGS = {".tar.zst": "zst", ".tzst": "zst", ".tar.gz": "gz", ".tgz": "gz"}


def bundle(
    job: int,
    /,
    *,
    to: Annotated[Path | None, Parameter(name=["--to", "-o"])] = None,
    with_artifacts: Annotated[bool, Parameter(negative="")] = False,
    session: FileSession = FILE_HERE,
) -> Exit:
    """Pack everything about a job into one archive for the person who looks for its fault, without secrets.

    In it: bill of materials, request, command, logs, black box, answers, differences to the reference, metrics, events,
    and repeat.sh, which repeats the run with the vendor's tools alone.

    Parameters
    ----------
    to
        The file, .tar.zst or .tar.gz. Default: tx81-job-JOB.tar.zst here. An existing file is not overwritten.
    with_artifacts
        Also pack large artifacts such as kcore, not only their digests.
    """
    target = to or Path(f"tx81-job-{job}.tar.zst")
    compression = next((how for end, how in _ENDINGS.items() if target.name.endswith(end)), None)
    if compression is None:
        raise Stop(f"-o: {target.name} must end with .tar.zst or .tar.gz")
    require_new(target)
    with session.client() as client, new_file(target) as written:
        for piece in client.bundle(job, compression, with_artifacts=with_artifacts):
            written.write(piece)
    session.emit({"job": job, "path": str(target.absolute()), "size": target.stat().st_size}, Text(str(target)))
    hint_on_terminal(f"{size(target.stat().st_size)} in {target}")
    return Exit.OK
