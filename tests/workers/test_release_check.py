"""A look at installed tools that are shell scripts."""

import pytest

from orchestrator.catalog.registry import release_digest
from orchestrator.model.profile import Profile
from orchestrator.model.release_checks import Level
from orchestrator.model.slots import SlotName
from orchestrator.settings import Settings
from workers.host import cards
from workers.release_check import check

HELP = "usage: tool [-h] -m MODEL\n\noptions:\n  -m MODEL  weights\n"


def kind(**more):
    facts = {"conda": "e1", "cwd": "{tools}", "outputs": {}, "limits": {"run_seconds": 1, "silence_seconds": 1}}
    return {**facts, "argv": ["sh", "tool.sh", "-m", "{model}"], "help": ["sh", "tool.sh", "--help"], **more}


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


class Site:
    """A release in a folder, and its profile as far as a check looks at it."""

    def __init__(self, folder):
        self.root = folder / "release"
        self.settings = Settings(state_dir=folder / "state", host="lab", devices_dir=folder / "dev/accel")
        self.document = {
            "profile": "tiny", "versions": {}, "folders": {"tools": "tools", "codegen": "made/later"},
            "fingerprint": ["tools/*.sh"],
            "environment": {"PATH": "{root}/envs/{conda}/bin:/usr/bin:/bin"}, "backend_types": {},
            "kinds": {"quantize": kind()}, "kill_ladder": [{"signal": "SIGKILL", "grace_seconds": 1}],
        }  # fmt: skip
        (self.root / "tools").mkdir(parents=True)
        (self.root / "envs/e1/bin").mkdir(parents=True)
        self.tool(f"cat <<'END'\n{HELP}\nEND")

    def tool(self, script):
        (self.root / "tools/tool.sh").write_text(script)

    def check(self, root=None):
        return check("r1", Profile.model_validate(self.document), self.settings, root or self.root)

    def errors(self):
        made = self.check()
        assert made.ok is not any(finding.level is Level.ERROR for finding in made.findings)
        return [(finding.about, finding.detail) for finding in made.findings if finding.level is Level.ERROR]


def test_a_release_that_is_as_its_profile_says_has_no_errors_and_leaves_nothing(site):
    assert site.errors() == []
    assert list(site.settings.work.iterdir()) == []


@pytest.mark.parametrize(("script", "found"), [("tool.sh", True), ("{cwd}/tool.sh", True), ("gone.sh", False)])
def test_a_script_of_a_copied_folder_is_looked_for_where_it_is_copied_from(site, script, found):
    copied = {"cwd": "{work}/copy", "copy_folders": {"{work}/copy": "{tools}"}, "argv": ["sh", script], "help": []}
    site.document["kinds"]["quantize"] |= copied

    assert site.errors() == ([] if found else [("quantize", f"there is no {site.root}/tools/gone.sh")])


def test_what_is_missing_on_disk_is_named(site):
    site.document["folders"]["other"] = "没有"
    site.document["fingerprint"] = ["*.py"]
    site.document["kinds"]["compile"] = kind(argv=["bash", "./gone.sh"], help=[], conda="e2")

    errors = site.errors()

    assert ("folders", f"there is no {site.root}/没有") in errors
    assert ("conda", f"e2: there is no {site.root}/envs/e2/bin") in errors
    assert ("compile", f"there is no {site.root}/tools/gone.sh") in errors
    assert "no file matches *.py" in dict(errors)["fingerprint"]


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo 'ModuleNotFoundError: torch'; exit 1", "ended with 1: ModuleNotFoundError: torch"),
        ("kill -9 $$", "ended with no answer"),
        ("printf '\\377\\376'", "names no flags"),
        (f"cat <<'END'\n{HELP.replace('-m ', '-n ')}\nEND", "the profile uses -m"),
    ],
)
def test_a_tool_that_does_not_answer_as_the_profile_expects_is_an_error(site, script, told):
    site.tool(script)

    ((about, detail),) = site.errors()

    assert about == "quantize"
    assert told in detail


def test_a_tool_for_cards_is_not_asked_while_the_first_group_is_in_use(site):
    site.document["kinds"] = {"infer": kind()}
    first = SlotName.parse("g0")

    with cards.held(site.settings.locks, "lab", [first], owner="job 7 on g0"):
        ((about, detail),) = site.errors()

    assert about == "infer"
    assert "not checked" in detail
    assert "job 7 on g0" in detail
    assert site.errors() == []


def test_tools_that_are_not_the_registered_build_are_an_error(site):
    profile = Profile.model_validate(site.document)
    registered = release_digest(profile, site.root)
    site.tool(f"cat <<'END'\n{HELP}\nEND\n# patched")

    made = check("r1", profile, site.settings, site.root, digest=registered)

    assert [found.about for found in made.findings if found.level is Level.ERROR] == ["build"]


def test_a_root_that_is_not_there_is_all_that_is_told(site):
    made = site.check(site.root / "gone")

    assert [finding.about for finding in made.findings] == ["root"]
    assert not made.ok
