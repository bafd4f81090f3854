"""The bundle: ``step.onnx`` and ``manifest.json`` in a folder, known by a hash over both.

A rule strategy's bundle has no ``step.onnx``. The manifest names the ONNX file's hash and is written last, so a folder
without a manifest is no bundle and a half-written one cannot be loaded. Files are read once: the bytes that were
hashed are the bytes that are returned.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from core.canonical import canonical_json, sha256_hex
from core.errors import BadInput, Refused, require
from models.atomic import write_atomic
from models.manifest import Manifest, bundle_id, manifest_bytes, manifest_from

ONNX: Final = "step.onnx"
MANIFEST: Final = "manifest.json"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A loaded bundle; ``onnx_bytes`` is None for a rule strategy."""

    id: str
    manifest: Manifest
    manifest_bytes: bytes
    onnx_bytes: bytes | None

    @property
    def manifest_sha256(self) -> str:
        """Hash of ``manifest.json``."""
        return sha256_hex(self.manifest_bytes)

    @property
    def onnx_sha256(self) -> str | None:
        """Hash of ``step.onnx``; None for a rule strategy."""
        return None if self.onnx_bytes is None else sha256_hex(self.onnx_bytes)


def write_bundle(folder: Path | str, onnx_bytes: bytes | None, manifest: Manifest) -> str:
    """Write a bundle into ``folder`` and return its id. Other files there stay; an earlier bundle is replaced.

    The old manifest goes first and the new one comes last: at no instant does a mixture of two bundles load.
    Raises BrokenInvariant if the manifest does not describe ``onnx_bytes``.
    """
    folder = Path(folder)
    stated = manifest.model.onnx_sha256 if manifest.model else None
    found = sha256_hex(onnx_bytes) if onnx_bytes is not None else None
    require(stated == found, f"{folder}: the manifest names the ONNX hash {stated}, the bytes hash to {found}")
    (folder / MANIFEST).unlink(missing_ok=True)
    if onnx_bytes is None:
        (folder / ONNX).unlink(missing_ok=True)
    else:
        write_atomic(folder / ONNX, onnx_bytes)
    data = manifest_bytes(manifest)
    write_atomic(folder / MANIFEST, data)
    return bundle_id(found, sha256_hex(data))


def load_bundle(folder: Path | str, *, manifest_sha256: str | None = None) -> Bundle:
    """Read and check the bundle in ``folder``; with ``manifest_sha256`` refuse any other manifest before parsing it.

    Raises BadInput if a file is missing, Refused naming the file and both hashes if something was altered.
    """
    folder = Path(folder)
    data = _read(folder / MANIFEST)
    found = sha256_hex(data)
    if manifest_sha256 not in (None, found):
        raise Refused(f"{folder / MANIFEST}: altered: hash {manifest_sha256} expected, {found} found")
    manifest = _parse_manifest(folder / MANIFEST, data)
    onnx = _read_onnx(folder / ONNX, manifest)
    identity = bundle_id(manifest.model.onnx_sha256 if manifest.model else None, found)
    return Bundle(id=identity, manifest=manifest, manifest_bytes=data, onnx_bytes=onnx)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}); `dvc repro calibrate` makes a bundle") from None


def _parse_manifest(path: Path, data: bytes) -> Manifest:
    try:
        fields: Any = msgspec.json.decode(data)
        canonical = canonical_json(fields)
    except (msgspec.DecodeError, TypeError, UnicodeDecodeError) as error:
        raise Refused(f"{path}: altered: not canonical JSON ({error}); hash {sha256_hex(data)} found") from None
    if canonical != data:
        raise Refused(f"{path}: altered: hash {sha256_hex(canonical)} expected of its JSON, {sha256_hex(data)} found")
    return manifest_from(fields, where=str(path))


def _read_onnx(path: Path, manifest: Manifest) -> bytes | None:
    if manifest.model is None:
        if path.exists():
            raise Refused(f"{path}: the manifest describes a rule strategy, which has no ONNX file; remove the bundle")
        return None
    data = _read(path)
    if (found := sha256_hex(data)) != manifest.model.onnx_sha256:
        raise Refused(f"{path}: altered: hash {manifest.model.onnx_sha256} expected, {found} found")
    return data
