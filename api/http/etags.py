"""ETags of rows, and whether a request's `If-Match` still fits."""

import hashlib

from api.documents.jobs import JobDetail
from api.documents.rendering import json_of


def etag_of(detail: JobDetail) -> str:
    """The version, and a digest of all that is shown: progress and attempts change without a new version."""
    shown = json_of(detail, exclude={"timings"})
    return f'"{detail.version}-{hashlib.sha256(shown).hexdigest()[:16]}"'


def tags(header: str) -> list[str]:
    """The entity tags of an If-Match or If-None-Match header; a weak one counts as its strong form."""
    return [tag.strip().removeprefix("W/") for tag in header.split(",")]


def matches(if_match: str, version: int) -> bool:
    """Whether a job of this version is one of those that were seen: `"7-…"` as in the ETag, plain `"7"`, or `*`."""
    return any(tag == "*" or tag.strip('"').partition("-")[0] == str(version) for tag in tags(if_match))
