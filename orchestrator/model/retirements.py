"""What a person can retire: it is kept, hidden from lists, and refused for new jobs until it is un-retired. Pure."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from orchestrator.model.orders import Note
from orchestrator.model.specs import Strict


class Retirable(StrEnum):
    """What can be retired."""

    MODEL = "model"  #: By its name.
    RELEASE = "release"  #: By its name.
    HOST = "host"  #: By its name; its workers are stopped before. A worker that starts there un-retires it.
    ARTIFACT = "artifact"  #: By its digest.


class Retiree(Strict):
    """One thing, by its kind and its name."""

    kind: Retirable
    name: Annotated[str, Field(min_length=1, max_length=100, description="Of an artifact its digest.")]


class RetireRequest(Retiree):
    """What is retired, and why."""

    note: Note | None = None
