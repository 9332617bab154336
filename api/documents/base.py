"""Every document the API answers with; what a client sends is in `orchestrator.model.specs`.

Names are those of the columns they come from. Unknown fields are ignored when read back, so that an older client
understands a newer server. No SQL here: the command line imports this module.
"""

from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from tx81 import start

T = TypeVar("T")
Document = dict[str, Any]


class View(BaseModel):
    """Base of every answer: frozen, and made from a row or from JSON."""

    model_config = ConfigDict(from_attributes=True, frozen=True, defer_build=start.is_command_line)


class Page(View, Generic[T]):
    """Some of a list. `next` is the cursor of the following page; null on the last one."""

    items: tuple[T, ...]
    next: str | None = None


class FieldError(View):
    """One field that was refused."""

    field: str
    message: str


class Problem(View):
    """An error, as RFC 9457 has it; `code` is the stable word a program switches on."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    field: str | None = None
    errors: tuple[FieldError, ...] = ()
    incident: str | None = Field(default=None, description="For a 500: what to search for in the server's log.")
