"""What a tool sees of the host's files, where it may run in a container: pure.

Every word of a job that begins with `/` is a path of the host. What a profile spells out itself is written as the tool
sees it, and left as it is.
"""

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from orchestrator.errors import BadSpec


class View:
    """The folders of the host that are in a container, and where; without a container, all as it is."""

    def __init__(self, container: str | None = None, mounts: Mapping[str, str] | None = None) -> None:
        self.container = container
        self._mounts = {PurePosixPath(host): PurePosixPath(inside) for host, inside in (mounts or {}).items()}

    def path(self, host_path: str) -> str:
        """The same file as the tool calls it; BadSpec if it does not see it."""
        if self.container is None:
            return host_path
        path = PurePosixPath(host_path)
        covering = [host for host in self._mounts if path.is_relative_to(host)]
        if not covering or ".." in path.parts:
            known = ", ".join(f"{host} at {inside}" for host, inside in self._mounts.items())
            raise BadSpec(
                f"the tools in container {self.container} do not see {path}: the mounts are {known}; move it below "
                "one of these, or mount it and add it to launcher.docker.mounts of the profile"
            )
        nearest = max(covering, key=lambda host: len(host.parts))
        return str(self._mounts[nearest] / path.relative_to(nearest))

    def words(self, words: Mapping[str, str]) -> Mapping[str, str]:
        """What stands for each place-holder, as the tool calls it."""
        return words if self.container is None else _SeenWords(words, self)


class _SeenWords(Mapping[str, str]):
    """Only a path that is used has to be mounted, so each is looked up when it is asked for."""

    def __init__(self, words: Mapping[str, str], view: View) -> None:
        self._words = words
        self._view = view

    def __getitem__(self, name: str) -> str:
        word = self._words[name]
        return self._view.path(word) if word.startswith("/") else word

    def __contains__(self, name: object) -> bool:
        return name in self._words

    def __iter__(self) -> Iterator[str]:
        return iter(self._words)

    def __len__(self) -> int:
        return len(self._words)
