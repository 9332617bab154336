"""What a look at an installed release has found, on one host."""

from enum import StrEnum

from pydantic import computed_field

from orchestrator.model.specs import Strict


class Level(StrEnum):
    """How a finding is to be taken."""

    OK = "ok"  #: As the profile says.
    NOTE = "note"  #: Worth a look; jobs run all the same.
    ERROR = "error"  #: Jobs that need it will fail.


class Finding(Strict):
    """One thing that was looked at: what, and how it was found."""

    level: Level
    about: str
    detail: str


class ReleaseCheck(Strict):
    """Everything that was found of a release on a host."""

    release: str
    host: str
    root: str
    findings: tuple[Finding, ...]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ok(self) -> bool:
        """Whether nothing speaks against running jobs with it."""
        return all(finding.level is not Level.ERROR for finding in self.findings)
