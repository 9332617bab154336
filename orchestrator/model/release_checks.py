"""What a look at an installed release has found, on one host."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from orchestrator.model.specs import AbsolutePath, Name, Strict


class Level(StrEnum):
    """How serious a finding is."""

    OK = "ok"  #: As the profile says.
    NOTE = "note"  #: Worth a look; jobs run all the same.
    ERROR = "error"  #: Jobs that need it will fail.


class Finding(Strict):
    """One thing that was checked, and the result."""

    level: Level
    about: Annotated[str, StringConstraints(max_length=200)]
    detail: Annotated[str, StringConstraints(max_length=4000)]
    flag: str | None = Field(default=None, description="The flag of the profile that the tool's help does not know.")
    instead: str | None = Field(default=None, description="The same flag as the help spells it.")


class Findings(Strict):
    """The findings of a check of the tools at `root`."""

    root: AbsolutePath
    findings: Annotated[tuple[Finding, ...], Field(max_length=500)]

    @property
    def ok(self) -> bool:
        """Whether nothing speaks against running jobs with them."""
        return all(finding.level is not Level.ERROR for finding in self.findings)


class ReleaseCheck(Findings):
    """The same, with which release it is and where it was looked at."""

    release: Name
    host: Name
