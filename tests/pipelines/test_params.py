"""params.yaml: parsed whole, every mistake named."""

from pathlib import Path

import pytest

from core.errors import BadConfig
from pipelines.params import load, read_yaml

PARAMS = Path(__file__).parents[2] / "params.yaml"


def altered(folder: Path, old: str, new: str) -> Path:
    text = PARAMS.read_text()
    assert text.count(old) >= 1, old
    path = folder / "params.yaml"
    path.write_text(text.replace(old, new, 1))
    return path


def test_the_checkout_s_parameters_load() -> None:
    params = load(PARAMS)
    assert params.trading.risk is params.risk
    assert params.model.kind == "lstm"


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("seed: 7", "sed: 7", "sed"),
        ("  hidden: ", "  hiden: ", "hiden"),
        ("  asset_cap_ppm: ", "  asset_cap: ", "asset_cap"),
        ("  epochs: ", "  epochs: '6' #", "epochs"),
        ("seed: 7", "seed: 7\nseed: 8", "seed"),
        ("  max_orders_per_hour: 60", "  max_orders_per_hour: 60\n  max_orders_per_hour: 61", "max_orders_per_hour"),
        ("  asset_cap_ppm: 400000", "  asset_cap_ppm: 400_000", "asset_cap_ppm"),
        ("  order_ttl_ns: 900000000000", "  order_ttl_ns: 15:00", "order_ttl_ns"),
        ("  max_orders_per_hour: 60", "  max_orders_per_hour: 060", "max_orders_per_hour"),
        ("  max_orders_per_hour: 60", "  max_orders_per_hour: 0x3c", "max_orders_per_hour"),
        ("  learning_rate: ", "  learning_rate: fast #", "learning_rate"),
        ("  kind: lstm", "  kind: oracle", "oracle"),
        ("workers: 2", "workers: 0", "workers"),
        ("seed: 7", "seed: -1", "seed"),
        ("model:", "model: [", "params.yaml"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, old: str, new: str, named: str) -> None:
    with pytest.raises(BadConfig, match=named):
        load(altered(tmp_path, old, new))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match=r"nowhere\.yaml"):
        load(tmp_path / "nowhere.yaml")


def test_words_stay_words(tmp_path: Path) -> None:
    path = tmp_path / "plain.yaml"
    path.write_text("a: no\nb: 1e3\nc: true\nd: null\ne: -4\nf: 2001-01-01\n")
    assert read_yaml(path) == {"a": "no", "b": "1e3", "c": True, "d": None, "e": -4, "f": "2001-01-01"}


def test_the_hash_covers_everything_but_the_worker_count(tmp_path: Path) -> None:
    base = load(PARAMS).params_hash
    assert load(altered(tmp_path, "workers: 2", "workers: 5")).params_hash == base
    assert load(altered(tmp_path, "seed: 7", "seed: 8")).params_hash != base
    assert load(altered(tmp_path, "  sigma_target_ppm: ", "  sigma_target_ppm: 1")).params_hash != base
