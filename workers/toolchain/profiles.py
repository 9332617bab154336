"""A release's profile as its row has it → the checked one; a worker runs many attempts of few releases."""

from collections.abc import Mapping
from typing import Any

from orchestrator.model.profile import Profile

_MOST = 8
_KNOWN: list[tuple[Mapping[str, Any], Profile]] = []
"""The last ones, newest first. Compared by content: the profile of a release may be replaced under its name."""


def profile_of(document: Mapping[str, Any]) -> Profile:
    """The profile; pydantic's ValidationError if it is none."""
    for known, profile in list(_KNOWN):
        if known == document:
            return profile
    profile = Profile.model_validate(document)
    _KNOWN.insert(0, (document, profile))
    del _KNOWN[_MOST:]
    return profile
