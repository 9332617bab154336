"""The options of lists of jobs, pipelines and batches, and short names of slots."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from cyclopts import Parameter, validators
from pydantic import BaseModel
from rich.table import Table

from api.client.client import Client
from api.documents.base import Page
from api.documents.slots import SlotView
from cli.commands.unknown_names import hint_if_unknown
from cli.input.times import since
from cli.pages.layout import Times
from cli.session import Readers, Session, Stop, hint, say
from orchestrator.model.slots import SlotName

_PAGE = 500
"""Most entries that the server sends at once."""


V = TypeVar("V", bound=BaseModel)


@Parameter(name="*")
@dataclass(frozen=True)
class Listing:
    """What a list shows: entries that match all given options, newest first."""

    project: str | None = None
    "Only those of this project."

    name: str | None = None
    "Only those with this name."

    user: str | None = None
    "Only those that this user submitted: the name of a token, or 'schedule NAME'."

    mine: Annotated[bool, Parameter(negative="")] = False
    "Only those that were submitted with your token."

    since: str | None = None
    "Only those submitted since then: 2h (ago), 14:00 (the latest), or '2026-03-01 14:00'."

    limit: Annotated[int, Parameter(name=["--limit", "-n"], validator=validators.Number(gte=1))] = 50
    "Number of entries at most."

    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"], negative="")] = False
    "Print numbers only, one a line."

    times: Times = "relative"
    "Show times as '5 min ago', or absolute with their zone."

    def filters(self, client: Client) -> dict[str, Any]:
        """The filters as the server expects them."""
        if self.mine and self.user is not None:
            raise Stop("--mine: means --user with your name; give one of the two")
        begin = None if self.since is None else since(self.since, "--since", now=datetime.now(UTC))
        return {
            "project": self.project,
            "name": self.name,
            "submitted_by": client.whoami().name if self.mine else self.user,
            "since": begin and begin.isoformat(),
        }

    def show(
        self,
        client: Client,
        session: Session,
        fetch: Callable[..., Page[V]],
        as_table: Callable[[Iterable[V], Times], Table],
        **filters: Any,
    ) -> None:
        """Print the first entries that `fetch` gives; a hint says if there are more, or if a filter names nothing."""
        found, more = self._fetched(fetch, filters)
        if self.quiet and not session.as_json:
            numbers = "".join(f"{_number(entry)}\n" for entry in found)
            say(lambda: print(numbers, end="", flush=True))
        else:
            session.emit(found, as_table(found, self.times))
        hint_if_unknown(client, found, **filters)
        if more and not Readers.gone:
            hint(f"{len(found)} shown, and there are more; to see them: --limit {10 * self.limit}")

    def _fetched(self, fetch: Callable[..., Page[V]], filters: dict[str, Any]) -> tuple[list[V], bool]:
        found: list[V] = []
        cursor: str | None = None
        while True:
            page = fetch(limit=min(self.limit - len(found), _PAGE), cursor=cursor, **filters)
            found += page.items
            cursor = page.next
            if cursor is None or len(found) >= self.limit:
                return found, cursor is not None


USUAL = Listing()
"""The options as they are if none is given."""


def slot_id(client: Client, text: str) -> str:
    """`HOST.g3` for `g3`, see `full_slot_id`."""
    return slot_ids(client, [text])[0]


def slot_ids(client: Client, texts: Sequence[str]) -> list[str]:
    """The same for several, with one request; none if all of them name their host."""
    slots = client.slots() if any(map(_is_short, texts)) else ()
    return [full_slot_id(text, slots) for text in texts]


def full_slot_id(text: str, slots: Iterable[SlotView]) -> str:
    """`HOST.g3` for `g3` if only one of the hosts has a slot with that name; `Stop` names the hosts if several have.

    Anything else is returned unchanged: the server says what is wrong with it."""
    if not _is_short(text):
        return text
    found = [slot.id for slot in slots if slot.name == text]
    if len(found) > 1:
        raise Stop(f"{text} is a slot of {len(found)} hosts: write one of {', '.join(sorted(found))}")
    return found[0] if found else text


def _is_short(text: str) -> bool:
    try:
        SlotName.parse(text)
    except ValueError:
        return False
    return True


def _number(entry: Any) -> int:
    number: int = entry.id
    return number
