"""The client's calls about tokens."""

from api.client.connection import Calls, segment, sent
from api.documents.tokens import NewToken, TokenRequest, TokenView, WhoamiView


class TokenCalls(Calls):
    """One method per route; every `Client` has them."""

    def tokens(self) -> tuple[TokenView, ...]:
        """All tokens, without their values."""
        return self._connection.page(TokenView, "/tokens", {}).items

    def make_token(self, request: TokenRequest) -> NewToken:
        """Create a token; only this answer contains its value."""
        return NewToken.model_validate(self._connection.post("/tokens", sent(request)).json())

    def rotate_token(self, name: str) -> NewToken:
        """Give a token another value; only this answer contains it."""
        return NewToken.model_validate(self._connection.post(f"/tokens/{segment(name)}/rotate").json())

    def whoami(self) -> WhoamiView:
        """The token that this client sends."""
        return WhoamiView.model_validate(self._connection.get("/whoami").json())

    def revoke_token(self, name: str) -> None:
        """Revoke a token from now on."""
        self._connection.delete(f"/tokens/{segment(name)}")
