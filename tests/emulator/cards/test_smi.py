"""`tsm_smi` as those who call it read it."""

import re

import pytest
from eventually import eventually

ROW_AB = re.compile(
    r"^\|\s*(\d+)\s+(TX8\S+).*?([\d.]+)C\s+([\d.]+)W\s*/\s*([\d.]+)W\s*\|\s*([0-9a-fA-F:.]+)\s*\|"
    r"\s*(\d+)M\s*/\s*(\d+)M\s+([\d.]+)%"
)
ROW_C = re.compile(r"(\d+)\s+(\S+)\s+([-\d.]+)C\s+([-\d.]+)W\s*/\s*([-\d.]+)W\s+(\d+)M\s*/\s*(\d+)M\s+([-\d.]+)%")


def hold(desk, running):
    """An offline run on cards 4 to 7, until it is ended."""
    desk.fault(4, "slow 100")
    child = running(cn="4..7", pp=desk.ask("Who are you?"))
    eventually(lambda: desk.events("open"))
    return child


@pytest.mark.parametrize(("layout", "row"), [("", ROW_AB), ("a", ROW_AB), ("b", ROW_AB), ("c", ROW_C)])
def test_every_layout_shows_each_chip_once(desk, layout, row):
    shown = desk.type("tsm_smi", TSM_SMI_LAYOUT=layout).stdout

    chips = [found[1] for found in map(row.search, shown.splitlines()) if found]
    assert chips == [str(chip) for chip in range(32)]
    assert "Card count: 32" in shown
    assert "| No running processes found" in shown


def test_the_trees_own_layout_is_used_where_the_environment_names_none(desk):
    (desk.home / "smi_layout").write_text("a\n")

    assert "TX8110-64GB-PCIe   11100" in desk.type("tsm_smi").stdout


def test_a_chip_is_busy_exactly_while_a_process_holds_it(desk, running):
    child = hold(desk, running)

    held, free, whole = (desk.type(f"tsm_smi {flags}").stdout for flags in ("-i 5", "-i 8", ""))
    child.kill()
    child.wait(10)
    after = desk.type("tsm_smi -i 5").stdout

    assert "No running processes found" not in held
    assert f"| 5    {child.pid}    " in held
    assert "No running processes found" in free
    assert re.findall(rf"^\| (\d+)    {child.pid} ", whole, re.MULTILINE) == ["4", "5", "6", "7"]
    assert "No running processes found" in after


def test_looking_is_not_using(desk, running):
    hold(desk, running)
    before = desk.events()

    for _ in range(3):
        desk.type("tsm_smi")

    assert desk.events() == before


@pytest.mark.parametrize("index", ["32", "-1", "x", "99999999999999999999"])
def test_a_chip_that_is_not_there_is_an_error(desk, index):
    done = desk.type(f"tsm_smi -i={index}")

    assert done.returncode == 1
    assert "Invalid device index" in done.stderr


def test_version_list_and_table_have_their_forms(desk):
    version, listed, table = (desk.type(f"tsm_smi {flag}").stdout for flag in ("--version", "-l", "-t"))

    (row,) = (line for line in version.splitlines() if "Driver Version" in line)
    assert row.split("|")[2].strip() == "4.3.7.P3"
    assert len(listed.splitlines()) == 32
    assert "NPU-Util" in table
    assert "Processes" not in table


def test_a_reset_is_of_the_whole_machine_and_refused_while_one_card_is_open(desk, running):
    child = hold(desk, running)

    refused = desk.type("tsm_smi --reset")
    child.kill()
    child.wait(10)
    done = desk.type("tsm_smi --reset")

    assert refused.returncode == 1
    assert f"Device or resource busy (held by pid {child.pid})" in refused.stderr
    assert done.returncode == 0, done.stderr
    assert [event["cards"] for event in desk.events("violation")] == [[4]]


def test_without_the_driver_nothing_is_shown(desk):
    (desk.home / "dev" / "accel_drv_mgr").unlink()

    done = desk.type("tsm_smi")

    assert done.returncode == 1
    assert "install silicon" in done.stderr


@pytest.mark.parametrize("flags", ["--watch", "-l -t", "--reset --version", "-i"])
def test_a_wrong_call_is_refused(desk, flags):
    assert desk.type(f"tsm_smi {flags}").returncode == 2


def test_a_layout_that_is_none_is_refused(desk):
    assert desk.type("tsm_smi", TSM_SMI_LAYOUT="d").returncode == 2
