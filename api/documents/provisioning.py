"""What a provisioning leaves behind, as its artifact `provision` has it."""

from datetime import datetime

from pydantic import BaseModel


class StepReport(BaseModel):
    """What became of one step."""

    step: str
    title: str
    state: str
    why: str
    began_at: datetime | None
    ended_at: datetime | None


class ProvisionReport(BaseModel):
    """What became of all of them, in order."""

    host: str
    release: str
    profile: str
    root: str
    dry_run: bool
    steps: tuple[StepReport, ...]
