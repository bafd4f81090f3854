"""The registry's one byte form, its tags and its damage reports."""

import json
from pathlib import Path

import pytest

from core.errors import BadConfig, BadInput
from models.registry import Entry, Registry, load_registry, registry_bytes


def entry(name: str) -> Entry:
    return Entry(
        path=f"store/{name}", bundle_id=name, onnx_sha256="o", manifest_sha256="m", data_hash="d",
        hyperparameters_hash="p", feature_spec_hash="f", code_hash="c", metrics={"x_min": "0.5"}, metrics_sha256="s",
        gates_sha256="g", trials=1, key_id="k", deployed_at="2026-01-01T00:00:00+00:00",
    )  # fmt: skip


def test_what_was_written_is_read(tmp_path: Path) -> None:
    registry = Registry(active="v1.0.0", models={"v1.0.0": entry("a")})
    (tmp_path / "registry.json").write_bytes(registry_bytes(registry))
    assert load_registry(tmp_path / "registry.json") == registry
    assert load_registry(tmp_path / "missing.json") == Registry()
    data = json.loads(registry_bytes(registry))
    assert data["models"]["v1.0.0"]["APPROVED_DEFAULT"] is False
    assert list(data) == sorted(data)


def test_tags_count_up_and_are_found_by_bundle() -> None:
    registry = Registry()
    tags = []
    for name in "abc":
        tags.append(registry.next_tag())
        registry = Registry(models=registry.models | {tags[-1]: entry(name)})
    assert tags == ["v1.0.0", "v1.1.0", "v1.2.0"]
    assert registry.tag_of("b") == "v1.1.0" and registry.tag_of("z") is None


@pytest.mark.parametrize(
    ("content", "error"), [("", BadInput), ("[]", BadConfig), ('{"live": "v1"}', BadConfig), ("{", BadInput)]
)
def test_what_is_no_registry_is_named(tmp_path: Path, content: str, error: type[Exception]) -> None:
    (tmp_path / "registry.json").write_text(content)
    with pytest.raises(error, match=r"registry\.json"):
        load_registry(tmp_path / "registry.json")
