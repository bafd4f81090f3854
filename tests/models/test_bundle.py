"""Bundles: what is loaded is what was written, and nothing else loads."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.canonical import sha256_hex
from core.errors import BadConfig, BadInput, BrokenInvariant, Refused
from models import atomic
from models.bundle import MANIFEST, ONNX, load_bundle, write_bundle
from models.manifest import bundle_id, manifest_bytes
from tests.gates.checkout import manifest

DATA = b"onnx bytes"


def test_what_was_written_is_loaded(tmp_path: Path) -> None:
    identity = write_bundle(tmp_path / "b", DATA, manifest(DATA))
    bundle = load_bundle(tmp_path / "b")
    assert bundle.id == identity == bundle_id(sha256_hex(DATA), sha256_hex(manifest_bytes(manifest(DATA))))
    assert bundle.manifest == manifest(DATA) and bundle.onnx_bytes == DATA
    assert {path.name for path in (tmp_path / "b").iterdir()} == {ONNX, MANIFEST}


def test_a_rule_strategy_has_no_onnx(tmp_path: Path) -> None:
    identity = write_bundle(tmp_path, None, manifest(None))
    bundle = load_bundle(tmp_path)
    assert bundle.id == identity and bundle.onnx_bytes is None and bundle.onnx_sha256 is None
    (tmp_path / ONNX).write_bytes(DATA)
    with pytest.raises(Refused, match=r"step\.onnx.*rule strategy"):
        load_bundle(tmp_path)


def test_the_id_depends_on_both_files_only(tmp_path: Path) -> None:
    one = write_bundle(tmp_path / "one", DATA, manifest(DATA))
    assert write_bundle(tmp_path / "elsewhere", DATA, manifest(DATA)) == one
    assert write_bundle(tmp_path / "two", DATA, manifest(DATA, params_hash="e" * 64)) != one
    assert write_bundle(tmp_path / "three", b"other", manifest(b"other", params_hash=manifest(DATA).params_hash)) != one


def test_a_manifest_about_other_bytes_is_not_written(tmp_path: Path) -> None:
    for onnx, described in ((b"other", DATA), (None, DATA), (DATA, None)):
        with pytest.raises(BrokenInvariant, match="hash"):
            write_bundle(tmp_path / "b", onnx, manifest(described))
    assert not (tmp_path / "b").exists()


def test_writing_keeps_what_else_lies_there(tmp_path: Path) -> None:
    (tmp_path / "fold.tape").write_bytes(b"tape")
    write_bundle(tmp_path, DATA, manifest(DATA))
    write_bundle(tmp_path, None, manifest(None))
    assert {path.name for path in tmp_path.iterdir()} == {"fold.tape", MANIFEST}
    assert load_bundle(tmp_path).manifest.strategy == "sma"


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_flipped_bit_is_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """With the manifest's hash known (from the statement) no change of either file loads."""
    folder = tmp_path_factory.mktemp("bundle")
    write_bundle(folder, DATA, manifest(DATA))
    known = load_bundle(folder).manifest_sha256
    path = folder / data.draw(st.sampled_from([ONNX, MANIFEST]))
    content = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    with pytest.raises(Refused, match=path.name) as caught:
        load_bundle(folder, manifest_sha256=known)
    assert "expected" in str(caught.value) and sha256_hex(bytes(content)) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"version": 1}', b"\xff", b'{"a":1.5}', b'{"a":NaN}'])
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    write_bundle(tmp_path, DATA, manifest(DATA))
    (tmp_path / MANIFEST).write_bytes(content)
    with pytest.raises((Refused, BadConfig), match=r"manifest\.json"):
        load_bundle(tmp_path)


def test_another_spelling_of_the_same_manifest_is_refused(tmp_path: Path) -> None:
    write_bundle(tmp_path, DATA, manifest(DATA))
    fields = msgspec.json.decode((tmp_path / MANIFEST).read_bytes())
    (tmp_path / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(fields)))
    with pytest.raises(Refused, match="altered"):
        load_bundle(tmp_path)


@pytest.mark.parametrize("name", [ONNX, MANIFEST])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    write_bundle(tmp_path, DATA, manifest(DATA))
    (tmp_path / name).unlink()
    with pytest.raises(BadInput, match=name):
        load_bundle(tmp_path)


@pytest.mark.parametrize("fails_at", [1, 2])
def test_a_crash_while_replacing_leaves_no_loadable_mixture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    write_bundle(tmp_path, DATA, manifest(DATA))
    done = 0
    rename = atomic.rename

    def crash(source: Path, target: Path) -> None:
        nonlocal done
        done += 1
        if done == fails_at:
            raise OSError("crash")
        rename(source, target)

    monkeypatch.setattr(atomic, "rename", crash)
    with pytest.raises(OSError, match="crash"):
        write_bundle(tmp_path, b"new", manifest(b"new"))
    with pytest.raises(BadInput, match="manifest"):
        load_bundle(tmp_path)
    assert not list(tmp_path.glob(".*"))
    monkeypatch.undo()
    write_bundle(tmp_path, b"new", manifest(b"new"))
    assert load_bundle(tmp_path).onnx_bytes == b"new"
