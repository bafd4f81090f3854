"""/metrics: the names that are fixed are there, the others keep Prometheus's rules, and values follow the session."""

import json
import re
import shutil
import subprocess
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from core.engine import new_state
from core.records import Kind, RiskState
from runner.clock import Latency
from runner.ops.conditions import Conditions
from runner.ops.events import OrderEnd, Problem, parse_line
from runner.ops.health import Health
from runner.ops.metrics import Metrics
from runner.ops.narrate import Narrator
from runner.ops.web import Web
from runner.plan import header_core
from tests.runner import watched

FIXED = {"event_lag_ms", "queue_depth", "p50_infer_ms", "p90_infer_ms", "p99_infer_ms", "drops", "risk_halted"}
UNITS_THAT_ARE_NOT_BASE = re.compile(r"_(ms|us|ns|milliseconds|minutes|hours|percent|kb|mb)(_|$)")


@pytest.fixture
def metrics(header: dict, logged: watched.Session, records: np.ndarray) -> Metrics:
    """The metrics of a whole session, with an account and latencies."""
    made = Metrics(header, "watched")
    state = new_state(header_core(header)[0])
    made.live.state = lambda: state
    latency = Latency()
    for duration_ns in (10_000, 20_000, 3_000_000):
        latency.add(duration_ns)
    made.live.latency = {"model": latency, "total": latency}
    made.live.queues["watch"] = lambda: 3
    made.live.drops["watch"] = lambda: 5
    made.live.alerts = lambda: {("drawdown", "warn"): 1}
    made.on_commit(240_000)
    made.on_records(records["kind"])
    for line in logged.lines:
        made.on_event(parse_line(line))
    return made


def samples(metrics: Metrics) -> dict[tuple[str, frozenset], float]:
    text = generate_latest(metrics.registry).decode()
    return {
        (item.name, frozenset(item.labels.items())): item.value
        for family in text_string_to_metric_families(text)
        for item in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return samples(metrics)[name, frozenset({"mode": "paper", **labels}.items())]


def test_names_labels_and_types_keep_the_rules(metrics: Metrics, header: dict) -> None:
    """OBS-05, OBS-06: the fixed families are there; every sample has its mode; types, units and help are right."""
    narrator = Narrator(header, "r", [0, 0, 0])
    for event in narrator.tell(0, np.concatenate([watched.refused("CASH", 2, 1), watched.risk("DRAWDOWN_HALT", 2)])):
        metrics.on_event(event)
    families = list(text_string_to_metric_families(generate_latest(metrics.registry).decode()))
    names = [family.name for family in families]
    assert len(names) == len(set(names)) and set(names) >= FIXED
    for family in families:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", family.name), family.name
        assert family.documentation.endswith("."), f"{family.name}: help is a sentence"
        assert family.samples, f"{family.name}: no sample"
        assert family.type in ("counter", "gauge", "histogram"), family.name
        for item in family.samples:
            assert item.labels.get("mode") == "paper", f"{item.name} without its mode"
            assert all(re.fullmatch(r"[a-z][a-z_]*", label) for label in item.labels)
            assert item.name.endswith("_total") == (family.type == "counter"), item.name
        if family.name not in FIXED:
            assert family.name.startswith("portcullis_"), family.name
            assert not UNITS_THAT_ARE_NOT_BASE.search(family.name), family.name
    for needed in ("errors", "no_trade", "exposure", "realised_pnl", "unrealised_pnl", "stage_seconds",
                   "journal_commit_seconds", "equity", "drawdown_ratio", "open_orders", "risk_state"):  # fmt: skip
        assert f"portcullis_{needed}" in names
    assert list(parse_openmetrics(generate_openmetrics(metrics.registry).decode()))


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
def test_promtool_finds_nothing_but_the_fixed_names(metrics: Metrics) -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=generate_latest(metrics.registry), capture_output=True, check=False
    )
    found = [line for line in (done.stdout + done.stderr).decode().splitlines() if line]
    assert [line for line in found if line.split()[0] not in FIXED] == []


def test_counts_are_the_sessions(metrics: Metrics, records: np.ndarray) -> None:
    kinds = records["kind"]
    assert value(metrics, "portcullis_records_total", kind="BAR") == (kinds == Kind.BAR).sum()
    fills = sum(value(metrics, "portcullis_fills_total", side=side) for side in ("BUY", "SELL"))
    assert fills == (kinds == Kind.FILL).sum()
    decided = sum(v for (name, _), v in samples(metrics).items() if name == "portcullis_decisions_total")
    assert decided == (kinds == Kind.DECISION).sum()
    without = sum(v for (name, _), v in samples(metrics).items() if name == "portcullis_no_trade_total")
    assert 0 < without < value(metrics, "portcullis_cycles_total")


def test_values_follow_load_drops_halt_and_errors(metrics: Metrics) -> None:
    assert value(metrics, "queue_depth", queue="watch") == 3 and value(metrics, "drops", queue="watch") == 5
    metrics.live.queues["watch"] = lambda: 900
    metrics.live.drops["watch"] = lambda: 12
    metrics.live.lag_ms = lambda: 51.5
    assert value(metrics, "queue_depth", queue="watch") == 900 and value(metrics, "drops", queue="watch") == 12
    assert value(metrics, "event_lag_ms") == 51.5
    state = metrics.live.state()
    for risk, halted in ((RiskState.CAUTION, 0), (RiskState.HALT, 1), (RiskState.FLATTEN, 1)):
        state["risk"]["state"] = risk
        assert value(metrics, "risk_halted") == halted and value(metrics, "portcullis_risk_state") == risk
    assert value(metrics, "portcullis_errors_total", kind="venue_reject") == 0
    end = {"mode": "paper", "run": "r", "record": 1, "market_ns": 1, "order_id": 1, "pair": "A", "reason_code": "X"}
    metrics.on_event(OrderEnd(state="REJECTED", **end))
    metrics.on_event(Problem(mode="paper", run="r", what="a", detail="b"))
    metrics.on_lost_lines(4)
    for kind, count in (("venue_reject", 1), ("problem", 1), ("log_line", 4)):
        assert value(metrics, "portcullis_errors_total", kind=kind) == count


def test_account_is_in_quote(metrics: Metrics, header: dict) -> None:
    state = metrics.live.state()
    unit = float(header["instruments"][0]["quote_unit"])
    symbol = header["instruments"][1]["symbol"]
    state["account"]["equity"], state["risk"]["peak_equity"] = round(95 / unit), round(100 / unit)
    state["positions"]["value"][0, 1], state["positions"]["cost"][0, 1] = round(-30 / unit), round(-33 / unit)
    state["positions"]["realised"][0, 1] = round(-7 / unit)
    state["orders"]["live"][0, 1] = 2
    assert value(metrics, "portcullis_equity") == pytest.approx(95)
    assert value(metrics, "portcullis_drawdown_ratio") == pytest.approx(0.05)
    assert value(metrics, "portcullis_exposure", symbol=symbol) == pytest.approx(30)
    assert value(metrics, "portcullis_unrealised_pnl", symbol=symbol) == pytest.approx(3)
    assert value(metrics, "portcullis_realised_pnl", symbol=symbol) == pytest.approx(-7)
    assert value(metrics, "portcullis_open_orders", symbol=symbol) == 2


def test_latencies_are_the_histograms(metrics: Metrics) -> None:
    assert value(metrics, "portcullis_stage_seconds_count", stage="total") == 3
    assert value(metrics, "portcullis_stage_seconds_bucket", stage="total", le="2.5e-05") == 2
    assert value(metrics, "portcullis_stage_seconds_bucket", stage="total", le="0.0025") == 2
    assert value(metrics, "portcullis_stage_seconds_bucket", stage="total", le="+Inf") == 3
    assert value(metrics, "portcullis_stage_seconds_sum", stage="total") == pytest.approx(0.00303, rel=0.02)
    assert value(metrics, "p50_infer_ms") == pytest.approx(0.02, rel=0.02)
    assert value(metrics, "p99_infer_ms") == pytest.approx(3, rel=0.02)
    assert value(metrics, "portcullis_journal_commit_seconds_count") == 1


def test_bins_hold_what_was_added() -> None:
    latency = Latency()
    durations = [0, 1, 63, 64, 1000, 12_345_678]
    for duration_ns in durations:
        latency.add(duration_ns)
    lower, counts = latency.bins()
    assert counts.tolist() == [1] * 6
    for low, duration_ns in zip(lower.tolist(), durations, strict=True):
        assert low <= duration_ns <= low * (1 + 1 / 64)


def test_conditions_of_a_calm_session_are_none(logged: watched.Session) -> None:
    conditions = Conditions(12)
    assert [alert for line in logged.lines for alert in conditions.on(parse_line(line))] == []


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed (Debian: prometheus)")
def test_a_real_prometheus_scrapes_it(metrics: Metrics, tmp_path: Path) -> None:
    """A server of Prometheus takes the page, and a query finds each fixed name and a quantile of a histogram."""
    (tmp_path / "journal.db").touch()
    health = Health(tmp_path / "journal.db", 60.0)
    port = watched.free_port()
    with Web(("127.0.0.1", 0), health, metrics.registry, {}) as page:
        scrape = {"job_name": "runner", "static_configs": [{"targets": [f"127.0.0.1:{page.port}"]}]}
        config = {"global": {"scrape_interval": "1s"}, "scrape_configs": [scrape]}
        (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
        command = [
            "prometheus",
            f"--config.file={tmp_path / 'prometheus.yml'}",
            f"--storage.tsdb.path={tmp_path / 'db'}",
        ]
        with open(tmp_path / "server.log", "wb") as log:
            server = subprocess.Popen(
                [*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=subprocess.STDOUT
            )
        try:
            total = 'histogram_quantile(0.5, sum by (le) (portcullis_stage_seconds_bucket{stage="total"}))'
            for query in (*sorted(FIXED), total):
                assert ask(port, query), f"{query}: nothing; {(tmp_path / 'server.log').read_text()[-2000:]}"
        finally:
            server.terminate()
            server.wait(30)


def ask(port: int, query: str) -> list:
    """What the server on ``port`` answers to ``query``, once it has scraped."""
    url = f"http://127.0.0.1:{port}/api/v1/query?{urlencode({'query': query})}"
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        with suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
            if result := json.load(answer)["data"]["result"]:
                return result
        time.sleep(0.2)
    return []
