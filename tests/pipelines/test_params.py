"""params.yaml: parsed whole, every mistake named."""

import re
from pathlib import Path

import pytest

from core.errors import BadConfig
from pipelines.params import load, read_yaml

PARAMS = Path(__file__).parents[2] / "params.yaml"


def altered(folder: Path, key: str, line: str) -> Path:
    """The checkout's params.yaml with the first line that gives ``key`` replaced; ``line`` keeps its indentation."""
    text, count = re.subn(rf"^( *){key}:.*$", lambda found: found[1] + line, PARAMS.read_text(), count=1, flags=re.M)
    assert count == 1, f"params.yaml has no key {key}"
    path = folder / "params.yaml"
    path.write_text(text)
    return path


def test_the_checkout_s_parameters_load() -> None:
    params = load(PARAMS)
    assert params.trading.risk is params.risk
    assert params.model.kind == "lstm"


@pytest.mark.parametrize(
    ("key", "line", "named"),
    [
        ("seed", "sed: 7", "sed"),
        ("hidden", "hiden: 32", "hiden"),
        ("asset_cap_ppm", "asset_cap: 400000", "asset_cap"),
        ("epochs", "epochs: '6'", "epochs"),
        ("seed", "seed: 7\nseed: 8", r"params\.yaml: line 4: the key 'seed' is given twice"),
        ("max_orders_per_hour", "max_orders_per_hour: 60\n  max_orders_per_hour: 61", "'max_orders_per_hour' is given"),
        ("asset_cap_ppm", "asset_cap_ppm: 400_000", "asset_cap_ppm"),
        ("order_ttl_ns", "order_ttl_ns: 15:00", "order_ttl_ns"),
        ("max_orders_per_hour", "max_orders_per_hour: 060", "max_orders_per_hour"),
        ("max_orders_per_hour", "max_orders_per_hour: 0x3c", "max_orders_per_hour"),
        ("learning_rate", "learning_rate: fast", "learning_rate"),
        ("kind", "kind: oracle", "oracle"),
        ("workers", "workers: 0", "workers"),
        ("seed", "seed: -1", "seed"),
        ("model", "model: [", r"params\.yaml"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, key: str, line: str, named: str) -> None:
    with pytest.raises(BadConfig, match=named):
        load(altered(tmp_path, key, line))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match=r"nowhere\.yaml"):
        load(tmp_path / "nowhere.yaml")


def test_words_stay_words(tmp_path: Path) -> None:
    path = tmp_path / "plain.yaml"
    path.write_text("a: no\nb: 1e3\nc: true\nd: null\ne: -4\nf: 2001-01-01\n")
    assert read_yaml(path) == {"a": "no", "b": "1e3", "c": True, "d": None, "e": -4, "f": "2001-01-01"}


def test_the_hash_covers_everything_but_the_worker_count(tmp_path: Path) -> None:
    base = load(PARAMS).params_hash
    assert load(altered(tmp_path, "workers", "workers: 5")).params_hash == base
    assert load(altered(tmp_path, "seed", "seed: 70")).params_hash != base
    assert load(altered(tmp_path, "cooldown_ns", "cooldown_ns: 123")).params_hash != base
