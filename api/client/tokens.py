"""The client's calls about tokens."""

from urllib.parse import quote

from api.client.connection import Calls, sent
from api.documents.tokens import NewToken, TokenRequest, TokenView


class TokenCalls(Calls):
    """One method a route; every `Client` has them."""

    def tokens(self) -> tuple[TokenView, ...]:
        """All tokens, without what they are."""
        return self._connection.page(TokenView, "/tokens", {}).items

    def make_token(self, request: TokenRequest) -> NewToken:
        """Make a token; the answer is the only place where it can be read."""
        return NewToken.model_validate(self._connection.post("/tokens", sent(request)).json())

    def revoke_token(self, name: str) -> None:
        """Refuse a token from now on."""
        self._connection.delete(f"/tokens/{quote(name, safe='')}")
