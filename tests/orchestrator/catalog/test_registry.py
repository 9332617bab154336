"""Models and releases: what is refused, what is registered, what is the same and what is not."""

import json
import os
from pathlib import Path

import pytest
import yaml
from builders.databases import at_once, nothing_written
from builders.rows import PROFILE, PROFILE_NAME
from sqlalchemy import select

from orchestrator.catalog import weights
from orchestrator.catalog.registry import ModelRequest, Registry, ReleaseRequest
from orchestrator.catalog.weights import check_safetensors, earlier_digest_of, weights_of
from orchestrator.errors import AlreadyExists, BadRequest, BadSpec, OrchestratorError, PathRefused
from orchestrator.settings import SHIPPED_PROFILES, Settings
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Model, Release

OFFICIAL = {"model_type": "qwen2", "hidden_size": 64}
TX81 = {**OFFICIAL, "param_dir": "kcore"}


def _safetensors(header: object = None, data: bytes = b"12345678") -> bytes:
    if header is None:
        header = {"__metadata__": {"format": "pt"}, "w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder with weights and the official config, below the one allowed root."""
    made = tmp_path / "roots" / "model"
    made.mkdir(parents=True)
    (made / "model.safetensors").write_bytes(_safetensors())
    _config(made / "config.json", OFFICIAL)
    return made


@pytest.fixture
def registry(database: Database, tmp_path: Path) -> Registry:
    return Registry(Settings(allowed_roots=(tmp_path / "roots",)), database)


@pytest.fixture
def light(sqlite_url: str, tmp_path: Path):
    """On SQLite alone, for what is refused before SQL is asked."""
    database = Database(sqlite_url)
    with nothing_written(database):
        yield Registry(Settings(allowed_roots=(tmp_path / "roots",)), database)
    database.close()


def _config(path: Path, config: object) -> Path:
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    return path


def _request(folder: Path, **more: object) -> ModelRequest:
    return ModelRequest.model_validate({"name": "qwen", "path": str(folder), **more})


def _refused(registry: Registry, folder: Path, **more: object) -> OrchestratorError:
    with pytest.raises(OrchestratorError) as refusal:
        registry.register_model(_request(folder, **more))
    return refusal.value


# ── config.json ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("held", ["official", "tx81"])
def test_both_configs_are_kept_whichever_the_folder_holds(registry: Registry, folder: Path, held: str):
    own, other, named = (OFFICIAL, TX81, "tx81_config") if held == "official" else (TX81, OFFICIAL, "official_config")
    _config(folder / "config.json", own)

    registry.register_model(_request(folder, **{named: str(_config(folder.parent / "other.json", other))}))

    with registry._database.read() as session:
        model = session.get_one(Model, "qwen")
        assert (model.official_config, model.tx81_config, model.family) == (OFFICIAL, TX81, "qwen2")


@pytest.mark.parametrize(("field", "config"), [("official_config", TX81), ("tx81_config", OFFICIAL)])
def test_a_config_given_for_the_other_use_is_refused(light: Registry, folder: Path, field: str, config: dict):
    refusal = _refused(light, folder, **{field: str(_config(folder.parent / "mixed-up.json", config))})

    assert isinstance(refusal, BadSpec)
    assert refusal.field == field


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", "{}", '{"model_type": 1}', '{"model_type": ""}', '{"model_type": "a\\u0000b"}',
        '{"model_type": "\\ud800"}', '{"model_type": "qwen2", "eps": NaN}', '{"model_type": "qwen2", "eps": 1e999}',
        "[" * 100_000, "\ufeff{}", '{"model_type": "qwen2"}' + " " * (1 << 20),
    ],
    ids=lambda text: text[:32],
)  # fmt: skip
def test_what_is_no_config_is_refused(light: Registry, folder: Path, text: str):
    _config(folder / "config.json", text)

    assert isinstance(_refused(light, folder), BadSpec)


def test_a_config_may_say_what_columns_can_hold(registry: Registry, folder: Path):
    odd = {**OFFICIAL, "名": "\U0001f600", "big": 2**63 - 1, "mask": -3.4028234663852886e38, "none": None}
    _config(folder / "config.json", odd)

    registry.register_model(_request(folder))
    registry.register_model(_request(folder))

    with registry._database.read() as session:
        assert session.get_one(Model, "qwen").official_config == odd


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (r'"a": ["\ud800"]', "a.0: the text holds half of a surrogate pair"),
        (r'"a\ud800": 1', "half of a surrogate pair"),
        (r'"a": "\u0000"', "NUL"),
        (f'"a": {2**63}', "a: the number is too large"),
        (f'"a": {"9" * 5000}', "a: the number is too large"),
        ('"a": 1e999', "a: the number is too large"),
        ('"a": -Infinity', "-Infinity is not JSON"),
        ('"a": ' + "[" * 65 + "]" * 65, "nested deeper than 64 levels"),
        ('"a": [' + "0," * 200_000 + "0]", "more than 100000 values"),
        ('\n"a": 1,\n"a": 2', "line 3: a: is given a second time; the first is on line 2"),
        ('"model_type": "llama"', "model_type: is given a second time"),
    ],
    ids=range(11),
)
@pytest.mark.parametrize("field", ["path", "tx81_config"])
def test_a_config_is_held_to_what_a_body_is_held_to(light: Registry, folder: Path, field: str, more: str, told: str):
    document = f'{{"model_type": "qwen2", "param_dir": "", {more}}}'
    place = _config(folder / ("config.json" if field == "path" else "tx81.json"), document)

    refusal = _refused(light, folder, **({} if field == "path" else {field: str(place)}))

    assert (type(refusal), refusal.field) == (BadSpec, field)
    assert told in refusal.detail


@pytest.mark.parametrize("what", ["missing", "folder", "pipe", "endless device", "loop", "outside"])
@pytest.mark.parametrize("field", ["path", "tx81_config"])
def test_a_config_that_is_no_file_of_ours_is_refused_and_not_read_for_ever(
    light: Registry, folder: Path, tmp_path: Path, field: str, what: str
):
    place = folder / "config.json" if field == "path" else folder.parent / "tx81.json"
    place.unlink(missing_ok=True)
    match what:
        case "folder":
            place.mkdir()
        case "pipe":
            os.mkfifo(place)
        case "endless device":
            place.symlink_to("/dev/zero")
        case "loop":
            place.symlink_to(place)
        case "outside":
            place.symlink_to(_config(tmp_path / "outside.json", TX81))

    refusal = _refused(light, folder, **({} if field == "path" else {field: str(place)}))

    assert isinstance(refusal, PathRefused)
    assert refusal.field == field


def test_two_configs_of_different_models_are_refused(light: Registry, folder: Path):
    named = _config(folder / "tx81.json", {**TX81, "hidden_size": 128})

    refusal = _refused(light, folder, tx81_config=str(named))

    assert "hidden_size is 64 in the official one, 128 in the TX81 one" in refusal.detail
    assert refusal.field == "tx81_config"


# ── weights ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_folder_without_weights_is_refused(light: Registry, folder: Path):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")

    assert "no *.safetensors" in _refused(light, folder).detail


def _tensors(*offsets: object) -> dict:
    return {f"w{number}": {"dtype": "U8", "data_offsets": each} for number, each in enumerate(offsets)}


BROKEN = {
    "empty": b"",
    "shorter than a length": b"\x08\0\0",
    "length beyond the file": (1 << 40).to_bytes(8, "little") + b"{}",
    "largest length": b"\xff" * 8 + b"{}",
    "length of nothing": b"\0" * 8,
    "not json": _safetensors(b"{nonsense"),
    "not utf-8": _safetensors(b'{"\xff": 1}'),
    "a list": _safetensors([]),
    "a number": _safetensors(b"12"),
    "no tensor": _safetensors({}, b""),
    "only metadata": _safetensors({"__metadata__": {}}, b""),
    "tensor without offsets": _safetensors({"w": {"dtype": "F32"}}),
    "tensor that is text": _safetensors({"w": "F32"}),
    "one offset": _safetensors(_tensors([8])),
    "three offsets": _safetensors(_tensors([0, 4, 8])),
    "offsets as text": _safetensors(_tensors(["0", "8"])),
    "offset of infinity": _safetensors(b'{"w": {"data_offsets": [0, 1e999]}}'),
    "fraction": _safetensors(_tensors([0, 8.5])),
    "backwards": _safetensors(_tensors([0, 8], [8, 0])),
    "before the data": _safetensors(_tensors([-8, 0], [0, 8])),
    "beyond the end": _safetensors(_tensors([0, 9])),
    "cut off": _safetensors(data=b"1234567"),
    "too long": _safetensors(data=b"123456789"),
    "deep": _safetensors(b'{"w":' * 100_000),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_broken_weights_are_refused(tmp_path: Path, content: bytes):
    (tmp_path / "model.safetensors").write_bytes(content)

    with pytest.raises(BadSpec) as refusal:
        check_safetensors(tmp_path / "model.safetensors")

    assert refusal.value.field == "path"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"[" + b"[]," * 4_000_000 + b"[]]", "more than 500000 tensors"),
        (b'{"a":' + b"0," * 9_000_000 + b"0}", "more than 500000 tensors"),
        (b'{"w": {"data_offsets": [0, 0]}, "w": {"data_offsets": [0, 8]}}', "'w' is given a second time"),
        (b'{"w": {"dtype": "F32", "dtype": "F16", "data_offsets": [0, 8]}}', "'dtype' is given a second time"),
    ],
    ids=["lists", "numbers", "a tensor twice", "a key twice"],
)
@pytest.mark.parametrize("where", ["header", "index"])
def test_headers_are_not_read_into_more_memory_than_tensors_need(tmp_path: Path, where: str, content: bytes, told: str):
    (tmp_path / "model.safetensors").write_bytes(_safetensors(content if where == "header" else None))
    (tmp_path / "model.safetensors.index.json").write_bytes(content)

    with pytest.raises(BadSpec, match=told):
        weights_of(Settings(allowed_roots=(tmp_path,)), tmp_path)


def test_a_header_that_needs_more_memory_than_there_is_for_one_is_refused(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(weights, "MEMORY", 100 << 20)
    (tmp_path / "model.safetensors").write_bytes(_safetensors(b'{"w": "' + b"x" * (60 << 20) + b'"}'))

    with pytest.raises(BadSpec, match="more than 100 MiB of memory to read"):
        check_safetensors(tmp_path / "model.safetensors")


@pytest.mark.parametrize("shard", ["x" * 300 + ".safetensors", "\ud800.safetensors", "a\0.safetensors"])
def test_an_index_may_name_what_no_file_can_be_called(light: Registry, folder: Path, shard: str):
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": shard}}))

    assert "which is missing" in _refused(light, folder).detail


def test_one_broken_shard_is_enough_to_refuse_the_model(light: Registry, folder: Path):
    (folder / "model-00002.safetensors").write_bytes(_safetensors(data=b"cut"))

    assert "model-00002.safetensors is cut off" in _refused(light, folder).detail


def test_a_model_whose_shards_are_all_there_is_registered(registry: Registry, folder: Path):
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": "model.safetensors"}}))

    assert registry.register_model(_request(folder)).name == "qwen"


@pytest.mark.parametrize(
    ("index", "told"),
    [
        ('{"weight_map": {"w": "model.safetensors", "v": "model-00002.safetensors"}}', "names model-00002.safetensors"),
        ('{"weight_map": {"w": "../model/model.safetensors"}}', "which is missing"),
        ('{"weight_map": {"w": 7}}', "names 7"),
        ('{"weight_map": []}', "not an index of shards"),
        ("nonsense", "not an index of shards"),
    ],
)
def test_an_index_that_names_a_shard_that_is_not_there_is_refused(light: Registry, folder: Path, index: str, told: str):
    (folder / "model.safetensors.index.json").write_text(index)

    refusal = _refused(light, folder)

    assert told in refusal.detail
    assert refusal.field == "path"


@pytest.mark.parametrize("what", ["file", "folder", "dangling", "loop", "pipe"])
def test_a_link_that_leaves_the_roots_and_what_is_no_file_is_refused(
    light: Registry, folder: Path, tmp_path: Path, what: str
):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "more.safetensors").write_bytes(_safetensors())
    place = folder / "more.safetensors"
    match what:
        case "file":
            place.symlink_to(outside / "more.safetensors")
        case "folder":
            place.symlink_to(outside)
        case "dangling":
            place.symlink_to(folder / "gone")
        case "loop":
            place.symlink_to(place)
        case "pipe":
            os.mkfifo(place)

    assert isinstance(_refused(light, folder), PathRefused)


def test_a_model_folder_outside_the_roots_is_refused(light: Registry, tmp_path: Path):
    (tmp_path / "elsewhere").mkdir()

    assert "not under an allowed root" in _refused(light, tmp_path / "elsewhere").detail


def test_a_model_that_is_a_file_is_refused(light: Registry, folder: Path):
    assert "not a folder" in _refused(light, folder / "config.json").detail


def test_weights_may_be_links_to_files_below_the_roots(registry: Registry, folder: Path):
    blob = folder.parent / "blob"
    (folder / "model.safetensors").rename(blob)
    (folder / "model.safetensors").symlink_to(blob)

    assert registry.register_model(_request(folder)).size == blob.stat().st_size


def test_a_file_name_that_is_not_utf_8_is_no_trouble(registry: Registry, folder: Path):
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.txt")).write_text("x")

    assert registry.register_model(_request(folder)).digest.startswith("sha256:")


def test_a_folder_whose_real_name_is_not_utf_8_is_refused(light: Registry, folder: Path):
    real = Path(os.fsdecode(os.fsencode(folder.parent) + b"/\xff"))
    folder.rename(real)
    folder.symlink_to(real)

    assert "not UTF-8" in _refused(light, folder).detail


# ── the same, and not the same ───────────────────────────────────────────────────────────────────────────────────────


def test_registering_the_same_again_changes_nothing(registry: Registry, folder: Path):
    registry.register_model(_request(folder))

    with nothing_written(registry._database):
        registry.register_model(_request(folder))


@pytest.mark.parametrize("what", ["weights", "tokenizer", "config", "name of a file"])
def test_registering_something_else_under_the_name_is_refused(registry: Registry, folder: Path, what: str):
    registry.register_model(_request(folder))
    match what:
        case "weights":
            (folder / "model.safetensors").write_bytes(_safetensors(data=b"87654321"))
        case "tokenizer":
            (folder / "tokenizer.json").write_text("{}")
        case "config":
            _config(folder / "config.json", {**OFFICIAL, "hidden_size": 128})
        case "name of a file":
            (folder / "model.safetensors").rename(folder / "other.safetensors")

    with pytest.raises(AlreadyExists) as refusal:
        registry.register_model(_request(folder))

    assert ("official_config" if what == "config" else "digest") in refusal.value.detail


@pytest.mark.parametrize("bystander", [".git/index", "._model.safetensors", ".cache/huggingface/x.metadata", "x~"])
def test_what_no_tool_reads_is_no_part_of_a_model(registry: Registry, folder: Path, bystander: str):
    before = registry.register_model(_request(folder))
    (folder / bystander).parent.mkdir(parents=True, exist_ok=True)
    (folder / bystander).write_bytes(b"\0\5\26\7")

    again = registry.register_model(_request(folder))

    assert (again.digest, again.stamp, again.size) == (before.digest, before.stamp, before.size)


def test_a_model_registered_when_bystanders_counted_is_registered_again(registry: Registry, folder: Path):
    (folder / ".DS_Store").write_text("x")
    present = registry.register_model(_request(folder))
    with registry._database.write() as session:
        row = session.get_one(Model, "qwen")
        row.digest, row.size = earlier_digest_of(registry._settings, folder), row.size + 1

    again = registry.register_model(_request(folder))

    assert (again.digest, again.size) == (present.digest, present.size)


def test_a_pointer_of_git_lfs_is_named_with_the_remedy(light: Registry, folder: Path):
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{7:064}\nsize 12345\n"
    for name in ("model.safetensors", "tokenizer.json"):
        whole = (folder / name).read_bytes() if (folder / name).exists() else b"{}"
        (folder / name).write_text(pointer)

        refusal = _refused(light, folder)

        assert refusal.detail.startswith(f"{name} is a pointer of git-lfs")
        assert "git lfs pull" in refusal.detail
        (folder / name).write_bytes(whole)


def test_the_config_is_not_part_of_the_weights(registry: Registry, folder: Path):
    first = registry.register_model(_request(folder))
    _config(folder / "config.json", TX81)

    other = registry.register_model(_request(folder, name="other"))

    assert first.digest == other.digest


def test_a_model_registered_by_many_at_once_is_one(registry: Registry, folder: Path):
    made = at_once(*[lambda: registry.register_model(_request(folder))] * 4)

    assert len({model.digest for model in made}) == 1


# ── releases ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Installed tools, as far as registration looks at them."""
    made = tmp_path / "roots" / "tools"
    for below in PROFILE.folders.values():
        (made / below).mkdir(parents=True)
    (made / PROFILE.folders["convert"] / "convert_weight.py").write_text("print()")
    return made


def _release(root: Path, name: str = "r1", **more: object) -> ReleaseRequest:
    return ReleaseRequest.model_validate({"name": name, "profile": PROFILE_NAME, "root": str(root), **more})


def _default(registry: Registry) -> list[str]:
    with registry._database.read() as session:
        return list(session.scalars(select(Release.name).where(Release.is_default)))


def test_the_first_release_is_the_default_until_another_is_made_it(registry: Registry, root: Path):
    defaults = []
    for request in (
        _release(root, "r1"), _release(root, "r2"), _release(root, "r3", default=True),
        _release(root, "r1", default=True), _release(root, "r1"),
    ):  # fmt: skip
        registry.register_release(request)
        defaults.append(_default(registry))

    assert defaults == [["r1"], ["r1"], ["r3"], ["r1"], ["r1"]]


def test_releases_registered_at_once_leave_one_default(registry: Registry, root: Path):
    at_once(*[lambda name=f"r{n}": registry.register_release(_release(root, name, default=True)) for n in range(4)])

    assert len(_default(registry)) == 1


def test_other_tools_under_the_name_of_a_release_are_refused(registry: Registry, root: Path):
    registry.register_release(_release(root))
    (root / PROFILE.folders["convert"] / "convert_weight.py").write_text("print('patched')")

    with nothing_written(registry._database), pytest.raises(AlreadyExists, match="other tools"):
        registry.register_release(_release(root))


@pytest.mark.parametrize("what", ["wrong root", "outside", "a file", "missing"])
def test_a_root_that_does_not_hold_the_tools_is_refused(light: Registry, root: Path, tmp_path: Path, what: str):
    match what:
        case "wrong root":
            wrong = root / PROFILE.folders["convert"]
        case "outside":
            wrong = tmp_path
        case "a file":
            wrong = root / PROFILE.folders["convert"] / "convert_weight.py"
        case _:
            wrong = root / "missing"

    with pytest.raises(PathRefused) as refusal:
        light.register_release(_release(wrong))

    assert refusal.value.field == "root"


def test_an_unknown_profile_is_refused_with_those_that_are_known(light: Registry, root: Path):
    with pytest.raises(BadSpec) as refusal:
        light.register_release(_release(root, profile="unknown"))

    assert PROFILE_NAME in refusal.value.detail


@pytest.mark.parametrize("trouble", ["no yaml", "not utf-8", "a number", "no kill", "unknown field"])
def test_a_profile_that_is_not_valid_is_told(sqlite_url: str, root: Path, tmp_path: Path, trouble: str):
    document = yaml.safe_load((SHIPPED_PROFILES / f"{PROFILE_NAME}.yaml").read_text())
    match trouble:
        case "no kill":
            document["kill_ladder"].pop()
        case "unknown field":
            document["shell"] = "sh -c"
    content = {"no yaml": b"{", "not utf-8": b"\xff\xfe", "a number": b"7"}.get(
        trouble, yaml.safe_dump(document).encode()
    )
    (tmp_path / "mine.yaml").write_bytes(content)
    database = Database(sqlite_url)
    settings = Settings(allowed_roots=(tmp_path,), profile_dirs=(tmp_path,))

    with pytest.raises(BadRequest) as refusal:
        Registry(settings, database).register_release(_release(root, profile="mine"))
    database.close()

    assert refusal.value.field == "profile"
