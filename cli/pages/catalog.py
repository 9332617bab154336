"""Tables of artifacts, models and releases."""

from collections.abc import Iterable

from rich.table import Table

from api.documents.artifacts import ArtifactView
from api.documents.models import ModelView
from api.documents.releases import ReleaseView
from api.documents.retirements import RetirementView
from cli.pages.layout import local_time, row, short, size, table


def artifacts_table(artifacts: Iterable[ArtifactView]) -> Table:
    """Stored files and trees, and the job that made each."""
    shown = table("artifact", "name", "file", "kind", "size", "job", "digest", right={"artifact", "size", "job"})
    for found in artifacts:
        kind = "tree" if found.tree else "file"
        row(shown, found.id, found.name, found.file_name, kind, size(found.size), found.job_id, found.digest)
    return shown


def models_table(models: Iterable[ModelView]) -> Table:
    """Registered weights."""
    shown = table("model", "family", "size", "path", "digest", right={"size"})
    for model in models:
        row(shown, model.name, model.family, size(model.size), model.path, short(model.digest))
    return shown


def releases_table(releases: Iterable[ReleaseView]) -> Table:
    """Registered toolchain releases."""
    shown = table("release", "default", "root", "digest")
    for release in releases:
        row(shown, release.name, "yes" if release.is_default else "", release.root, short(release.digest))
    return shown


def checks_table(checks: Iterable[tuple[str, str, str]]) -> Table:
    """Lines of (what was looked at, ok|warn|fail, what was found and the remedy)."""
    shown = table("", "check", "found")
    for name, verdict, found in checks:
        row(shown, verdict, name, found)
    return shown


def retirements_table(retired: Iterable[RetirementView], *, lifted: bool = False) -> Table:
    """What is retired, or was (`lifted`), by whom and why."""
    shown = table("kind", "name", "was retired by" if lifted else "retired by", "at", "why")
    for each in retired:
        row(shown, each.kind, each.name, each.by, local_time(each.at), each.note)
    return shown
