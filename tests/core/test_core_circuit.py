"""The circuit breaker to the nanosecond, and the fields of what it says."""

from core import config as core_config
from core import engine, risk
from core.layout import OUTBOX, zeros
from core.records import RISK, Command, Kind, Metric, Reason, RiskState
from tests.core.build import BTC, trading

OPEN_NS = 1_000


class Circuit:
    """An account whose circuit opens after two rejects, and what it says."""

    def __init__(self) -> None:
        self.config = core_config.build(trading(circuit_failures=2, circuit_open_ns=OPEN_NS), (BTC,))[0]
        self.state = engine.new_state(core_config.build(trading(), (BTC,)))[0]
        self.risk, self.box = self.state["risk"], zeros(1, OUTBOX)[0]

    def at(self, now_ns: int) -> None:
        self.state["account"]["now_ns"], self.box["count"] = now_ns, 0

    def reject(self, now_ns: int) -> list[tuple[int, ...]]:
        self.at(now_ns)
        risk.venue_reject(self.config, self.state, self.box)
        return self.said()

    def accept(self, now_ns: int) -> list[tuple[int, ...]]:
        self.at(now_ns)
        risk.venue_accept(self.config, self.state, self.box)
        return self.said()

    def said(self) -> list[tuple[int, ...]]:
        return [tuple(row) for row in self.box["records"][: self.box["count"]].view(RISK).tolist()]

    @property
    def counts(self) -> tuple[int, ...]:
        names = ("failures", "circuit_until_ns", "probe_id", "trips", "trips_week")
        return tuple(int(self.risk[name]) for name in names)


def change(now_ns: int, reason: Reason, failures: int) -> tuple[int, ...]:
    normal = int(RiskState.NORMAL)
    return (now_ns, now_ns, Kind.RISK, 0, 0, reason, 0, normal, normal, Metric.VENUE_FAILURES, failures, 2)


def test_a_life_of_the_circuit() -> None:
    circuit = Circuit()
    assert circuit.reject(10) == [] and circuit.counts == (1, 0, 0, 0, 0)
    assert circuit.accept(11) == [] and circuit.counts == (0, 0, 0, 0, 0), "the series has ended"
    assert circuit.reject(12) == []
    assert circuit.reject(20) == [change(20, Reason.CIRCUIT_OPEN, 2)]
    assert circuit.counts == (2, 1_020, 0, 1, 1)
    assert circuit.reject(1_019) == circuit.accept(1_019) == [] and circuit.counts == (2, 1_020, 0, 1, 1), "sent before"
    circuit.risk["probe_id"] = 7
    assert circuit.reject(1_020) == [change(1_020, Reason.CIRCUIT_OPEN, 3)]
    assert circuit.counts == (3, 2_020, 0, 2, 2)
    assert circuit.accept(2_020) == [change(2_020, Reason.RECOVERED, 0)]
    assert circuit.counts == (0, 2_020, 0, 2, 2)
    assert circuit.reject(2_021) == [] and circuit.counts[0] == 1, "one reject is no series"


def test_a_closed_circuit_counts_again_while_its_last_time_would_still_run() -> None:
    circuit = Circuit()
    circuit.risk["circuit_until_ns"] = 10**6
    assert circuit.reject(10) == [] and circuit.counts[0] == 1
    assert circuit.reject(11) == [change(11, Reason.CIRCUIT_OPEN, 2)]


def test_every_change_says_all_of_itself() -> None:
    circuit = Circuit()
    circuit.at(99)
    for number, to, reason in (
        (Command.KILL_HALT, RiskState.HALT, Reason.OPERATOR_HALT),
        (Command.KILL_FLATTEN, RiskState.FLATTEN, Reason.OPERATOR_FLATTEN),
        (Command.KILL_HALT, RiskState.FLATTEN, Reason.OPERATOR_HALT),  # what is being closed goes on being closed
        (Command.RESUME, RiskState.FLATTEN, Reason.OPERATOR_RESUME),
        (77, RiskState.FLATTEN, Reason.OPERATOR_HALT),  # not one that this version knows
    ):
        before, circuit.box["count"] = int(circuit.risk["state"]), 0
        risk.command(circuit.config, circuit.state, circuit.box, int(number))
        assert circuit.said() == [
            (99, 99, Kind.RISK, 0, 0, reason, 0, before, to, Metric.OPERATOR, int(number), 0),
        ]
    circuit.box["count"] = 0
    risk.end_flatten(circuit.config, circuit.state, circuit.box)
    assert circuit.said() == [
        (99, 99, Kind.RISK, 0, 0, Reason.ALREADY_FLAT, 0, RiskState.FLATTEN, RiskState.HALT, Metric.NONE, 0, 0)
    ]
    circuit.box["count"] = 0
    risk.command(circuit.config, circuit.state, circuit.box, int(Command.RESUME))
    assert circuit.said()[0][7:9] == (RiskState.HALT, RiskState.NORMAL)
    circuit.box["count"] = 0
    risk.fact_beyond_limit(circuit.state, circuit.box, 7, 5)
    assert circuit.said() == [
        (99, 99, Kind.RISK, 0, 0, Reason.FACT_BEYOND_LIMIT, 0, RiskState.NORMAL, RiskState.HALT, Metric.LEDGER, 7, 5)
    ]


def test_a_ratio_beyond_a_million_wholes_is_a_million() -> None:
    circuit = Circuit()
    for peak, equity, ppm in (
        (1, 1 - 10**6, 10**12),
        (1, -(10**6), 10**12),
        (2, 1 - 2 * 10**6, 10**12),
        (2, 2 - 2 * 10**6, 10**12),
        (1, 2 - 10**6, 999_999 * 10**6),
        (3, 2, 333_334),
        (3, 3, 0),
        (0, -1, 10**6),
    ):
        circuit.risk["peak_equity"], circuit.state["account"]["equity"] = peak, equity
        assert risk.drawdown_ppm(circuit.state) == ppm
