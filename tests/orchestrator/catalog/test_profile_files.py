from pathlib import Path

import pytest

from orchestrator.catalog.profile_files import load_profile
from orchestrator.catalog.registry import release_digest
from orchestrator.errors import BadRequest, BadSpec
from orchestrator.settings import SHIPPED_PROFILES, Settings

SHIPPED = "txnn_1.2.1_build0307"


class Folder:
    """A folder of somebody's own profiles."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = Settings(profile_dirs=(folder,))

    def write(self, name: str, text: str) -> Path:
        file = self.folder / f"{name}.yaml"
        file.write_text(text, encoding="utf-8")
        return file

    def load(self, name: str = "mine"):
        return load_profile(self.settings, name)

    def refusal(self, name: str = "mine") -> str:
        with pytest.raises(BadRequest) as refused:
            self.load(name)
        assert refused.value.field == "profile"
        return refused.value.detail


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


@pytest.mark.parametrize("file", sorted(SHIPPED_PROFILES.glob("*.yaml")), ids=lambda file: file.stem)
def test_a_shipped_profile_is_valid_and_called_like_its_file(file):
    assert load_profile(Settings(), file.stem).profile == file.stem


def test_a_new_backend_type_is_a_few_lines_that_extend_a_shipped_profile(folder):
    shipped = load_profile(Settings(), SHIPPED)
    folder.write(
        "mine",
        f"extends: {SHIPPED}\nbackend_types:\n  qwen3_8b_bf16: {{family: qwen3, precision: bf16, conda: tx8_new}}\n",
    )

    made = folder.load()

    assert made.profile == "mine"
    assert made.backend_types["qwen3_8b_bf16"].conda == "tx8_new"
    assert set(made.backend_types) == {*shipped.backend_types, "qwen3_8b_bf16"}
    assert made.kinds == shipped.kinds


def test_the_container_profile_calls_the_tools_like_the_other_one(folder):
    host, container = load_profile(Settings(), SHIPPED), load_profile(Settings(), f"{SHIPPED}_docker")

    differing = {name for name in type(host).model_fields if getattr(host, name) != getattr(container, name)}

    assert differing == {"profile", "launcher", "environment", "provision"}
    assert container.launcher.docker.container == "txnn"


def test_tools_in_the_container_get_the_guides_variables_and_folders():
    profile = load_profile(Settings(), f"{SHIPPED}_docker")

    variables = profile.environment
    assert variables["PATH"].startswith("{miniconda}/envs/{conda}/bin:{miniconda}/bin:")
    assert variables["LD_PRELOAD"] == "/usr/lib/x86_64-linux-gnu/libffi.so.7"
    assert variables["LD_LIBRARY_PATH"].startswith("/usr/lib/x86_64-linux-gnu:")
    assert (variables["HOME"], variables["PYTHONUSERBASE"]) == ("{work}", "{miniconda}/.local")
    assert profile.launcher.docker.mounts == {"{miniconda}": "/opt/miniconda", "{root}": "{root}", "/tmp": "/tmp"}


def test_lists_are_replaced_and_null_takes_an_entry_away(folder):
    folder.write(
        "mine",
        f"extends: {SHIPPED}\nkill_ladder: [{{signal: SIGKILL, grace_seconds: 9}}]\n"
        "environment: {CONDA_DEFAULT_ENV: null, 变量: 值}\n",
    )

    made = folder.load()

    assert [step.grace_seconds for step in made.kill_ladder] == [9]
    assert "CONDA_DEFAULT_ENV" not in made.environment
    assert made.environment["变量"] == "值"
    assert "PATH" in made.environment


def test_what_a_base_says_once_for_two_kinds_is_changed_for_one(folder):
    limits = "limits: &limits {run_seconds: 11, silence_seconds: 12}"
    folder.write("base", f"extends: {SHIPPED}\nkinds: {{infer: {{{limits}}}, compile: {{limits: *limits}}}}\n")
    folder.write("mine", "extends: base\nkinds: {infer: {limits: {run_seconds: 99}}}\n")

    kinds = folder.load().kinds

    assert (kinds["infer"].limits.run_seconds, kinds["compile"].limits.run_seconds) == (99, 11)


def test_answers_of_another_format_take_nothing_over_from_those_of_the_base(folder):
    text = "{format: regex, glob: '*.txt', starts: '^Q', pattern: 'Q: (?P<question>.*) A: (?P<text>.*)'}"
    folder.write("mine", f"extends: {SHIPPED}\nkinds: {{infer: {{answers: {text}}}}}\n")
    folder.write("again", "extends: mine\nkinds: {infer: {answers: {glob: '*.log'}}}\n")

    first, second = folder.load().kinds["infer"].answers, folder.load("again").kinds["infer"].answers

    assert (first.format, first.glob, first.file_name) == ("regex", "*.txt", None)
    assert (second.format, second.glob, second.starts) == ("regex", "*.log", "^Q")


def test_a_profile_may_change_its_shipped_namesake(folder):
    folder.write(SHIPPED, f"extends: {SHIPPED}\nenvironment: {{LANG: zh_CN.UTF-8}}\n")

    assert folder.load(SHIPPED).environment["LANG"] == "zh_CN.UTF-8"
    assert folder.load(f"{SHIPPED}_docker").environment["LANG"] == "zh_CN.UTF-8"


STEP = """  steps:
    - name: one
      title: One
      done: {argv: [test, -e, '{root}/one']}
      do: [{argv: [touch, '{card}']}]"""


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("shell: sh", 2, "shell: unknown key"),
        ("kinds:\n  infer:\n    progres: x", 4, "kinds.infer.progres: unknown key"),
        ("kinds:\n  infer:\n    progress: '('", 4, "kinds.infer.progress: Value error, not a regular expression"),
        ("launcher: remote", 2, "launcher: must be local, or a mapping"),
        ("launcher:\n  docker: {container: txnn}", 3, "launcher.docker.mounts: Field required"),
        ("launcher:\n  docker:\n    container: --privileged\n    mounts: {/: /}", 4, "launcher.docker.container: "),
        ("launcher:\n  docker:\n    container: a\n    mounts:\n      /a: ../b", 6, "launcher.docker.mounts./a: "),
        ("fault_signatures:\n  - {name: a, pattern: a}\n  - {name: b}", 4, "fault_signatures.1: "),
        ("backend_types:\n  a b: {family: qwen2, precision: bf16}", 3, "backend_types.a b: "),
        ("kinds:\n  infer:\n    cwd: null", 4, "kinds.infer.cwd: Field required"),
        ("environment: {A: a}\nenvironment: {B: b}", 3, "environment: is given a second time"),
        ("kinds:\n  infer:\n    cwd: '{rooot}'", 4, "kinds.infer.cwd: uses {rooot}, which no infer job has (known: "),
        ("kinds:\n  infer:\n    argv: [sh, '{modle}']", 4, "kinds.infer.argv.1: uses {modle}"),
        (
            "kinds:\n  infer:\n    optional: {goldn: [-gp]}",
            4,
            "kinds.infer.optional.goldn: is about goldn, which infer jobs",
        ),
        (
            "kinds:\n  infer:\n    optional: {groups >> 1: [-bs]}",
            4,
            "kinds.infer.optional.groups >> 1: Value error, 'groups >>",
        ),
        (
            "kinds:\n  convert:\n    optional: {groups > 1: [-bs]}",
            4,
            "kinds.convert.optional.groups > 1: is about groups",
        ),
        ("kinds:\n  convert:\n    environment: {A: '{card_list}'}", 4, "kinds.convert.environment.A: uses {card_list}"),
        ("kinds:\n  infer:\n    param_dir: '{kcor}'", 4, "kinds.infer.param_dir: uses {kcor}"),
        (
            "kinds:\n  infer:\n    copy_in: {c_source: '{work}/c'}",
            4,
            "kinds.infer.copy_in.c_source: is no input of infer",
        ),
        ("kinds:\n  infer:\n    answers: [{glob: '*', question: q}]", 4, "kinds.infer.answers.0.text: Field required"),
        ("kinds:\n  infer:\n    answers: nothing", 4, "kinds.infer.answers: "),
        ("kinds:\n  infer:\n    logs: ['{infr}/*.log']", 4, "kinds.infer.logs.0: uses {infr}"),
        (
            "kinds:\n  compile:\n    outputs:\n      kcore: {glob: '*'}",
            5,
            "kinds.compile.outputs.kcore: Value error, glob: ",
        ),
        (
            "kinds:\n  infer:\n    kill_ladder: [{signal: SIGINT, grace_seconds: 60}]",
            4,
            "kinds.infer.kill_ladder: Value error, the last step must be SIGKILL",
        ),
        ("environment:\n  A: a\n  HOME: '{wrok}/x'", 4, "environment.HOME: uses {wrok}, which not every use"),
        (
            "environment: {A: '{cards}'}",
            2,
            "environment.A: uses {cards}, which not every use of the tools has (known: ",
        ),
        ("probe:\n  nodes: ['/dev/{crad}']", 3, "probe.nodes.0: uses {crad}, which no probe has (known: card, dev"),
        ("probe:\n  check:\n    argv: [tsm_smi, '{id}']", 4, "probe.check.argv.1: uses {id}, which no probe has"),
        ("probe:\n  check:\n    environment: {A: '{conda}'}", 4, "probe.check.environment.A: uses {conda}"),
        (f"provision:\n{STEP}", 7, "provision.steps.0.do.0.argv.1: uses {card}, which no step has (known: "),
        (f"provision:\n{STEP.replace('{card}', '{docker}')}", 7, "provision.steps.0.do.0.argv.1: uses {docker}"),
        (
            "launcher:\n  docker:\n    container: a\n    mounts: {/a: '{wrok}'}",
            5,
            "launcher.docker.mounts./a: uses {wr",
        ),
        ("kinds:\n  infer:\n    progress: '(a+)+'", 4, "kinds.infer.progress: is tried again and again"),
        ("a: &a [x,x]\nb: &b [*a,*a]\nc: *c", 4, "*c"),
        (f"a: {'9' * 5000}", 2, "a: the number is too large"),
    ],
)
def test_an_error_names_the_file_the_line_and_the_entry(folder, text, line, told):
    file = folder.write("mine", f"extends: {SHIPPED}\n{text}\n")

    assert f"{file} line {line}: {told}" in folder.refusal()


def test_an_error_in_the_base_names_the_file_of_the_base(folder):
    base = folder.write("base", f"extends: {SHIPPED}\nshell: sh\n")
    folder.write("mine", "extends: base\nversions: {}\n")

    assert f"{base} line 2: shell: unknown key" in folder.refusal()


@pytest.mark.parametrize(
    ("extends", "told"),
    [
        ("gone", "extends 'gone', which does not exist; known: .*" + SHIPPED),
        ("../../etc/passwd", "which does not exist"),
        ("mine", "extends 'mine', which would extend itself"),
        ("[a, b]", "which does not exist"),
        ("3", "extends 3, which does not exist"),
    ],
)
def test_a_base_that_cannot_be_used_is_named(folder, extends, told):
    file = folder.write("mine", f"versions: {{}}\nextends: {extends}\n")

    with pytest.raises(BadRequest, match=told) as refused:
        folder.load()

    assert refused.value.detail.startswith(f"{file} line 2: ")


def test_profiles_that_extend_each_other_are_refused(folder):
    folder.write("mine", "extends: other\n")
    folder.write("other", "extends: mine\n")

    assert "would extend itself" in folder.refusal()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is no mapping"),
        (b"- a", "is no mapping"),
        (b"a: [", "line 1"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"a: &a [*a]", "contains itself"),
        (b"? [a, b]\n: c", "line 1: a key is a list or a mapping"),
    ],
)
def test_a_file_that_is_no_profile_is_told(folder, content, told):
    (folder.folder / "mine.yaml").write_bytes(content)

    assert told in folder.refusal()


@pytest.mark.parametrize("name", ["unknown", "../mine", "/etc/passwd", ""])
def test_a_name_of_no_profile_is_refused_with_those_that_are_known(folder, name):
    with pytest.raises(BadSpec, match=SHIPPED):
        folder.load(name)


def test_what_only_people_read_makes_no_other_build(folder, tmp_path):
    folder.write(
        "mine",
        f"extends: {SHIPPED}\nprofile: {SHIPPED}\nprobe: {{holders: [/usr/bin/other]}}\n"
        "kinds: {infer: {help: [python, other.py, -h]}}\nbackend_types: {qwen2_7b_bf16: {output: other}}\n",
    )
    folder.write("other", f"extends: {SHIPPED}\nprofile: {SHIPPED}\nkinds: {{infer: {{cwd: /}}}}\n")

    shipped, mine, other = (
        release_digest(load_profile(folder.settings, name), tmp_path) for name in (SHIPPED, "mine", "other")
    )

    assert mine == shipped
    assert other != shipped


def test_a_profile_that_was_sent_extends_those_of_the_server_and_its_errors_name_its_lines(folder):
    text = f"extends: {SHIPPED}\nbackend_types:\n  qwen3_8b_bf16: {{family: qwen3, precision: bf16}}\n"

    made = load_profile(folder.settings, "mine", text)

    assert made.profile == "mine"
    assert "qwen3_8b_bf16" in made.backend_types
    for wrong, told in {
        f"extends: {SHIPPED}\nkind: {{}}\n": "mine.yaml line 2: kind: unknown key",
        "extends: mine\n": "extends 'mine', which does not exist",
        "extends: ../../etc/passwd\n": "does not exist",
        "- a\n": "is no mapping",
        "a: [\n": "mine.yaml line",
    }.items():
        with pytest.raises(BadRequest, match=told.replace("[", r"\[")) as refused:
            load_profile(folder.settings, "mine", wrong)
        assert refused.value.field == "profile"
