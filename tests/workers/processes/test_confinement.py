"""What a tool may not do although its worker may. As root, as CI runs; an ordinary user can separate nothing."""

import json
import os
import pwd
import signal
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from eventually import eventually
from sqlalchemy import select

from orchestrator.model.states import JobState
from orchestrator.storage.tables import Artifact, Release
from workers.processes import confinement

QUANTIZE = {"kind": "quantize", "model": "tiny-model"}
NOBODY = pwd.getpwnam("nobody")


def test_a_folder_that_the_user_for_tools_cannot_reach_is_named(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)

    with pytest.raises(confinement.CannotSeparate, match=f"cannot pass through {closed}: set TX81_WORK_DIR"):
        confinement.require_way(closed / "work", confinement.ToolUser(NOBODY.pw_uid, NOBODY.pw_gid))


def test_a_user_for_tools_that_is_not_there_or_not_another_one_is_refused():
    with pytest.raises(confinement.CannotSeparate, match="there is no user no-such-user"):
        confinement.tool_user("no-such-user")
    with pytest.raises(confinement.CannotSeparate, match="root or the worker's own"):
        confinement.tool_user(str(os.geteuid()))
    assert confinement.tool_user("") is None


if os.geteuid() != 0:

    def test_who_is_not_root_is_told_what_is_needed_to_separate_tools():
        with pytest.raises(confinement.CannotSeparate, match="CAP_SETUID"):
            confinement.tool_user("nobody")

else:

    @pytest.fixture
    def tmp_path():
        """Below which another user can get, unlike pytest's own."""
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            yield Path(folder)

    @pytest.fixture
    def apart(lab, cpu0):
        """The slot of a worker that runs its tools as nobody."""
        return replace(cpu0, settings=cpu0.settings.model_copy(update={"tool_user": "nobody"}))

    def output_of(lab, attempt_id):
        with lab.database.read() as session:
            mine = select(Artifact).where(Artifact.attempt_id == attempt_id, Artifact.name == "gm")
            stored = session.scalars(mine).one()
        return lab.store.path(stored.digest).read_text()

    def test_a_tool_is_another_user_without_groups_capabilities_or_a_way_to_get_them(lab, apart):
        lab.tool('(id -u; id -g; id -G; grep -E "^(CapPrm|CapAmb|NoNewPrivs)" /proc/self/status; env) > "$2/x.gm"')
        os.environ["TX81_DATABASE_URL"] = "postgresql://u:hunter2@db/tx81"
        try:
            attempt_id = lab.assigned(QUANTIZE, slot="cpu0")
            lab.run(attempt_id, apart)
        finally:
            del os.environ["TX81_DATABASE_URL"]

        told = output_of(lab, attempt_id)
        uid, gid, groups, *rest = told.splitlines()
        assert (int(uid), int(gid), groups) == (NOBODY.pw_uid, NOBODY.pw_gid, str(NOBODY.pw_gid))
        facts = dict(line.split(":\t") for line in rest if ":\t" in line)
        assert (int(facts["CapPrm"], 16), int(facts["CapAmb"], 16), facts["NoNewPrivs"]) == (0, 0, "1")
        assert "hunter2" not in told

    @pytest.mark.parametrize(
        ("deed", "said"),
        [
            ("cat {folder}/admin-token", "Permission denied"),
            ("cat /proc/{worker}/environ", "Permission denied"),
            ("cat /proc/$PPID/environ", "Permission denied"),
            ("touch {store}/sha256/mine", "Permission denied"),
            ("sh -c 'echo x >> {stored}'", "Permission denied"),
            ("kill -TERM {worker}", "not permitted"),
            ("rm -f {work}/log", "not permitted"),
        ],
    )
    def test_a_tool_can_not_do_what_its_worker_can(lab, apart, deed, said):
        (lab.folder / "admin-token").write_text("secret")
        (lab.folder / "admin-token").chmod(0o600)
        digest = lab.stored("input", "of somebody")
        words = {
            "folder": lab.folder, "worker": os.getpid(), "store": lab.settings.store, "stored": lab.store.path(digest),
            "work": "$HOME",
        }  # fmt: skip
        lab.tool(f'LC_ALL=C {deed.format(**words)} > "$2/x.gm" 2>&1 && exit 3; echo "$?" >> "$2/x.gm"; exit 0')

        attempt_id = lab.assigned(QUANTIZE, slot="cpu0")
        lab.run(attempt_id, apart)

        assert lab.job(attempt_id).state is JobState.SUCCEEDED, lab.attempt(attempt_id).failure
        assert said in output_of(lab, attempt_id)
        assert "secret" not in output_of(lab, attempt_id)

    @pytest.mark.parametrize("how", ["ln -s {token} $2/x.gm", "ln -s {folder} $2/sub", "mkfifo $2/x.gm"])
    def test_what_a_tool_leaves_does_not_lead_its_worker_to_other_files(lab, apart, how):
        (lab.folder / "token.gm").write_text("secret")
        (lab.folder / "token.gm").chmod(0o600)
        lab.tool(how.format(token=lab.folder / "token.gm", folder=lab.folder))

        attempt_id = lab.assigned(QUANTIZE, slot="cpu0")
        lab.run(attempt_id, apart)

        assert lab.attempt(attempt_id).failure["kind"] == "output_missing", lab.attempt(attempt_id).failure

    def test_a_tool_writes_and_removes_in_its_folders_and_nothing_of_them_is_left(lab, apart):
        lab.tool('mkdir -p deep/er "$HOME/mine"; umask 077; echo x > "$2/x.gm"; rm -r "$HOME/mine"; chmod 000 deep/er')

        attempt_id = lab.assigned(QUANTIZE, slot="cpu0")
        lab.run(attempt_id, apart)

        assert lab.job(attempt_id).state is JobState.SUCCEEDED, lab.attempt(attempt_id).failure
        assert output_of(lab, attempt_id) == "x\n"
        assert list(apart.work.iterdir()) == []

    def test_a_tool_of_another_user_dies_with_its_shim(lab, apart):
        lab.tool(f"echo $$ > $2/pid; cp $2/pid {lab.folder}/shared/pid; sleep 600")
        (lab.folder / "shared").mkdir()
        (lab.folder / "shared").chmod(0o777)
        attempt_id = lab.assigned(QUANTIZE, slot="cpu0")
        running = lab.run_aside(attempt_id, apart)
        pid = int(eventually(lambda: (lab.folder / "shared" / "pid").exists() and read(lab.folder / "shared" / "pid")))

        os.kill(apart.shim.pid, signal.SIGKILL)
        running.join(60)

        eventually(lambda: not Path(f"/proc/{pid}").exists())

    def test_a_process_that_hides_is_closed_to_others_of_its_user():
        ready, hidden = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.setresuid(NOBODY.pw_uid, NOBODY.pw_uid, NOBODY.pw_uid)
            confinement.hide()
            os.write(hidden, b".")
            signal.pause()
        os.read(ready, 1)
        try:
            looked = subprocess.run(["cat", f"/proc/{pid}/environ"], user="nobody", capture_output=True, check=False)
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

        assert (looked.returncode, looked.stdout) == (1, b"")

    def read(path):
        return path.read_text().strip()

    @pytest.mark.parametrize(
        ("resources", "asked"),
        [
            ({"open_files": 17}, "ulimit -n"),
            ({"file_size_bytes": 512 * 40}, "ulimit -f"),
            ({"address_space_bytes": 1024 * 500_000}, "ulimit -v"),
            ({"processes": 1234}, "ulimit -u"),
        ],
    )
    def test_a_profile_limits_what_a_tool_may_use(lab, apart, resources, asked):
        with lab.database.write() as session:
            release = session.get_one(Release, "tiny")
            release.profile = json.loads(json.dumps({**release.profile, "resources": resources}))
        lab.tool(f'bash -c "{asked}" > "$2/x.gm"')

        attempt_id = lab.assigned(QUANTIZE, slot="cpu0")
        lab.run(attempt_id, apart)

        told = {"ulimit -f": 20, "ulimit -v": 500_000}.get(asked, next(iter(resources.values())))
        assert output_of(lab, attempt_id).strip() == str(told)
