"""The result of a provisioning, as stored in its artifact `provision`."""

from datetime import datetime

from pydantic import BaseModel


class StepReport(BaseModel):
    """The outcome of one step."""

    step: str
    title: str
    state: str
    why: str
    began_at: datetime | None
    ended_at: datetime | None


class ProvisionReport(BaseModel):
    """The outcomes of all steps, in order."""

    host: str
    release: str
    profile: str
    root: str
    dry_run: bool
    steps: tuple[StepReport, ...]
