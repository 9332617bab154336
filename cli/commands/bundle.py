"""The command that packs everything about a job into one archive."""

import os
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Annotated

from cyclopts import Parameter
from rich.text import Text

from cli.pages.layout import size
from cli.session import HERE, Exit, Session, Stop, hint_on_terminal

_ENDINGS = {".tar.zst": "zst", ".tzst": "zst", ".tar.gz": "gz", ".tgz": "gz"}


def bundle(
    job: int,
    /,
    *,
    to: Annotated[Path | None, Parameter(name=["--to", "-o"])] = None,
    with_artifacts: Annotated[bool, Parameter(negative="")] = False,
    session: Session = HERE,
) -> Exit:
    """Pack everything about a job into one archive for whoever has to find its fault, without secrets.

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
    folder = target.absolute().parent
    if not folder.is_dir():
        raise Stop(f"-o: folder {folder} does not exist; create it first")
    if target.exists() or target.is_symlink():
        raise Stop(f"-o: {target} exists; choose another path")
    with session.client() as client, NamedTemporaryFile(dir=folder, prefix=".tx81-", delete=False) as draft:
        try:
            for piece in client.bundle(job, compression, with_artifacts=with_artifacts):
                draft.write(piece)
            draft.flush()
            os.link(draft.name, target)
        except FileExistsError:
            raise Stop(f"-o: {target} exists; choose another path") from None
        finally:
            Path(draft.name).unlink(missing_ok=True)
    session.emit({"job": job, "path": str(target.absolute()), "size": target.stat().st_size}, Text(str(target)))
    hint_on_terminal(f"{size(target.stat().st_size)} in {target}")
    return Exit.OK
