"""Statements: only a trusted key's signature over exactly these bytes makes a bundle loadable."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from core.canonical import canonical_json, sha256_hex
from core.errors import BadConfig, BadInput, Refused
from core.settings import as_json
from models.bundle import MANIFEST, ONNX, load_bundle, write_bundle
from models.statement import (
    SIGNATURE,
    STATEMENT,
    GateResult,
    PublicKey,
    Statement,
    Trust,
    public_key,
    read_trust,
    sign,
    verify,
    verify_bundle,
)
from tests.gates.checkout import NOW, manifest

DATA = b"onnx bytes"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))


def trust(folder: Path, key: PublicKey, name: str | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name or key.id}.pub").write_bytes(canonical_json(as_json(key)))
    return folder


def stated(folder: Path, onnx: bytes | None = DATA, key: Ed25519PrivateKey = KEY, **changes: object) -> Statement:
    """Write a bundle with a statement; ``changes`` are made before signing."""
    write_bundle(folder, onnx, manifest(onnx))
    bundle = load_bundle(folder)
    fields = {
        "bundle_id": bundle.id,
        "onnx_sha256": bundle.onnx_sha256,
        "manifest_sha256": bundle.manifest_sha256,
        "verdict": "PASS",
        "profile": "bar_model",
        "gates": {"x_min": GateResult(value="0.5", bound="lower", limit="0.0", n=9, min_n=5, result="PASS")},
        "metrics_sha256": "a" * 64,
        "gates_sha256": "b" * 64,
        "trials": 3,
        "created": NOW,
        "trust": "dev",
        "key_id": public_key(key, "dev").id,
    }
    statement = Statement(**{**fields, **changes})
    for name, content in zip((STATEMENT, SIGNATURE), sign(statement, key), strict=True):
        (folder / name).write_bytes(content)
    return statement


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return trust(tmp_path / "trust", public_key(KEY, "dev"))


@pytest.mark.parametrize("onnx", [DATA, None])
def test_a_signed_bundle_loads(tmp_path: Path, home: Path, onnx: bytes | None) -> None:
    statement = stated(tmp_path / "b", onnx)
    bundle, read = verify_bundle(tmp_path / "b", home)
    assert read == statement and bundle == load_bundle(tmp_path / "b") and bundle.onnx_bytes == onnx
    (tmp_path / "promoted").symlink_to("b")
    assert verify_bundle(tmp_path / "promoted", home) == (bundle, read)


def test_the_form_is_pinned() -> None:
    """Changing how statements are written or signed would make every signed bundle unloadable."""
    statement = Statement(
        bundle_id="1", onnx_sha256=None, manifest_sha256="2", verdict="PASS", profile="p", gates={}, metrics_sha256="3",
        gates_sha256="4", trials=1, created=NOW, trust="dev", key_id="5",
    )  # fmt: skip
    data, signature = sign(statement, KEY)
    assert sha256_hex(data)[:16] == "ec96bd515f3c0dbf"
    assert signature.hex()[:16] == "6bc35add745ae752"
    assert public_key(KEY, "dev").id == "56475aa75463474c"


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_flipped_bit_of_any_file_is_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("bundle")
    home = trust(tmp_path_factory.mktemp("trust"), public_key(KEY, "dev"))
    stated(folder)
    path = folder / data.draw(st.sampled_from([ONNX, MANIFEST, STATEMENT, SIGNATURE]))
    content = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    with pytest.raises(Refused):
        verify_bundle(folder, home)


@pytest.mark.parametrize("name", [ONNX, MANIFEST, STATEMENT, SIGNATURE])
def test_a_truncated_extended_or_missing_file_is_refused(tmp_path: Path, home: Path, name: str) -> None:
    stated(tmp_path / "b")
    path = tmp_path / "b" / name
    content = path.read_bytes()
    for other in (content[:-1], content + b"\n", b""):
        path.write_bytes(other)
        with pytest.raises(Refused):
            verify_bundle(tmp_path / "b", home)
    path.unlink()
    with pytest.raises((Refused, BadInput), match=name):
        verify_bundle(tmp_path / "b", home)


def test_a_valid_signature_by_an_unknown_key_is_refused(tmp_path: Path, home: Path) -> None:
    stated(tmp_path / "b", key=STRANGER)
    with pytest.raises(Refused, match=f"unknown key {public_key(STRANGER, 'dev').id}"):
        verify_bundle(tmp_path / "b", home)
    trust(home, public_key(STRANGER, "dev"))
    assert verify_bundle(tmp_path / "b", home)[1].key_id == public_key(STRANGER, "dev").id


def test_a_trusted_key_cannot_speak_in_anothers_name(tmp_path: Path, home: Path) -> None:
    trust(home, public_key(STRANGER, "release"))
    stated(tmp_path / "b", key_id=public_key(STRANGER, "release").id)
    with pytest.raises(Refused, match="names the key"):
        verify_bundle(tmp_path / "b", home)


@pytest.mark.parametrize(("claimed", "trusted"), [("release", "dev"), ("dev", "release")])
def test_a_key_is_trusted_only_as_the_trust_folder_says(tmp_path: Path, claimed: Trust, trusted: Trust) -> None:
    stated(tmp_path / "b", trust=claimed)
    home = trust(tmp_path / "home", public_key(KEY, trusted))
    with pytest.raises(Refused, match=f"claims trust '{claimed}'"):
        verify_bundle(tmp_path / "b", home)


@pytest.mark.parametrize("verdict", ["FAIL", "INSUFFICIENT", "ERROR", "pass", ""])
def test_only_a_pass_loads(tmp_path: Path, home: Path, verdict: str) -> None:
    stated(tmp_path / "b", verdict=verdict)
    with pytest.raises(Refused, match="verdict"):
        verify_bundle(tmp_path / "b", home)


def test_a_statement_about_another_bundle_is_refused(tmp_path: Path, home: Path) -> None:
    stated(tmp_path / "a")
    stated(tmp_path / "b", b"other")
    for name in (STATEMENT, SIGNATURE):
        (tmp_path / "b" / name).write_bytes((tmp_path / "a" / name).read_bytes())
    with pytest.raises(Refused, match=r"manifest\.json: altered"):
        verify_bundle(tmp_path / "b", home)
    stated(tmp_path / "c", bundle_id="0" * 64)
    with pytest.raises(Refused, match="about the bundle 000"):
        verify_bundle(tmp_path / "c", home)


def test_unsigned_untrusting_and_crowded_folders_are_refused(tmp_path: Path, home: Path) -> None:
    write_bundle(tmp_path / "b", DATA, manifest(DATA))
    with pytest.raises(Refused, match="unsigned"):
        verify_bundle(tmp_path / "b", home)
    stated(tmp_path / "b")
    with pytest.raises(Refused, match="no trusted key"):
        verify_bundle(tmp_path / "b", tmp_path / "nowhere")
    (tmp_path / "b" / "step.onnx.data").write_bytes(b"weights from elsewhere")
    with pytest.raises(Refused, match=r"step\.onnx\.data does not belong"):
        verify_bundle(tmp_path / "b", home)


def test_a_pointer_that_moves_meanwhile_never_mixes_two_bundles(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stated(tmp_path / "a")
    stated(tmp_path / "b", b"other")
    pointer = tmp_path / "promoted"
    pointer.symlink_to("a")

    def then_moved(*arguments: Any) -> Statement:
        found = verify(*arguments)
        pointer.unlink()
        pointer.symlink_to("b")
        return found

    monkeypatch.setattr("models.statement.verify", then_moved)
    bundle, statement = verify_bundle(pointer, home)
    assert bundle.onnx_bytes == DATA and statement.bundle_id == bundle.id


def test_a_signature_over_the_bare_statement_is_no_signature(tmp_path: Path, home: Path) -> None:
    stated(tmp_path / "b")
    (tmp_path / "b" / SIGNATURE).write_bytes(KEY.sign((tmp_path / "b" / STATEMENT).read_bytes()))
    with pytest.raises(Refused, match="does not hold"):
        verify_bundle(tmp_path / "b", home)


def test_unusable_public_keys_are_named(tmp_path: Path) -> None:
    good = public_key(KEY, "dev")
    with pytest.raises(BadConfig, match=f"ab.*{good.id}"):
        read_trust(trust(tmp_path / "misnamed", good, name="ab"))
    for number, content in enumerate((b"", b"{}", b'{"key":"zz","trust":"dev"}', b'{"key":"00","trust":"dev"}')):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "ab.pub").write_bytes(content)
        with pytest.raises(BadConfig, match=r"ab\.pub"):
            read_trust(folder)
    assert read_trust(tmp_path / "nowhere") == {}


def test_a_signed_statement_of_another_shape_is_refused(tmp_path: Path, home: Path) -> None:
    """A later version's statement is not half understood."""
    stated(tmp_path / "b")
    fields = msgspec.json.decode((tmp_path / "b" / STATEMENT).read_bytes()) | {"waiver": "all"}
    data = canonical_json(fields)
    (tmp_path / "b" / STATEMENT).write_bytes(data)
    (tmp_path / "b" / SIGNATURE).write_bytes(KEY.sign(b"portcullis statement 1\n" + data))
    with pytest.raises(BadConfig, match="waiver"):
        verify_bundle(tmp_path / "b", home)
