"""Whether the files of a registered model are unchanged.

Rows may still have a digest and a stamp by the old rule, which included files that no tool reads. Such a row is
accepted as long as the old rule finds the same values, and is then rewritten by the present rule; after that, these
files may change.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.catalog.registry import adopt
from orchestrator.catalog.weights import Weights, earlier_digest_of, stamp_of, weights_of, written_since
from orchestrator.errors import BadSpec, OrchestratorError, PathRefused
from orchestrator.model.assignments import RegisteredModel
from orchestrator.settings import Settings
from orchestrator.storage.database import Database

_PROVEN: dict[tuple[str, str], Weights] = {}
"""Path and stamp → what this process has read there, so that a copy with other times is not read for every attempt."""

_ADOPTED: dict[tuple[str, str], str] = {}
"""Path and digest by the old rule → the digest that its row has now; an assignment may still have the old one."""

_MOST_NAMED = 3


class ModelAway(OrchestratorError):
    """This host cannot see a model's files: a folder that is not mounted is a fault of the host, not of the job."""

    code = "model_away"


def refuse_written(model: RegisteredModel | None, settings: Settings, database: Database) -> None:
    """BadSpec if the contents of the model's folder have changed since it was registered.

    A file is only read if its size or times have changed. A model that was registered without a stamp is accepted
    unchecked."""
    if model is None or model.stamp is None:
        return
    with _refusal_as_fault(model):
        found = stamp_of(settings, Path(model.path))
        if found == model.stamp:
            return
        if (model.path, found) not in _PROVEN:
            _PROVEN[model.path, found] = weights_of(settings, Path(model.path))
        _compare(model, _PROVEN[model.path, found], settings, database)


def refuse_changed(model: RegisteredModel | None, settings: Settings, database: Database) -> None:
    """BadSpec unless every byte is unchanged since registration; this reads all files.

    The result of a build is filed under the content its model was registered with, perhaps an hour ago."""
    if model is not None:
        with _refusal_as_fault(model):
            _compare(model, weights_of(settings, Path(model.path)), settings, database)


@contextmanager
def _refusal_as_fault(model: RegisteredModel) -> Iterator[None]:
    try:
        yield
    except PathRefused as refused:
        raise ModelAway(f"model {model.name} is not available on this host: {refused.detail}") from None


def _compare(model: RegisteredModel, found: Weights, settings: Settings, database: Database) -> None:
    folder = Path(model.path)
    if found.digest in (model.digest, _ADOPTED.get((model.path, model.digest))):
        return
    if (
        stamp_of(settings, folder, earlier_rule=True) == model.stamp
        or earlier_digest_of(settings, folder) == model.digest
    ):
        adopt(database, model.name, earlier=model.digest, weights=found)
        _ADOPTED[model.path, model.digest] = found.digest
        return
    later = [] if model.created_at is None else written_since(settings, folder, model.created_at)[:_MOST_NAMED]
    which = ", ".join(later) or "a file was removed, or replaced by one with an older time"
    raise BadSpec(
        f"the weights of model {model.name} have changed since it was registered ({which}); register them under "
        "another name"
    )
