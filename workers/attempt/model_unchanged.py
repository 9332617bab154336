"""Whether a registered model is still what it was registered as."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.catalog.weights import stamp_of, weights_of
from orchestrator.errors import BadSpec, OrchestratorError, PathRefused
from orchestrator.jobs.assignments import RegisteredModel
from orchestrator.settings import Settings

_PROVEN: dict[tuple[str, str], str] = {}
"""Path and stamp → digest, as this process has read it: a copy with other times is not read for every attempt."""


class ModelAway(OrchestratorError):
    """This host does not see a model's files: a folder that is not mounted is a fault, and no fault of the job."""

    code = "model_away"


def refuse_written(model: RegisteredModel | None, settings: Settings) -> None:
    """BadSpec if somebody has written to the model's folder since it was registered, and not the same bytes.

    Its files are looked at, and only read where their sizes or times are others. A model that was registered before
    there were stamps is taken as it is."""
    if model is None or model.stamp is None:
        return
    with _refusal_as_fault(model):
        found = stamp_of(settings, Path(model.path))
        if found == model.stamp:
            return
        if (model.path, found) not in _PROVEN:
            _PROVEN[model.path, found] = weights_of(settings, Path(model.path)).digest
    _compare(model, _PROVEN[model.path, found])


def refuse_changed(model: RegisteredModel | None, settings: Settings) -> None:
    """BadSpec unless every byte is as it was registered; that reads all of them.

    The result of a build is filed under the content its model was registered with, perhaps an hour ago."""
    if model is not None:
        with _refusal_as_fault(model):
            found = weights_of(settings, Path(model.path)).digest
        _compare(model, found)


@contextmanager
def _refusal_as_fault(model: RegisteredModel) -> Iterator[None]:
    try:
        yield
    except PathRefused as refused:
        raise ModelAway(f"model {model.name} is not available on this host: {refused.detail}") from None


def _compare(model: RegisteredModel, digest: str) -> None:
    if digest != model.digest:
        raise BadSpec(
            f"the weights of model {model.name} have changed since it was registered; register them under another name"
        )
