"""The client's calls about registered models."""

from collections.abc import Callable
from pathlib import Path

from api.client.connection import Calls, segment
from api.client.uploads import send
from api.documents.models import ModelDetail, ModelView


class ModelCalls(Calls):
    """One method per route; every `Client` has them."""

    def register_model(
        self, name: str, path: str, official_config: str | None = None, tx81_config: str | None = None
    ) -> ModelDetail:
        """Register a weights directory under an allowed root of the server; hashing it takes a while."""
        body = {"name": name, "path": path, "official_config": official_config, "tx81_config": tx81_config}
        return ModelDetail.model_validate(self._connection.post("/models", body, timeout=None).json())

    def upload_model(
        self, name: str, archive: Path, told: Callable[[int, int], None], official_config: str | None = None,
        tx81_config: str | None = None,
    ) -> ModelDetail:  # fmt: skip
        """Send an archive of weights, or the rest of it, and register its contents; `told` is called with the
        progress."""
        body = {"name": name, "official_config": official_config, "tx81_config": tx81_config}
        body["upload"] = send(self._connection, archive, told)
        return ModelDetail.model_validate(self._connection.post("/models", body, timeout=None).json())

    def models(self, *, retired: bool = False) -> tuple[ModelView, ...]:
        """The models in use, or those that are retired."""
        return self._connection.page(ModelView, "/models", {"retired": "true"} if retired else {}).items

    def model(self, name: str) -> ModelDetail:
        """One model."""
        return ModelDetail.model_validate(self._connection.get(f"/models/{segment(name)}").json())
