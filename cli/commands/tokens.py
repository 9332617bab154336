"""The commands about API tokens and their scopes."""

from collections.abc import Iterable
from typing import Annotated

from cyclopts import App, Parameter
from rich.table import Table
from rich.text import Text

from api.documents.tokens import TokenRequest, TokenView
from cli.input.documents import validated
from cli.pages.layout import local_time, row, table
from cli.session import HERE, Exit, Session
from orchestrator.model.scopes import Scope

app = App(name="tokens", help="API tokens and their scopes; `create`, `rotate` and `revoke`.")


@app.default
def tokens(*, session: Session = HERE) -> Exit:
    """List tokens: names and scopes, never their values."""
    with session.client() as client:
        found = client.tokens()
        session.emit(found, _table(found))
    return Exit.OK


@app.command
def create(name: str, /, *, scope: Annotated[Scope, Parameter()], session: Session = HERE) -> Exit:
    """Create a token and print it. It is shown only once.

    Parameters
    ----------
    name
        Name of its user; recorded in every event that the token causes.
    scope
        viewer reads; submitter also submits and changes jobs; operator also drains and resumes slots;
        admin also creates tokens and registers releases; inference sends requests to servers and does nothing else.
    """
    with session.client() as client:
        made = client.make_token(validated(TokenRequest, {"name": name, "scope": scope}))
        session.emit(made, Text(made.token))
    return Exit.OK


@app.command
def rotate(name: str, /, *, session: Session = HERE) -> Exit:
    """Give a token another value and print it; the old value is refused at once. Name and scope stay.

    Parameters
    ----------
    name
        Name of the token.
    """
    with session.client() as client:
        made = client.rotate_token(name)
        session.emit(made, Text(made.token))
    return Exit.OK


@app.command
def revoke(name: str, /, *, session: Session = HERE) -> Exit:
    """Revoke a token, at once. The last admin token cannot be revoked."""
    with session.client() as client:
        client.revoke_token(name)
        found = [token for token in client.tokens() if token.name == name]
        session.emit(found, _table(found))
    return Exit.OK


def _table(tokens: Iterable[TokenView]) -> Table:
    shown = table("token", "scope", "made", "revoked")
    for token in tokens:
        row(shown, token.name, ", ".join(token.scopes), local_time(token.created_at), _when(token))
    return shown


def _when(token: TokenView) -> str:
    return "" if token.revoked_at is None else local_time(token.revoked_at)
