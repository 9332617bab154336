"""By whom an attempt was revoked, if the revoke says so: our Flower adds its user, Celery's own command names nobody.

The name is only a note: who can write to the broker can revoke attempts, and can write any name.
"""

import re
from typing import Any

from celery.worker.control import control_command
from celery.worker.control import revoke as celery_revoke

from workers.chain import CHAIN

_NAME = re.compile(r"flower [!-~]{1,60}")
_MOST = 1000
"""Revokes whose names are kept, the latest ones."""


class RevokedBy:
    """Names by the task id of an attempt."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def note(self, task_ids: Any, name: Any) -> None:
        """Keep the name, if it is one and the tasks have none yet."""
        if not (isinstance(name, str) and _NAME.fullmatch(name)):
            return
        for task_id in task_ids if isinstance(task_ids, list | tuple) else [task_ids]:
            if isinstance(task_id, str):
                self._names.setdefault(task_id, name)
        while len(self._names) > _MOST:
            del self._names[next(iter(self._names))]

    def of(self, task_id: str) -> str | None:
        """Who revoked it, if that is known."""
        return self._names.get(task_id)


REVOKED_BY = RevokedBy()
"""Of this process."""


@control_command(name="revoke", variadic="task_id", signature="[id1 [id2 [... [idN]]]]")  # type: ignore[untyped-decorator]
def revoke(state: Any, task_id: Any, terminate: bool = False, signal: Any = None, **more: Any) -> Any:
    """Celery's command of that name, which also keeps the name that came with it."""
    by = more.pop("by", None)
    REVOKED_BY.note(task_id, by)
    if terminate:
        for one in task_id if isinstance(task_id, list | tuple) else [task_id]:
            CHAIN.revoke(one, REVOKED_BY.of(one) if isinstance(one, str) else None)
    return celery_revoke(state, task_id, terminate, signal, **more)
