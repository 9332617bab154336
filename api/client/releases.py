"""The client's calls about toolchain releases, and the results of their checks on hosts."""

from api.client.connection import Calls, segment
from api.documents.releases import CheckView, ReleaseDetail, ReleaseView
from orchestrator.model.release_checks import ReleaseCheck


class ReleaseCalls(Calls):
    """One method per route; every `Client` has them."""

    def register_release(
        self, name: str, profile: str, root: str, default: bool = False, profile_text: str | None = None
    ) -> ReleaseDetail:
        """Register the tools installed at `root`, which are called by the rules of `profile`: the one of that name on
        the server, or `profile_text`, its YAML."""
        body = {"name": name, "profile": profile, "root": root, "default": default, "profile_text": profile_text}
        return ReleaseDetail.model_validate(self._connection.post("/releases", body, timeout=None).json())

    def releases(self, *, retired: bool = False) -> tuple[ReleaseView, ...]:
        """The releases in use, or those that are retired."""
        return self._connection.page(ReleaseView, "/releases", {"retired": "true"} if retired else {}).items

    def release(self, name: str) -> ReleaseDetail:
        """One release."""
        return ReleaseDetail.model_validate(self._connection.get(f"/releases/{segment(name)}").json())

    def keep_release_check(self, found: ReleaseCheck) -> CheckView:
        """Store the result of a check on the server."""
        body = found.model_dump(mode="json", include={"root", "findings"})
        answer = self._connection.put(f"/releases/{segment(found.release)}/checks/{segment(found.host)}", body)
        return CheckView.model_validate(answer.json())

    def release_checks(self, release: str) -> tuple[CheckView, ...]:
        """The latest check on each host."""
        return self._connection.page(CheckView, f"/releases/{segment(release)}/checks", {}).items
