"""Documents about toolchain releases and what was found of them on hosts."""

from datetime import datetime

from api.documents.base import Document, View
from orchestrator.model.release_checks import Finding


class ReleaseView(View):
    """One installed build of the vendor's tools."""

    name: str
    root: str
    digest: str
    is_default: bool
    created_at: datetime


class ReleaseDetail(ReleaseView):
    """A release with the profile it was registered with."""

    profile: Document


class CheckView(View):
    """The latest check of a release on one host."""

    release: str
    host: str
    root: str
    ok: bool
    findings: tuple[Finding, ...]
    by: str
    checked_at: datetime
