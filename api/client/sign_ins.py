"""The client's call for a link that signs a browser in."""

from api.client.connection import Calls
from api.documents.sign_ins import SignInLinkView


class SignInCalls(Calls):
    """The client's `sign_ins`."""

    def make(self) -> SignInLinkView:
        """A link that signs one browser in, once."""
        return SignInLinkView.model_validate(self._connection.post("/sign-in-links", {}).json())
