"""`python -m workers.release_check`: do the tools installed here match their profile?

Reads a release (name, profile, root, digest) as JSON from standard input and prints a `ReleaseCheck` as JSON; exit
code 0 if they match, 1 if not. Nothing is changed, and the tools are only run with `--help`: through the launcher, in
the environment that their jobs get. The vendor's runtime selects card 0 as soon as it is imported, so a tool for cards
is only run while the first group is free.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from pydantic import ValidationError

from orchestrator.catalog.registry import MADE_LATER, release_digest
from orchestrator.errors import OrchestratorError
from orchestrator.model.launchers import DockerExec
from orchestrator.model.profile import KindProfile, Profile
from orchestrator.model.release_checks import Finding, Level, ReleaseCheck
from orchestrator.model.slots import SlotKind, SlotName
from orchestrator.settings import BadSettings, Settings, load_settings
from workers.host import cards, locks, vendor_words
from workers.processes.ask import Told, ask
from workers.processes.container import Container, Mark
from workers.processes.process import Command
from workers.slot import clear
from workers.toolchain.commands import container_of, fill, view_of
from workers.toolchain.flags import compare

SECONDS = 120.0
"""Seconds for a tool to print its help: the vendor's tools import their whole runtime first."""

_ON_CARDS = ("infer", "serve")


def check(name: str, profile: Profile, settings: Settings, root: Path, *, digest: str | None = None) -> ReleaseCheck:
    """Check the release as it is installed on this host; `digest` is that of the registered build."""
    with _working_folder(settings) as work:
        findings = tuple(_Look(profile, settings, root, work, digest).findings())
    return ReleaseCheck(release=name, host=settings.host, root=str(root), findings=findings)


@contextmanager
def _working_folder(settings: Settings) -> Iterator[Path]:
    settings.work.mkdir(parents=True, exist_ok=True)
    work = Path(mkdtemp(prefix="check-", dir=settings.work))
    try:
        for name in ("run", "out"):
            (work / name).mkdir()
        yield work
    finally:
        clear(work)


@dataclass
class _Look:
    """One check, from the folders on disk to the options of the tools."""

    profile: Profile
    settings: Settings
    root: Path
    work: Path
    digest: str | None

    def findings(self) -> Iterator[Finding]:
        if not self.root.is_dir():
            yield _error("root", f"{self.root} is not a folder on this host; see TX81_RELEASE_ROOTS")
            return
        yield from self._files()
        if self.digest not in (None, release_digest(self.profile, self.root)):
            yield _error("build", "the tools differ from the registered ones: register them under another name")
        yield from self._environments()
        yield from vendor_words.findings(self.profile, self.settings, self.root, self.work)
        docker = container_of(self.profile)
        if docker is not None:
            trouble = list(self._container(docker))
            yield from trouble
            if any(finding.level is Level.ERROR for finding in trouble):
                return
        for kind_name, kind in self.profile.kinds.items():
            if kind.help:
                yield from self._tool(kind_name, kind, docker)

    def _files(self) -> Iterator[Finding]:
        installed = self._installed()
        lacking = [folder for folder in installed if not Path(folder).is_dir()]
        for folder in lacking:
            yield _error("folders", f"there is no {folder}")
        if not lacking:
            yield _fine("folders", f"all {len(installed)} are below {self.root}")
        for name, kind in self.profile.kinds.items():
            yield from self._scripts(name, kind)
        for pattern in self.profile.fingerprint:
            if not any(file.is_file() for file in self.root.glob(pattern)):
                yield _error("fingerprint", f"no file matches {pattern}: another build would not be detected")

    def _scripts(self, name: str, kind: KindProfile) -> Iterator[Finding]:
        """The files of the release that are run; programs found by PATH are checked by running them."""
        words = self._words(kind.conda)
        words["cwd"] = fill(kind.cwd, words)
        copies = {Path(fill(to, words)): Path(fill(of, words)) for to, of in kind.copy_folders.items()}
        for word in kind.argv:
            if word.endswith((".py", ".sh")):
                script = Path(words["cwd"]) / fill(word, words)
                # What a run gets a copy of is looked for where it is copied from.
                copied = next((to for to in copies if script.is_relative_to(to)), None)
                script = script if copied is None else copies[copied] / script.relative_to(copied)
                if not script.is_file():
                    yield _error(name, f"there is no {script}")

    def _environments(self) -> Iterator[Finding]:
        """For each conda environment that is used, its first folder in PATH has to exist."""
        paths = self.profile.environment.get("PATH", "").split(":")
        template = next((folder for folder in paths if "{conda}" in folder), None)
        if template is None:
            return
        own = {backend.conda for backend in self.profile.backend_types.values() if backend.conda}
        for conda in sorted({kind.conda for kind in self.profile.kinds.values()} | own):
            folder = fill(template, self._words(conda))
            there = Path(folder).is_dir()
            yield _fine("conda", f"{conda} exists") if there else _error("conda", f"{conda}: there is no {folder}")

    def _container(self, docker: DockerExec) -> Iterator[Finding]:
        about = f"container {docker.container}"
        try:
            view = view_of(container_of(self.profile), self._words(""))
            folders = [view.path(str(folder)) for folder in (self.work, *self._installed())]
            unseen = self._reached(docker, folders[0]).lacking(folders)
        except OrchestratorError as trouble:
            yield _error(about, trouble.detail)
            return
        for folder in unseen:
            yield _error(about, f"has no {folder}, although the profile says that it is mounted")
        if not unseen:
            yield _fine(about, "runs, and sees the tools and the working folder")

    def _tool(self, name: str, kind: KindProfile, docker: DockerExec | None) -> Iterator[Finding]:
        with ExitStack() as held:
            try:
                if name in _ON_CARDS:
                    group = SlotName(SlotKind.CARD_GROUP, 0)
                    owner = f"a check of the release (pid {os.getpid()})"
                    held.enter_context(
                        cards.held(self.settings.locks, self.settings.host, [group], owner=owner, patience=0)
                    )
                told = self._help(kind, docker)
            except OrchestratorError as trouble:
                yield _error(name, f"not checked: {trouble.detail}")
                return
            except OSError as trouble:
                yield _error(name, f"not checked: {trouble}; run this as the user of the workers")
                return
        argv = " ".join(kind.help)
        if told.exit_code != 0:
            yield _error(name, f"{argv} ended with {told.exit_code or 'no answer'}: {told.last[:500]}")
        else:
            yield from compare(name, kind, told.said, self.profile.backend_types)

    def _help(self, kind: KindProfile, docker: DockerExec | None) -> Told:
        words = self._words(kind.conda)
        view = view_of(container_of(self.profile), words)
        seen = view.words(words)
        command = Command(
            argv=tuple(fill(word, seen) for word in kind.help),
            env={name: fill(value, seen) for name, value in self.profile.environment.items()},
            cwd=Path(fill(kind.cwd, seen)),
        )
        if docker is None:
            return ask(command, folder=self.work, seconds=SECONDS)
        container = self._reached(docker, view.path(str(self.work)))
        try:
            return ask(container.started(command), folder=self.work, seconds=SECONDS)
        finally:
            container.kill(container.mark.own)

    def _reached(self, docker: DockerExec, work: str) -> Container:
        # No slot: the check must never end processes of a job.
        mark = Mark(locks.domain(self.settings.locks), self.work.name, ())
        return Container(docker, mark, entered=f"{work}/entered", folder=self.work, shim=None)

    def _words(self, conda: str) -> dict[str, str]:
        places = {"root": str(self.root), "work": str(self.work), "out": str(self.work / "out"), "conda": conda}
        return {**self._folders(), **places}

    def _installed(self) -> list[str]:
        return [folder for name, folder in self._folders().items() if name not in MADE_LATER]

    def _folders(self) -> dict[str, str]:
        return {name: str(self.root / below) for name, below in self.profile.folders.items()}


def _error(about: str, detail: str) -> Finding:
    return Finding(level=Level.ERROR, about=about, detail=detail)


def _fine(about: str, detail: str) -> Finding:
    return Finding(level=Level.OK, about=about, detail=detail)


def main() -> int:
    """Check the release given on standard input; exit code 2 if it is not a release."""
    try:
        asked = json.load(sys.stdin)
        profile, settings = Profile.model_validate(asked["profile"]), load_settings()
        name, root = str(asked["name"]), Path(asked["root"])
        made = check(name, profile, settings, settings.release_roots.get(name, root), digest=asked.get("digest"))
    except (ValueError, KeyError, TypeError, ValidationError, OSError, OrchestratorError, BadSettings) as trouble:
        print(f"release check: {' '.join(str(trouble).split())}", file=sys.stderr)
        return 2
    print(made.model_dump_json())
    return 0 if made.ok else 1


if __name__ == "__main__":
    sys.exit(main())
