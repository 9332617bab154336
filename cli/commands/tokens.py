"""The commands about tokens: who may come in, and how far."""

from collections.abc import Iterable
from typing import Annotated

from cyclopts import App, Parameter
from rich.table import Table
from rich.text import Text

from api.documents.tokens import TokenRequest, TokenView
from cli.input.documents import validated
from cli.pages.layout import row, table
from cli.session import HERE, Exit, Session
from orchestrator.model.scopes import Scope

app = App(name="tokens", help="Who may come in, and how far; `create` makes a token, `revoke` ends one.")


@app.default
def tokens(*, session: Session = HERE) -> Exit:
    """List tokens: names and scopes, never what they are."""
    with session.client() as client:
        found = client.tokens()
        session.emit(found, _table(found))
    return Exit.OK


@app.command
def create(name: str, /, *, scope: Annotated[Scope, Parameter()], session: Session = HERE) -> Exit:
    """Make a token and print it: it is shown this once and never again.

    Parameters
    ----------
    name
        Whose it is; it stands in every event of what the token does.
    scope
        viewer reads; submitter also submits and steers jobs; operator also takes slots out of service and back;
        admin also makes tokens and registers releases; inference asks served models, and does nothing else.
    """
    with session.client() as client:
        made = client.make_token(validated(TokenRequest, {"name": name, "scope": scope}))
        session.emit(made, Text(made.token))
    return Exit.OK


@app.command
def revoke(name: str, /, *, session: Session = HERE) -> Exit:
    """Refuse a token from now on; the last admin token is kept."""
    with session.client() as client:
        client.revoke_token(name)
        found = [token for token in client.tokens() if token.name == name]
        session.emit(found, _table(found))
    return Exit.OK


def _table(tokens: Iterable[TokenView]) -> Table:
    shown = table("token", "scope", "made", "revoked")
    for token in tokens:
        row(shown, token.name, ", ".join(token.scopes), f"{token.created_at:%Y-%m-%d %H:%M}", _when(token))
    return shown


def _when(token: TokenView) -> str:
    return "" if token.revoked_at is None else f"{token.revoked_at:%Y-%m-%d %H:%M}"
