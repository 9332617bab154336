"""Which change of a verdict is announced: good to bad, bad to good, could not be judged. Pure."""

from orchestrator.model.notifications import News
from orchestrator.model.verdicts import Verdict

_GOOD = frozenset({Verdict.SAME, Verdict.BETTER})


def change_of(old: Verdict | None, new: Verdict) -> News | None:
    """The change that a new verdict makes for targets; None if it makes none.

    A known issue is never announced; when it is worse again, or well again, that is."""
    before, after = _standing(old), _standing(new)
    if after is None or before is after or (after is News.RECOVERED and old is None):
        return None
    return after


def _standing(verdict: Verdict | None) -> News | None:
    if verdict is None or verdict is Verdict.KNOWN:
        return None
    if verdict in _GOOD:
        return News.RECOVERED
    return News.WORSE if verdict is Verdict.WORSE else News.NOT_JUDGED
