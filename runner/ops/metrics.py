"""The run as Prometheus sees it: counters from the log's events, gauges read from the session when somebody asks.

The requirements fix some names (``event_lag_ms``, ``queue_depth``, ``p50_infer_ms``, ``p90_infer_ms``,
``p99_infer_ms``, ``drops``, ``risk_halted``); they are theirs, units and all. Every other name begins with
``portcullis_`` and is in base units. Every sample has the label ``mode``, so that paper is never added to live.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from core.records import PPM, Kind, RiskState
from runner.clock import Latency
from runner.ops.events import Cycle, Delivery, Event, Filled, OrderEnd, Problem, Refusal, RiskChange, Signal
from runner.plan import header_instruments

STAGES_S: Final = (1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 0.1, 1.0)
_INFER: Final = "model"  # the stage of the session that is inference
_QUANTILES: Final = (50, 90, 99)


disable_created_metrics()  # type: ignore[no-untyped-call]  # a family of times beside each counter, which nobody asked for


class Metrics:
    """Every family of one run, in a registry of its own."""

    def __init__(self, header: dict[str, Any], run: str) -> None:
        self.registry = CollectorRegistry()
        self._mode = header["mode"]

        def counter(name: str, meaning: str, *labels: str) -> Counter:
            return Counter(f"portcullis_{name}", meaning, ("mode", *labels), registry=self.registry)

        self._records = counter("records", "Records appended to the journal, by kind.", "kind")
        self._decisions = counter("decisions", "Decisions of the strategies, by reason.", "reason")
        self._no_trade = counter("no_trade", "Cycles without an order, by no_trade_reason.", "reason")
        self._cycles = counter("cycles", "Cycles: moments at which the strategies decided.")
        self._refusals = counter("refusals", "Orders that a rule refused, by rule.", "reason")
        self._intents = counter("intents", "Orders approved, by what they do to exposure.", "action")
        self._fills = counter("fills", "Executions, by side.", "side")
        self._ends = counter("order_ends", "Orders that ended otherwise than filled, by state.", "state")
        self._risk = counter("risk_changes", "Changes of the risk state and limits reached, by reason.", "reason")
        self._errors = counter("errors", "Errors, by kind: venue_reject, alert_delivery, problem, log_line.", "kind")
        self._commit = Histogram(
            "portcullis_journal_commit_seconds", "Duration of durable commits of the journal.", ("mode",),
            buckets=STAGES_S, registry=self.registry,
        )  # fmt: skip
        for kind in ("venue_reject", "alert_delivery", "problem", "log_line"):
            self._errors.labels(self._mode, kind)  # a rate of nothing is 0, not absent
        self._cycles.labels(self._mode)
        self.live = Live(header, run)
        self.registry.register(self.live)

    def on_records(self, kinds: np.ndarray) -> None:
        """Count records by their kind."""
        for kind, count in zip(*np.unique(kinds, return_counts=True), strict=True):
            self._records.labels(self._mode, Kind(int(kind)).name).inc(int(count))

    def on_commit(self, duration_ns: int) -> None:
        """The journal made its records durable."""
        self._commit.labels(self._mode).observe(duration_ns / 1e9)

    def on_lost_lines(self, count: int) -> None:
        """Log lines that could not be written."""
        self._errors.labels(self._mode, "log_line").inc(count)

    def on_event(self, event: Event) -> None:
        """Count what ``event`` says."""
        mode = self._mode
        if isinstance(event, Cycle):
            self._cycles.labels(mode).inc()
            for reason, count in event.reasons.items():
                self._decisions.labels(mode, reason).inc(count)
            if event.no_trade_reason is not None:
                self._no_trade.labels(mode, event.no_trade_reason).inc()
        elif isinstance(event, Refusal):
            self._refusals.labels(mode, event.reason_code).inc()
        elif isinstance(event, Signal):
            self._intents.labels(mode, event.action).inc()
        elif isinstance(event, Filled):
            self._fills.labels(mode, event.side).inc()
        elif isinstance(event, OrderEnd):
            self._ends.labels(mode, event.state).inc()
            if event.state == "REJECTED":
                self._errors.labels(mode, "venue_reject").inc()
        elif isinstance(event, RiskChange):
            self._risk.labels(mode, event.reason_code).inc()
        elif isinstance(event, Delivery) and event.outcome != "sent":
            self._errors.labels(mode, "alert_delivery").inc()
        elif isinstance(event, Problem):
            self._errors.labels(mode, "problem").inc()


class Live(Collector):
    """What is so now: read from the session's memory at each scrape, from another thread.

    Each value is whole, since it is one integer; two of them may be of two moments. What must agree is in the ledger.
    """

    def __init__(self, header: dict[str, Any], run: str) -> None:
        self._mode, self._run, self._header = header["mode"], run, header
        self._instruments = header_instruments(header)
        self._unit = float(self._instruments[0].quote_unit)
        self.state: Callable[[], np.ndarray] | None = None  # the core's STATE
        self.latency: Mapping[str, Latency] = {}
        self.queues: dict[str, Callable[[], int]] = {}
        self.drops: dict[str, Callable[[], int]] = {}
        self.lag_ms: Callable[[], float] = lambda: 0.0
        self.alerts: Callable[[], Mapping[tuple[str, str], int]] = dict
        self.healthy: Callable[[], bool] = lambda: True

    def collect(self) -> Iterator[Metric]:
        """The families, as they are now."""
        yield self._gauge("event_lag_ms", "From a market record's time to when it was known.", self.lag_ms())
        yield self._several("queue_depth", "Items that wait.", "queue", {k: f() for k, f in self.queues.items()})
        yield self._several("drops", "Items given up so far.", "queue", {k: f() for k, f in self.drops.items()})
        infer = self.latency.get(_INFER)
        for percent in _QUANTILES:
            value = infer.quantile_us(percent / 100) / 1000 if infer else 0.0
            yield self._gauge(f"p{percent}_infer_ms", f"Features and model step, percentile {percent} so far.", value)
        yield self._gauge("portcullis_healthy", "1: /healthz says 200.", int(self.healthy()))
        info = GaugeMetricFamily(
            "portcullis_run_info", "1, labelled with what runs.", labels=("mode", "run", "bundle", "version")
        )
        info.add_metric((self._mode, self._run, self._header["bundle_id"][:16], self._header["version"]), 1)
        yield info
        raised = GaugeMetricFamily(
            "portcullis_alerts_raised", "Alerts since the start.", labels=("mode", "alert", "severity")
        )
        for (name, severity), count in list(self.alerts().items()):
            raised.add_metric((self._mode, name, severity), count)
        yield raised
        yield self._stages()
        if self.state is not None:
            yield from self._account(self.state()[0])

    def _gauge(self, name: str, meaning: str, value: float) -> GaugeMetricFamily:
        family = GaugeMetricFamily(name, meaning, labels=("mode",))
        family.add_metric((self._mode,), value)
        return family

    def _several(self, name: str, meaning: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
        family = GaugeMetricFamily(name, meaning, labels=("mode", label))
        for key, value in values.items():
            family.add_metric((self._mode, key), value)
        return family

    def _stages(self) -> HistogramMetricFamily:
        family = HistogramMetricFamily(
            "portcullis_stage_seconds", "Duration of a step's stages.", labels=("mode", "stage")
        )
        for stage, latency in self.latency.items():
            lower_ns, counts = latency.bins()
            below = [int(counts[lower_ns < bound * 1e9].sum()) for bound in STAGES_S]
            total = int(counts.sum())
            buckets = [*zip(map(str, STAGES_S), below, strict=True), ("+Inf", total)]
            family.add_metric((self._mode, stage), buckets, float((lower_ns * counts).sum()) / 1e9)
        return family

    def _account(self, state: np.void) -> Iterator[Metric]:
        risk, account = state["risk"], state["account"]
        halted = int(risk["state"]) >= RiskState.HALT
        yield self._gauge("risk_halted", "1: nothing may increase exposure.", int(halted))
        yield self._gauge("portcullis_risk_state", "0 NORMAL, 1 CAUTION, 2 HALT, 3 FLATTEN.", int(risk["state"]))
        stopped = int(risk["day_stopped"] or risk["week_stopped"] or risk["total_stopped"])
        yield self._gauge("portcullis_loss_stopped", "1: a daily, weekly or total loss stop holds.", stopped)
        equity, peak = int(account["equity"]), int(risk["peak_equity"])
        yield self._gauge("portcullis_equity", "Cash and holdings, in quote.", equity * self._unit)
        yield self._gauge("portcullis_cash", "Cash, in quote.", int(account["cash"]) * self._unit)
        drawdown = (peak - equity) / peak if peak > 0 else 0.0
        yield self._gauge("portcullis_drawdown_ratio", "Equity below its peak.", drawdown)
        worst = int(risk["drawdown_max_ppm"]) / PPM
        yield self._gauge("portcullis_drawdown_max_ratio", "The largest drawdown so far.", worst)
        per_symbol: dict[str, dict[str, float]] = {"exposure": {}, "realised_pnl": {}, "unrealised_pnl": {}}
        working = {}
        for k, item in enumerate(self._instruments):
            position = state["positions"][k]
            value, cost = int(position["value"]), int(position["cost"])
            per_symbol["exposure"][item.symbol] = abs(value) * self._unit
            per_symbol["realised_pnl"][item.symbol] = int(position["realised"]) * self._unit
            per_symbol["unrealised_pnl"][item.symbol] = (value - cost) * self._unit
            working[item.symbol] = float(state["orders"][k]["live"])
        meanings = {
            "exposure": "Value of the position, in quote.",
            "realised_pnl": "Earned by what was closed, in quote.",
            "unrealised_pnl": "Value of the position less what it cost, in quote.",
        }
        for name, values in per_symbol.items():
            yield self._several(f"portcullis_{name}", meanings[name], "symbol", values)
        yield self._several("portcullis_open_orders", "Orders at work.", "symbol", working)
