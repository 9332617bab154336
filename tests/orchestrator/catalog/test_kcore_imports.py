"""Kernel images that were compiled elsewhere."""

import hashlib
import json
import tarfile
from pathlib import Path

import pytest
from builders.rows import a_model

from orchestrator.catalog.kcore_imports import KcoreImport, KcoreImports
from orchestrator.catalog.uploads import UploadRequest, Uploads
from orchestrator.errors import OrchestratorError
from orchestrator.settings import Settings
from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.storage.database import Database

ARCHIVE = "deepseek_7b_bf16_seq8192_c4"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "models").mkdir()
    return Settings(state_dir=tmp_path / "state", allowed_roots=(tmp_path,))


@pytest.fixture
def imports(settings: Settings, database: Database, store: ArtifactStore) -> KcoreImports:
    return KcoreImports(settings, database, store)


def a_literal(folder: Path, *, chips: int | None = 4) -> Path:
    folder.mkdir(parents=True)
    (folder / "kcore.bin").write_bytes(b"kernel")
    if chips is not None:
        (folder / "model_info.json").write_text(json.dumps({"chip_num": chips}))
    return folder


def a_graph(folder: Path, *, chips: int = 4, tiles: int = 16, image: str = "kcore_fw.bin") -> Path:
    """The layout with an image for every tile."""
    for chip in range(chips):
        for tile in range(tiles):
            (folder / f"chip{chip}/tile{tile}").mkdir(parents=True)
            (folder / f"chip{chip}/tile{tile}/{image}").write_bytes(b"fw")
    chip = [{"tile_num": tiles}] * chips
    (folder / "model_info.json").write_text(json.dumps({"chip_num": chips, "chip_x": 2, "chip_y": 2, "chip": chip}))
    return folder


def packed(folder: Path, archive: Path) -> Path:
    with tarfile.open(archive, "w:gz") as opened:
        opened.add(folder, folder.name)
    return archive


def files_of(store: ArtifactStore, digest: str) -> set[str]:
    return {entry.path for entry in store.entries(digest)}


@pytest.mark.parametrize("how", ["archive", "folder", "node folder", "upload"])
def test_the_vendors_archive_is_taken_in_as_its_node_folder(imports, settings, store, tmp_path, how):
    a_literal(tmp_path / ARCHIVE / "chip_out" / "node_0_0")
    given = {
        "archive": lambda: {"path": str(packed(tmp_path / ARCHIVE, tmp_path / f"{ARCHIVE}.tar.gz"))},
        "folder": lambda: {"path": str(tmp_path / ARCHIVE)},
        "node folder": lambda: {"path": str(tmp_path / ARCHIVE / "chip_out" / "node_0_0")},
        "upload": lambda: {"upload": uploaded(settings, packed(tmp_path / ARCHIVE, tmp_path / "sent"))},
    }[how]()

    made = imports.take_in(KcoreImport.model_validate(given))

    assert (made.name, made.tree) == ("kcore", True)
    assert files_of(store, made.digest) == {"kcore.bin", "model_info.json"}
    assert made.facts == {"chips": 4, "precision": "bf16", "sequence": 8192}
    assert made.file_name.startswith(ARCHIVE)
    assert not list((settings.models / ".uploads").glob("[0-9]*.[0-9]*/"))


def uploaded(settings: Settings, archive: Path) -> str:
    content = archive.read_bytes()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    uploads = Uploads(settings)
    uploads.begin(UploadRequest(digest=digest, size=len(content)))
    uploads.append(digest, 0, content)
    return digest


def test_a_literal_kcore_bin_brings_nothing_of_the_folder_that_it_lies_in(imports, store, tmp_path):
    a_literal(tmp_path / "home")
    (tmp_path / "home" / "secret").write_text("mine")

    made = imports.take_in(KcoreImport(path=str(tmp_path / "home" / "kcore.bin")))

    assert files_of(store, made.digest) == {"kcore.bin", "model_info.json"}


@pytest.mark.parametrize("image", ["kcore_fw.bin", "kcore_fw.so"])
def test_a_graph_with_an_image_for_every_tile_is_whole(imports, tmp_path, image):
    made = imports.take_in(KcoreImport(path=str(a_graph(tmp_path / "chip_out", tiles=8, image=image))))

    assert made.facts == {"chips": 4}


def test_importing_it_again_gives_the_same_artifact_which_knows_more(imports, database, tmp_path):
    with database.write() as session:
        a_model(session, "qwen")
    path = str(a_literal(tmp_path / "node_0_0", chips=None))

    first = imports.take_in(KcoreImport(path=path))
    again = imports.take_in(KcoreImport(path=path, model="qwen", precision="quant"))

    assert again.id == first.id
    assert again.facts == {"model": "qwen", "precision": "quant"}


def _cut_off(folder: Path) -> Path:
    (a_graph(folder) / "chip2/tile7/kcore_fw.bin").write_bytes(b"")
    return folder


def _undescribed(folder: Path) -> Path:
    (a_literal(folder, chips=None) / "kcore.bin").write_bytes(b"")
    return folder


def _info(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "model_info.json").write_text(text)
    return folder


def _nodes(folder: Path) -> Path:
    a_literal(folder / "node_0_0")
    a_literal(folder / "node_0_1")
    return folder


def _linked_away(folder: Path) -> Path:
    a_literal(folder)
    (folder / "param.bin").symlink_to("/etc/passwd")
    return folder


def _no_archive(file: Path) -> Path:
    file.write_text("no archive")
    return file


def _stale(folder: Path) -> Path:
    """Compiled from one model's source, beside another's: the converter ran again."""
    a_literal(folder)
    (folder / "kcore.bin").write_bytes(b"\x7fELF" + b"." * (1 << 20) + b'{"fingerprint": "' + b"a" * 64 + b'"}')
    (folder / "manifest.json").write_text(json.dumps({"fingerprint": "b" * 64}))
    return folder


def test_a_kernel_image_beside_its_own_source_is_taken(imports, tmp_path):
    folder = _stale(tmp_path / "given")
    (folder / "manifest.json").write_text(json.dumps({"fingerprint": "a" * 64}))

    assert imports.take_in(KcoreImport(path=str(folder))).name == "kcore"


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (_stale, "not compiled from the source beside it"),
        (_cut_off, "chip2/tile7/kcore_fw.bin is missing or empty"),
        (_undescribed, "kcore.bin or model_info.json is missing or empty"),
        (lambda place: _info(place, '{"chip_num": 4}'), "chip0/tile0/kcore_fw.bin is missing"),
        (lambda place: _info(place, '{"chip_num": 400}'), "no chip_num from 1 to 256"),
        (lambda place: _info(place, "[[[["), "model_info.json is not a JSON object"),
        (_nodes, "2 kernel images in it (node_0_0, node_0_1): give the path of one"),
        (lambda place: (place / "empty").mkdir(parents=True) or place, "no kernel image in it"),
        (_linked_away, "outside the folder"),
        (_no_archive, "not a complete .tar"),
        (lambda place: place, "cannot be read"),
    ],
    ids=["stale", "cut off", "empty", "no images", "chips", "no json", "two", "none", "link", "no archive", "nothing"],
)
def test_what_is_no_whole_kernel_image_is_refused(imports, tmp_path, made, told):
    place = made(tmp_path / "given")

    with pytest.raises(OrchestratorError) as refusal:
        imports.take_in(KcoreImport(path=str(place)))

    assert told in refusal.value.detail


def test_a_path_outside_the_allowed_roots_and_a_model_that_nobody_knows_are_refused(imports, tmp_path):
    node = str(a_literal(tmp_path / "node_0_0"))

    with pytest.raises(OrchestratorError) as outside:
        imports.take_in(KcoreImport(path="/etc"))
    with pytest.raises(OrchestratorError) as unknown:
        imports.take_in(KcoreImport(path=node, model="gone"))

    assert outside.value.field == "path"
    assert unknown.value.field == "model"
