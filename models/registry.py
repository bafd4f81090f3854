"""The registry ``models/registry.json``: which version is which bundle, and which one is in use.

It is what people and tools read. It follows from the decision log (``gates.state``), is written whole and has one byte
form, so that an edit by hand is noticed. Numbers with a fraction are decimal strings.
"""

import json
from pathlib import Path
from typing import Any

import msgspec

from core.errors import BadInput
from core.settings import Section, as_json, parse


class Entry(Section, frozen=True, kw_only=True):
    """One promoted version."""

    path: str  # of the bundle, relative to the registry's folder
    bundle_id: str
    onnx_sha256: str | None
    manifest_sha256: str
    data_hash: str
    hyperparameters_hash: str
    feature_spec_hash: str
    code_hash: str
    metrics: dict[str, str | None]  # by gate: the measured value
    metrics_sha256: str
    gates_sha256: str
    trials: int
    key_id: str
    deployed_at: str  # ISO 8601, UTC
    approved_default: bool = msgspec.field(default=False, name="APPROVED_DEFAULT")
    rolled_back_at: str | None = None
    rollback_reason: str | None = None


class Registry(Section, frozen=True, kw_only=True):
    """All versions by tag; ``active`` is the tag in use."""

    version: int = 1
    active: str | None = None
    models: dict[str, Entry] = msgspec.field(default_factory=dict)

    def tag_of(self, bundle_id: str) -> str | None:
        """The tag of a bundle, None if it was never promoted."""
        return next((tag for tag, entry in self.models.items() if entry.bundle_id == bundle_id), None)

    def next_tag(self) -> str:
        """The tag of the next new bundle: v1.0.0, v1.1.0, ..."""
        return f"v1.{len(self.models)}.0"


def registry_bytes(registry: Registry) -> bytes:
    """The one byte form: indented for readable diffs, keys sorted."""
    return (json.dumps(as_json(registry), indent=2, sort_keys=True) + "\n").encode()


def load_registry(path: Path | str) -> Registry:
    """Read ``path``; a missing file is an empty registry. Raises BadInput or BadConfig naming the file."""
    path = Path(path)
    try:
        fields: Any = msgspec.json.decode(path.read_bytes())
    except FileNotFoundError:
        return Registry()
    except (OSError, msgspec.DecodeError) as error:
        raise BadInput(f"{path}: not a registry ({error}); restore it with git") from None
    return parse(Registry, fields, where=str(path))
