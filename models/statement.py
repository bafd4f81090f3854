"""The statement: what was found about one bundle, signed. Without it no runner loads the bundle.

Two files beside the bundle: ``statement.json`` (canonical JSON) and ``statement.sig`` (64 bytes, Ed25519 over the JSON
with a domain prefix). The statement names the bundle's id and both files' hashes, the verdict with the gate table, the
hashes of the metrics and of the gate file, and how many trials were counted. Numbers with a fraction are decimal
strings.

A runner trusts the public keys it was given, ``<home>/trust/<key id>.pub``, and nothing else. How far a key is
trusted ("dev" or "release") is written in that file, so a development key cannot call itself anything better.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from core.canonical import canonical_json, sha256_hex
from core.errors import BadConfig, Refused
from core.settings import Section, as_json, parse
from models.bundle import MANIFEST, ONNX, Bundle, load_bundle

STATEMENT: Final = "statement.json"
SIGNATURE: Final = "statement.sig"
PASS: Final = "PASS"
_DOMAIN: Final = b"portcullis statement 1\n"  # a signature made for anything else can never be one of these

Trust = Literal["dev", "release"]


class GateResult(Section, frozen=True, kw_only=True):
    """One row of the gate table. ``bound`` says which of value, lower and upper was held against ``limit``."""

    value: str | None
    bound: str
    limit: str | None  # None: reported only
    n: int
    min_n: int
    result: str


class Statement(Section, frozen=True, kw_only=True):
    """What is signed. ``created`` is the only thing in it that differs between two honest runs of the same inputs."""

    version: int = 1
    bundle_id: str
    onnx_sha256: str | None
    manifest_sha256: str
    verdict: str
    profile: str
    gates: dict[str, GateResult]
    metrics_sha256: str
    gates_sha256: str
    trials: int
    created: str  # ISO 8601, UTC
    trust: Trust
    key_id: str


class PublicKey(Section, frozen=True, kw_only=True):
    """The content of a ``.pub`` file."""

    version: int = 1
    algorithm: Literal["ed25519"] = "ed25519"
    key: str  # 64 hexadecimal digits
    trust: Trust

    @property
    def id(self) -> str:
        """First 16 hexadecimal digits of the key's SHA-256: the name of its file."""
        return sha256_hex(bytes.fromhex(self.key))[:16]


def public_key(private: Ed25519PrivateKey, trust: Trust) -> PublicKey:
    """The public half of ``private``, to be trusted as ``trust``."""
    return PublicKey(key=private.public_key().public_bytes_raw().hex(), trust=trust)


def sign(statement: Statement, private: Ed25519PrivateKey) -> tuple[bytes, bytes]:
    """``statement.json`` and ``statement.sig``: canonical bytes and their signature."""
    data = canonical_json(as_json(statement))
    return data, private.sign(_DOMAIN + data)


def verify(data: bytes, signature: bytes, trusted: Mapping[str, PublicKey]) -> Statement:
    """The statement in ``data`` if one of ``trusted`` (by key id) signed exactly these bytes.

    Nothing of ``data`` is believed before a signature holds. Raises Refused otherwise, saying whether the key is
    unknown or the bytes were altered.
    """
    signer = next((key for key in trusted.values() if _signed_by(key, data, signature)), None)
    if signer is None:
        raise Refused(_why_unsigned(data, trusted))
    statement = parse(Statement, msgspec.json.decode(data), where=STATEMENT)
    if statement.key_id != signer.id:
        raise Refused(f"{STATEMENT}: signed by the key {signer.id} but names the key {statement.key_id}")
    if statement.trust != signer.trust:
        raise Refused(
            f"{STATEMENT}: claims trust {statement.trust!r}, but its key {signer.id} is trusted as {signer.trust!r}"
        )
    return statement


def read_trust(folder: Path | str) -> dict[str, PublicKey]:
    """The public keys ``folder/*.pub`` by key id. Raises BadConfig naming a file that is none or is misnamed."""
    keys = {}
    for path in sorted(Path(folder).glob("*.pub")):
        try:
            key = parse(PublicKey, msgspec.json.decode(path.read_bytes()), where=str(path))
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(key.key))
        except (ValueError, msgspec.DecodeError) as error:
            raise BadConfig(f"{path}: not a public key ({error}); export it again") from None
        if path.stem != key.id:
            raise BadConfig(f"{path}: holds the key {key.id}; a key's file is named by its id")
        keys[key.id] = key
    return keys


def verify_bundle(folder: Path | str, trust_folder: Path | str) -> tuple[Bundle, Statement]:
    """The bundle in ``folder`` (a symbolic link is followed once, at the start) and its statement, if all of it holds.

    Raises Refused for: no or an altered statement, a signature by a key not in ``trust_folder``, a verdict other than
    PASS, a statement about another bundle, an altered ``step.onnx`` or ``manifest.json``, a file that does not belong.
    """
    folder = Path(folder).resolve()
    trusted = read_trust(trust_folder)
    if not trusted:
        raise Refused(f"{trust_folder}: no trusted key (*.pub); `python -m gates keys export --to {trust_folder}`")
    try:
        statement = verify(_signed(folder / STATEMENT), _signed(folder / SIGNATURE), trusted)
    except Refused as refusal:
        raise Refused(f"{folder}: {refusal}") from None
    if statement.verdict != PASS:
        raise Refused(f"{folder}: its verdict is {statement.verdict}; only a bundle that passed its gates is loaded")
    if extra := {path.name for path in folder.iterdir()} - {ONNX, MANIFEST, STATEMENT, SIGNATURE}:
        raise Refused(f"{folder}: {', '.join(sorted(extra))} does not belong to a bundle; remove it")
    return _stated_bundle(folder, statement), statement


def _stated_bundle(folder: Path, statement: Statement) -> Bundle:
    bundle = load_bundle(folder, manifest_sha256=statement.manifest_sha256)
    if (bundle.id, bundle.onnx_sha256) != (statement.bundle_id, statement.onnx_sha256):
        raise Refused(f"{folder}: the statement is about the bundle {statement.bundle_id}, this is {bundle.id}")
    return bundle


def _signed(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Refused(f"{path.name} is missing ({error.strerror}): unsigned; promote the bundle") from None


def _signed_by(key: PublicKey, data: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key.key)).verify(signature, _DOMAIN + data)
    except InvalidSignature:
        return False
    return True


def _why_unsigned(data: bytes, trusted: Mapping[str, PublicKey]) -> str:
    """Only for the message: what the unverified bytes say about who signed them."""
    try:
        claimed = parse(Statement, msgspec.json.decode(data), where=STATEMENT).key_id
    except (msgspec.DecodeError, BadConfig, UnicodeDecodeError):
        return f"{STATEMENT} is altered: not a statement and not signed by a trusted key"
    if claimed in trusted:
        return f"{STATEMENT} or {SIGNATURE} is altered: the signature of key {claimed} does not hold"
    return f"signed by the unknown key {claimed}; trusted are {', '.join(sorted(trusted))}"
