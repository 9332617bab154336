"""The guide's installing chapters, typed by hand from the vendor's packages to the first answer."""

import io
import json
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest
from eventually import eventually

from emulator.cards.events import audit
from emulator.installation.wheels import digest
from tests.emulator.conftest import ROOT
from tests.emulator.desk import BF16

ENGINE = "txnn.1.2.1_build0307"
RECORD = "evil-1.0.dist-info/RECORD"


@pytest.fixture(scope="session")
def packages(tmp_path_factory):
    """The folder with the vendor's archives."""
    folder = tmp_path_factory.mktemp("packages")
    command = [sys.executable, "-m", "emulator", "package", str(folder)]
    subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return folder


def test_the_chapters_lead_from_the_packages_to_an_answer(desk, built, packages, tmp_path):
    home = tmp_path / "login_home"
    home.mkdir()
    shutil.copytree(built.node(BF16), home / "kcore")
    model = home / "model"
    shutil.copytree(desk.tx81, model)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"param_dir": str(home / "kcore")}))
    convert, infer = home / "txnn_convert_1.2.1_build0307/convert_weight", home / "txnn_1.2.1_build0307/script"
    chapters = f"""
        set -e
        cd {packages} && sha256sum -c SHA256SUMS
        cd {home} && for archive in {packages}/*.tar.gz; do tar -xf "$archive"; done
        PATH={home}/miniconda/bin:$PATH
        source activate tx8_txnn_trans_4.38
        cd {convert}/whl
        pip uninstall torch -y
        pip uninstall torch_xla -y
        pip install torch-2.0.0a0+gitd8b87bc-cp310-cp310-linux_x86_64.whl
        pip install torch_xla-2.0.0+2cfaf58.tf.180e6e1-cp310-cp310-linux_x86_64.whl
        cd {convert}/install_tx8_quant/ && bash install_tx8_cpu.sh
        tx8-quant -mp {desk.model} -dv cpu -qm weight_only -wm rtn -dtype bfloat16 -s {home}
        cd {home} && ./Tsm_driver_4.3.7.P3_x86_64_installer.run install silicon
        conda activate tx8_txnn
        cd {infer}/deploy && bash install_vllm.sh {home} {ENGINE}
        pip list
        cd {infer}/run_infer
        python offline_auto_test.py -mp {model} -cd {home}/kcore -pp quests_v1.txt -gp golden_v1.jsonl -s ./ -cn 0..3
    """

    done = desk.type(chapters)

    assert done.returncode == 0, done.stderr
    assert "mean similarity 1.0000" in done.stdout
    assert "txnn                 1.2.1" in done.stdout
    assert audit(home / "state" / "events.jsonl") == []


def test_the_same_source_gives_the_same_packages(packages, tmp_path):
    command = [sys.executable, "-m", "emulator", "package", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    assert (tmp_path / "SHA256SUMS").read_text() == (packages / "SHA256SUMS").read_text()


def test_an_engine_whose_checksum_is_wrong_is_not_installed(desk):
    archive = desk.home / "txnn_1.2.1_build0307" / f"{ENGINE}.tar.gz"
    archive.write_bytes(archive.read_bytes() + b"\0")

    done = desk.type(f"bash {archive.parent}/script/deploy/install_vllm.sh {desk.home} {ENGINE}")

    assert done.returncode == 1
    assert "checksum" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("", "required"),
        ("{home}", "required"),
        ("{home} txnn.9.9.9", "no txnn_*/txnn.9.9.9.tar.gz"),
        ("{home} ../../etc/passwd", "is not a name"),
        ("/nowhere txnn.1.2.1_build0307", "no such folder"),
    ],
)
def test_a_wrong_deployment_is_refused(desk, arguments, reason):
    script = desk.home / "txnn_1.2.1_build0307/script/deploy/install_vllm.sh"

    done = desk.type(f"bash {script} {arguments.format(home=desk.home)}")

    assert done.returncode == 2
    assert reason in done.stderr


@pytest.mark.parametrize("script", ["offline_auto_test.py", "openai_completion_server.py"])
def test_without_the_engine_there_is_no_inference(desk, script):
    flags = "--model x --device=txcpu --load_format=tx --max-model-len 1" if "server" in script else "-mp x -pp x -s x"
    removed = desk.type("source activate tx8_txnn; pip uninstall txnn -y")

    done = desk.type(f"python {desk.places['infer']}/{script} {flags} -cd x")

    assert removed.returncode == 0, removed.stderr
    assert done.returncode == 2
    assert "No module named 'txnn'; run: bash " in done.stderr


@pytest.mark.parametrize("entry", ["../../../evil.py", "/tmp/evil.py", "x.data/scripts/../../evil"])
def test_a_wheel_that_leads_out_of_its_environment_is_not_installed(desk, entry):
    wheel = a_wheel(desk.work, {entry: b"evil"})

    done = desk.type(f"pip install {wheel}")

    assert done.returncode == 2
    assert "is not installed" in done.stderr
    assert not list(desk.home.rglob("evil*"))


def test_a_wheel_whose_file_is_not_what_its_record_says_is_not_installed(desk):
    wheel = a_wheel(desk.work, {"evil/__init__.py": b"evil"}, recorded=b"good")

    done = desk.type(f"pip install {wheel}")

    assert done.returncode == 1
    assert "is not what RECORD says" in done.stderr


HOSTILE = {
    "a RECORD that unpacks to 17 MiB": (lambda made: made.writestr(RECORD, b"\n" * (17 << 20)), "more bytes than"),
    "a directory of 17 MiB": (
        lambda made: [made.writestr(f"{number}/{'x' * 60_000}", b"") for number in range(300)],
        "a directory of more than",
    ),
    "a field of 200 KB in RECORD": (lambda made: made.writestr(RECORD, b"x" * 200_000 + b",,"), "invalid wheel"),
    "a file twice": (lambda made: [made.writestr("a", b"1"), made.writestr("a", b"2")], "holds a file twice"),
    "no RECORD": (lambda made: made.writestr("a", b""), "invalid wheel"),
    "a RECORD that is not UTF-8": (lambda made: made.writestr(RECORD, b"\xff,,"), "invalid wheel"),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_wheel_is_refused_in_one_line_and_leaves_nothing(desk, what):
    fill, told = HOSTILE[what]
    wheel = desk.work / "evil-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as made:
        fill(made)

    done = desk.type(f"pip install {wheel}")

    assert done.returncode == 1
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "evil" not in desk.type("pip list").stdout


@pytest.mark.parametrize("broken", ["method", "encrypted", "content", "cut"])
def test_a_wheel_that_cannot_be_unpacked_is_refused_in_one_line(desk, broken):
    wheel = a_wheel(desk.work, {"evil/__init__.py": b"evil"})
    content = bytearray(wheel.read_bytes())
    directory = content.index(b"PK\x01\x02")
    match broken:
        case "method":
            content[directory + 10] = content[8] = 99
        case "encrypted":
            content[directory + 8] |= 1
            content[6] |= 1
        case "content":
            content[content.index(b"evil", 46)] ^= 1
        case _:
            del content[-30:]
    wheel.write_bytes(content)

    done = desk.type(f"pip install {wheel}")

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "invalid wheel" in done.stderr


def test_a_name_that_no_file_can_have_is_named(desk):
    wheel = a_wheel(desk.work, {"x" * 300: b"evil"})

    done = desk.type(f"pip install {wheel}")

    assert done.returncode == 1
    assert "cannot be installed: File name too long" in done.stderr


def test_an_engine_archive_that_unpacks_to_much_more_is_not_unpacked(desk):
    archive = desk.home / "txnn_1.2.1_build0307" / f"{ENGINE}.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        entry = tarfile.TarInfo("zeros.whl")
        entry.size = 65 << 20
        packed.addfile(entry, io.BytesIO(bytes(entry.size)))
    desk.type(f"cd {archive.parent} && sha256sum {archive.name} > {archive.name}.sha256")

    done = desk.type(f"bash {archive.parent}/script/deploy/install_vllm.sh {desk.home} {ENGINE}")

    assert done.returncode == 1
    assert "holds more bytes than it may" in done.stderr


def test_the_emulated_pip_leaves_the_real_interpreter_alone(desk):
    before = subprocess.run([sys.executable, "-m", "pip", "list"], capture_output=True, text=True, check=True).stdout

    done = desk.type("pip uninstall numpy tokenizers -y")

    after = subprocess.run([sys.executable, "-m", "pip", "list"], capture_output=True, text=True, check=True).stdout
    assert done.returncode == 0
    assert "Skipping numpy as it is not installed" in done.stderr
    assert before == after


def test_an_engine_archive_that_climbs_out_is_not_unpacked(desk):
    archive = desk.home / "txnn_1.2.1_build0307" / f"{ENGINE}.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        entry = tarfile.TarInfo("../../evil")
        entry.size = 4
        packed.addfile(entry, io.BytesIO(b"evil"))
    desk.type(f"cd {archive.parent} && sha256sum {archive.name} > {archive.name}.sha256")

    done = desk.type(f"bash {archive.parent}/script/deploy/install_vllm.sh {desk.home} {ENGINE}")

    assert done.returncode == 1
    assert "cannot be unpacked" in done.stderr


def test_the_driver_is_not_installed_under_a_running_tool(desk, running):
    desk.fault(8, "slow 100")
    child = running(cn="8..11", pp=desk.ask("Who are you?"))
    eventually(lambda: desk.events("open"))

    done = desk.type(f"{desk.places['driver']} install silicon")

    assert done.returncode == 1
    assert f"held by pid {child.pid}" in done.stderr
    assert child.poll() is None
    assert (desk.home / "dev" / "accel_drv_mgr").exists()


def test_installing_the_driver_revives_dead_cards_and_nothing_else(desk):
    desk.fault(5, "dead\nslow 1")
    dead = desk.offline(cn="4..7", pp=desk.ask("Who are you?"))

    installed = desk.type(f"{desk.places['driver']} install silicon")

    alive = desk.offline(cn="4..7", pp=desk.ask("Who are you?"))
    assert (dead.returncode, installed.returncode, alive.returncode) == (1, 0, 0)
    assert (desk.places["faults"] / "5").read_text() == "slow 1\n"
    assert audit(desk.places["events"]) == []


def test_a_driver_that_fails_on_the_way_is_not_up(desk):
    desk.fault("driver", "error after=7")

    done = desk.type(f"{desk.places['driver']} install silicon")
    run = desk.offline()

    assert done.returncode == 1
    assert "dev-6 ready" in done.stdout
    assert "dev-7 ready" not in done.stdout
    assert "install silicon" in run.stderr


def a_wheel(folder, files, recorded=None):
    """A wheel with these files, and a RECORD that says so (or lies)."""
    path = folder / "evil-1.0-py3-none-any.whl"
    lines = [f'"{name}",{digest(data if recorded is None else recorded)},4' for name, data in files.items()]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        archive.writestr("evil-1.0.dist-info/RECORD", "\n".join([*lines, "evil-1.0.dist-info/RECORD,,"]))
    return path
