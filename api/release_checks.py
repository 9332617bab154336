"""The documents about checks of releases; what a client sends is in `orchestrator.model.release_checks`."""

from datetime import datetime

from api.schemas import View
from orchestrator.model.release_checks import Finding


class CheckView(View):
    """What was found of a release on one host, when it was looked at last."""

    release: str
    host: str
    root: str
    ok: bool
    findings: tuple[Finding, ...]
    by: str
    checked_at: datetime
