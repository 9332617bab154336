"""Runs that may be compared are one series: the same in every field of the setting that may not differ. Pure."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.errors import BadRequest
from orchestrator.results.sides import Rules, Side, may_differ

MOST_SERIES = 200
"""Series of one comparison."""


@dataclass(frozen=True)
class SetRun:
    """A run by its job's number, how it was set, and whether its results count."""

    job_id: int
    setting: Mapping[str, Any]
    used: bool


@dataclass(frozen=True)
class Series:
    """Some runs of each subject that may be compared with each other."""

    key: Mapping[str, Any]
    """The fields in which it differs from the other series of the comparison; empty if it is the only one."""
    members: Mapping[str, tuple[int, ...]]
    """Subject → numbers of its jobs in this series, or none."""


@dataclass(frozen=True)
class SeriesSides:
    """A series as sides that are compared: the baseline, then the others."""

    key: Mapping[str, Any]
    sides: Sequence[Side]


def split(subjects: Mapping[str, Sequence[SetRun]], rules: Rules) -> list[Series]:
    """The series of several subjects, the first of which is the baseline.

    If the runs of every subject are set alike, or if the baseline has no setting in common with any other, all is one
    series: then it is for the comparison to say what differs. BadRequest if there are more than `MOST_SERIES`."""
    ignored = may_differ(rules)
    settings: dict[str, Mapping[str, Any]] = {}
    members: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    used: dict[str, set[str]] = defaultdict(set)
    for label, runs in subjects.items():
        for run in runs:
            setting = {name: value for name, value in run.setting.items() if name not in ignored and value is not None}
            series = json.dumps(setting, sort_keys=True)
            settings[series] = setting
            members[series][label].append(run.job_id)
            if run.used:
                used[label].add(series)
    baseline, *others = subjects
    in_common = any(used[baseline] & used[other] for other in others)
    if not in_common or all(len(each) < 2 for each in used.values()):
        return [Series({}, {label: tuple(run.job_id for run in runs) for label, runs in subjects.items()})]
    if len(settings) > MOST_SERIES:
        raise BadRequest(
            f"the jobs have {len(settings)} different settings: at most {MOST_SERIES} in one comparison",
            field="subject",
        )
    return [
        Series(_key(setting, settings.values()), {label: tuple(members[series][label]) for label in subjects})
        for series, setting in settings.items()
    ]


def _key(setting: Mapping[str, Any], every: Any) -> dict[str, Any]:
    names = sorted({name for each in every for name in each})
    return {name: setting.get(name) for name in names if any(each.get(name) != setting.get(name) for each in every)}
