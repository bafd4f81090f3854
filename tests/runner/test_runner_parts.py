"""Settings, clock, failpoints and the comparison of streams."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from core.errors import BadConfig, Refused
from core.records import DECISION, RECORD, Kind
from core.settings import Risk, Strategy, Trading
from models.bundle import Bundle
from runner.clock import Latency, Pacer, parse_speed
from runner.compare import Fault, first_difference
from runner.failpoints import Failpoints
from runner.feed import builtin_feed
from runner.plan import make_plan
from runner.settings import changed_keys, load_trading
from tests.runner.bundles import make_manifest, momentum_onnx

JUDGED = Trading(risk=Risk(asset_cap_ppm=123_456))


def test_without_a_file_the_judged_configuration_applies() -> None:
    assert load_trading(None, JUDGED) is JUDGED


def test_a_file_changes_only_the_keys_it_names(tmp_path: Path) -> None:
    (tmp_path / "runner.yaml").write_text("risk:\n  daily_stop_ppm: 7\naccount:\n  initial_cash: '5'\n")
    effective = load_trading(tmp_path / "runner.yaml", JUDGED)
    assert effective.risk.asset_cap_ppm == 123_456
    assert changed_keys(JUDGED, effective) == {
        "account.initial_cash": ("100000", "5"),
        "risk.daily_stop_ppm": (20_000, 7),
    }


def test_a_file_may_name_several_strategies_in_place_of_the_judged_one(tmp_path: Path) -> None:
    text = "strategies:\n  - {kind: sma, symbols: [BTCUSDT]}\n  - {kind: mm1, order_lots: 2, symbols: [ETHUSDT]}\n"
    (tmp_path / "runner.yaml").write_text(text)
    judged = msgspec.structs.replace(JUDGED, strategy=Strategy(kind="mean_revert", fast=7))
    effective = load_trading(tmp_path / "runner.yaml", judged)
    assert [(item.kind, item.order_lots, item.symbols) for item in effective.strategies] == [
        ("sma", 1, ("BTCUSDT",)),
        ("mm1", 2, ("ETHUSDT",)),
    ]
    assert set(changed_keys(judged, effective)) == {"strategies", "strategy.kind", "strategy.fast"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("strategies: {kind: sma}\n", "strategies: a list expected"),
        ("strategies:\n  - {kind: sma}\n", "missing required field `symbols`"),
        ("risk:\n  dayly_stop_ppm: 7\n", "dayly_stop_ppm"),
        ("rsk:\n  daily_stop_ppm: 7\n", "rsk: not a section"),
        ("risk: 5\n", "risk: not a section"),
        ("risk:\n  daily_stop_ppm: lots\n", "Expected `int`"),
        ("risk:\n  daily_stop_ppm: 7.5\n", "Expected `int`"),
        ("risk:\n  daily_stop_ppm: 7\n  daily_stop_ppm: 8\n", "given twice"),
        ("- risk\n", "sections expected"),
        ("risk: [\n", "not YAML"),
    ],
)
def test_a_bad_file_is_an_error_that_names_it(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "runner.yaml"
    path.write_text(text)
    with pytest.raises(BadConfig, match=message) as caught:
        load_trading(path, JUDGED)
    assert "runner.yaml" in str(caught.value)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="No such file"):
        load_trading(tmp_path / "none.yaml", JUDGED)


def test_pacing_keeps_market_time_behind_wall_time() -> None:
    now, slept = [100.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    pacer = Pacer(60.0, lambda: now[0], sleep)
    for ts_ns in (0, 60_000_000_000, 60_000_000_000, 180_000_000_000):
        pacer.wait(ts_ns)
    assert slept == [1.0, 2.0]
    assert parse_speed("max") is None
    assert parse_speed("60x") == 60.0
    for bad in ("fast", "0x", "-1x", "infx"):
        with pytest.raises(BadConfig, match="--speed"):
            parse_speed(bad)


def test_latency_quantiles() -> None:
    latency = Latency()
    assert latency.quantile_us(0.5) == 0.0
    durations = [(n * 7919) % 10**6 for n in range(1000)] + [10**12]
    for duration in durations:
        latency.add(duration)
    for fraction in (0.01, 0.5, 0.99, 1.0):
        exact = sorted(durations)[max(0, -int(-fraction * len(durations) // 1) - 1)] / 1000
        assert exact * (1 - 1 / 64) <= latency.quantile_us(fraction) <= exact


@pytest.mark.parametrize("text", ["nowhere", "after-commit:0", "after-commit:x"])
def test_an_unknown_failpoint_is_an_error(text: str) -> None:
    with pytest.raises(BadConfig, match="PORTCULLIS_FAILPOINT"):
        Failpoints.from_environment({"PORTCULLIS_FAILPOINT": text})


def test_a_failpoint_kills_this_process_at_its_count() -> None:
    code = (
        "from runner.failpoints import Failpoints\nf = Failpoints.from_environment()\n"
        "for n in range(5):\n    f.hit('after-commit'); f.hit('before-send'); print(n, flush=True)\n"
    )
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PORTCULLIS_FAILPOINT": "after-commit:3"}
    done = subprocess.run([sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "0\n1\n")
    Failpoints().hit("after-commit")  # unarmed: nothing


def decisions(n: int) -> np.ndarray:
    rows = np.zeros(n, DECISION)
    rows["kind"], rows["size_lots"] = Kind.DECISION, np.arange(n)
    return rows.view(RECORD)


def test_the_first_difference_is_named_with_its_class() -> None:
    expected = decisions(5)
    assert first_difference(expected, decisions(5), 10) is None
    changed = decisions(5)
    changed.view(DECISION)["size_lots"][3] = 77
    found = first_difference(expected, changed, 10)
    assert found is not None
    assert (found.record, found.kind, found.field, found.expected, found.actual, found.fault) == (
        13,
        "DECISION",
        "size_lots",
        "3",
        "77",
        Fault.VALUE,
    )
    other_kind = decisions(5)
    other_kind["kind"][1] = Kind.RISK
    assert str(first_difference(expected, other_kind, 0)).startswith("record 1 (DECISION) kind: expected DECISION")
    assert first_difference(expected, expected[[0, 2, 1, 3, 4]], 0).fault is Fault.REORDERED
    assert first_difference(expected, expected[:4], 0).fault is Fault.MISSING
    assert first_difference(expected[:4], expected, 0).fault is Fault.UNEXPECTED


def test_features_of_another_kernel_are_refused() -> None:
    onnx_bytes = momentum_onnx()
    manifest = make_manifest(onnx_bytes)
    feed = builtin_feed(1, 1, 1.0, 50_000_000)
    for changes, message in (
        ({"feature_spec": manifest.feature_spec | {"kernel_version": 0}}, "differs from this program's kernel"),
        ({"feature_spec_hash": "ab" * 32}, "the manifest says abab"),
    ):
        bundle = Bundle("id", msgspec.structs.replace(manifest, **changes), b"", onnx_bytes)
        with pytest.raises(Refused, match=message):
            make_plan(bundle, feed, manifest.trading)
