"""Sessions: equal however they are cut, equal when replayed, exact against a slow ledger, never above a cap."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core import config, engine, risk, strategies
from core.errors import BadInput
from core.instruments import Instrument
from core.records import RECORD, Action, Command, Kind, RiskState
from core.settings import Trading
from tests.core.build import BTC, ETH, STEP_NS, Desk, bars, command, only, predict, trading, walk
from tests.core.reference import Ledger, check_fill

INSTRUMENTS = (BTC, ETH)
TRADINGS = st.builds(
    trading,
    asset_cap_ppm=st.sampled_from([50_000, 400_000]),
    total_cap_ppm=st.sampled_from([400_000, 600_000, 950_000]),
    participation_ppm=st.sampled_from([0, 1_000, 100_000]),
    slippage_ppm=st.sampled_from([0, 100, 20_000]),
    order_ttl_ns=st.sampled_from([STEP_NS // 2, STEP_NS, 3 * STEP_NS]),
    order_latency_ns=st.sampled_from([1, 100_000_000, STEP_NS, 2 * STEP_NS + 7]),
    cooldown_ns=st.sampled_from([0, 10 * STEP_NS]),
    halt_drawdown_ppm=st.sampled_from([40_000, 400_000]),
    flatten_drawdown_ppm=st.sampled_from([50_000, 500_000]).map(lambda ppm: max(ppm, 401_000)),
    daily_stop_ppm=st.sampled_from([5_000, 200_000]),
    flatten_daily_loss_ppm=st.sampled_from([200_000, 900_000]),
    min_confidence_ppm=st.sampled_from([0, 400_000]),
    hold_horizons=st.sampled_from([1, 6]),
    max_orders_per_hour=st.sampled_from([2, 60]),
)
FEW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def by_hand(settings_: Trading, tape: np.ndarray, predictions: np.ndarray, desk: Desk) -> list[np.ndarray]:
    inputs = []
    for row in range(len(tape)):
        inputs += [tape[row : row + 1], predictions[row : row + 1]]
    for record in inputs:
        desk.feed(record)
    return inputs


@FEW
@given(TRADINGS, st.integers(0, 2**32 - 1))
def test_session_is_on_record_in_a_loop_however_it_is_cut(made: Trading, seed: int) -> None:
    tape, predictions, rows = walk(np.random.default_rng(seed), 60, 2)
    configuration = config.build(made, INSTRUMENTS)
    whole = engine.session(configuration, tape, predictions, rows, strategies.get("edge"))

    desk = Desk(made, INSTRUMENTS)
    by_hand(made, tape, predictions, desk)
    assert np.concatenate(desk.out).tobytes() == whole.out.tobytes()
    assert desk.state.tobytes() == whole.state.tobytes()
    assert desk.venue.tobytes() == whole.venue.tobytes()

    state, venue = engine.new_state(configuration), engine.new_venue(configuration)
    pieces, start = [], 0
    while start < len(tape):  # a buffer for one row, one mark at a time
        out, mark = np.zeros(2 * engine.OUT_PER_INPUT, RECORD), np.zeros(1, whole.marks.dtype)
        start, arrived, n_out, n_marks = engine.run(
            configuration, state, venue, tape, predictions, rows, start, out, mark, strategies.get("edge")
        )
        assert (arrived, n_marks) == (start, 1)
        assert mark.tobytes() == whole.marks[start - 1 : start].tobytes()
        pieces.append(out[:n_out])
    assert np.concatenate(pieces).tobytes() == whole.out.tobytes()
    assert state.tobytes() == whole.state.tobytes()


# Cash counted in cents makes a lot's value a fraction of a unit: every amount is rounded.
CENTS = tuple(Instrument(**{**item.as_json(), "quote_unit": "0.01"}) for item in INSTRUMENTS)


@FEW
@given(TRADINGS, st.sampled_from([INSTRUMENTS, CENTS]), st.integers(0, 2**32 - 1))
def test_cash_positions_fees_and_caps_are_exact(made: Trading, instruments: tuple[Instrument, ...], seed: int) -> None:
    tape, predictions, _ = walk(np.random.default_rng(seed), 80, 2)
    desk, ledger = Desk(made, instruments), Ledger(made, instruments)
    opened = [0, 0]
    intents: dict[int, np.void] = {}
    filled: dict[int, int] = {}
    for row in range(len(tape)):
        bar = tape[row]
        for record in desk.feed(tape[row : row + 1]):
            if record["kind"] == Kind.FILL:
                fill = only(record.reshape(1), Kind.FILL)[0]
                number = int(fill["order_id"])
                check_fill(made, fill, bar, intents[number], filled.get(number, 0), opened[bar["instrument"]])
                filled[number] = filled.get(number, 0) + int(fill["qty"])
                ledger.book(fill)
            elif record["kind"] == Kind.ORDER:
                order = only(record.reshape(1), Kind.ORDER)[0]
                if order["state"] >= 6:
                    ledger.ended(order)
        ledger.close(bar)
        opened[bar["instrument"]] = int(bar["ts_event"])
        account = desk.state[0]["account"]
        assert (account["cash"], account["equity"]) == (ledger.cash, ledger.equity)
        assert account["exposure"] == sum(ledger.exposures)
        assert risk.drawdown_ppm(desk.state[0]) == ledger.drawdown_ppm
        assert [int(p["base_units"]) for p in desk.state[0]["positions"][:2]] == ledger.units
        made_now = desk.feed(predictions[row : row + 1])
        assert len(only(made_now, Kind.DECISION)) == 1
        for intent in only(made_now, Kind.INTENT):
            ledger.approve(intent)
            if intent["flags"] != Action.CANCEL:
                intents[int(intent["order_id"])] = intent
    assert min(ledger.units) >= 0


@FEW
@given(TRADINGS, st.integers(0, 2**32 - 1))
def test_replaying_the_journal_into_the_core_alone_gives_the_same_bytes(made: Trading, seed: int) -> None:
    rng = np.random.default_rng(seed)
    tape, predictions, _ = walk(rng, 60, 2)
    live = Desk(made, INSTRUMENTS)
    journal: list[np.ndarray] = []
    for row in range(len(tape)):
        inputs = [tape[row : row + 1], predictions[row : row + 1]]
        if rng.random() < 0.05:
            inputs.append(command(int(rng.integers(1, 4)), int(tape[row]["ts_known"])))
        for record in inputs:
            out = live.feed(record)
            from_venue = np.isin(out["kind"], [Kind.ORDER, Kind.FILL])
            assert not np.any(np.diff(from_venue.astype(int)) > 0)  # the venue's records come first
            journal += [*out[from_venue].reshape(-1, 1), record]
    replayed = Desk(made, INSTRUMENTS, venue=False)
    for record in journal:
        replayed.feed(record)
    told = np.concatenate(live.out)
    assert np.concatenate(replayed.out).tobytes() == told[told["kind"] >= 32].tobytes()
    assert replayed.state.tobytes() == live.state.tobytes()


def test_the_first_fill_is_later_than_its_decision_and_at_the_next_open() -> None:
    tape = bars([1_000_000, 1_010_000, 1_020_000])
    desk = Desk(trading(slippage_ppm=100), (BTC,))
    desk.feed(tape[0:1])
    intent = only(desk.feed(predict(tape[0], edge=3_000)), Kind.INTENT)[0]
    out = desk.feed(tape[1:2])
    assert list(out["kind"]) == [Kind.ORDER, Kind.FILL]
    fill = only(out, Kind.FILL)[0]
    assert fill["price"] == 1_000_100  # the open is the previous close; 100 ppm of it on top
    assert fill["ts_event"] == intent["ts_known"] + 100_000_000
    assert fill["ts_known"] == tape[1]["ts_known"]


def test_sigma_doubles_size_halves_and_fixed_lots_ignore_sigma() -> None:
    tape = bars([10_000_000] * 2)
    sizes = []
    for sigma in (10_000, 20_000, 0):
        desk = Desk(trading(), (BTC,))
        desk.feed(tape[:1])
        sizes.append(int(only(desk.feed(predict(tape[0], edge=3_000, sigma=sigma)), Kind.DECISION)[0]["size_lots"]))
    assert sizes == [15_000, 7_500, 0]  # 15 % and 7.5 % of 100000 USDT at 100000 USDT a coin
    fixed = Desk(trading(fixed_lots=123), (BTC,))
    fixed.feed(tape[:1])
    assert only(fixed.feed(predict(tape[0], edge=3_000, sigma=0)), Kind.DECISION)[0]["size_lots"] == 123


def test_an_entry_is_clipped_to_what_is_left_under_the_total_cap() -> None:
    made = trading(asset_cap_ppm=400_000, total_cap_ppm=600_000)
    desk = Desk(made, INSTRUMENTS)
    sizes = []
    for index, lot_value in ((0, 0.1), (1, 1.0)):  # USDT a lot at 10000 USDT a coin
        bar = bars([1_000_000], instrument=index)
        desk.feed(bar)
        decision = only(desk.feed(predict(bar[0], edge=3_000, sigma=1_500)), Kind.DECISION)[0]
        assert decision["target_lots"] * lot_value == 100_000
        sizes.append(decision["size_lots"] * lot_value)
    assert sizes == [40_000, 20_000]


@pytest.mark.parametrize(
    ("field", "value"),
    [("low", 0), ("high", 1), ("open", -5), ("volume", -1), ("instrument", 2), ("close", 2**43), ("ts_event", 0)],
)
def test_an_impossible_bar_is_refused_before_anything_moves(field: str, value: int) -> None:
    desk = Desk(trading(), INSTRUMENTS)
    tape = bars([1_000_000, 1_000_000])
    desk.feed(tape[:1])
    before = desk.state.tobytes(), desk.venue.tobytes()
    bad = tape[1:2].copy()
    bad[field] = value
    with pytest.raises(BadInput):
        desk.feed(bad)
    assert (desk.state.tobytes(), desk.venue.tobytes()) == before


def test_rows_out_of_order_or_range_are_refused() -> None:
    tape = bars([1_000_000] * 3)
    predictions = np.concatenate([predict(bar) for bar in tape])
    configuration = config.build(trading(), (BTC,))
    for rows in ([0, 2, 1], [0, 1], [0, 1, 3], [-1, 0, 1]):
        with pytest.raises(BadInput, match="rows"):
            engine.session(configuration, tape, predictions, np.array(rows), strategies.get("edge"))


def test_a_read_only_tape_of_plain_records_gives_the_same_session() -> None:
    tape, predictions, rows = walk(np.random.default_rng(3), 50, 2)
    configuration = config.build(trading(), INSTRUMENTS)
    typed = engine.session(configuration, tape, predictions, rows, strategies.get("edge"))
    plain = tape.view(RECORD)
    plain.flags.writeable = False
    untyped = engine.session(configuration, plain, predictions.view(RECORD), rows, strategies.get("edge"))
    assert typed.out.tobytes() == untyped.out.tobytes()


def test_flatten_cancels_sells_until_flat_then_halts() -> None:
    tape = bars([1_000_000] * 12, volume=1_000)
    tape["volume"][1] = 2_000
    desk = Desk(trading(participation_ppm=1_000_000, fixed_lots=3_000, order_ttl_ns=STEP_NS), (BTC,))
    desk.feed(tape[0:1])
    desk.feed(predict(tape[0], edge=3_000))
    desk.feed(tape[1:2])  # 2000 of 3000 lots bought; the rest fills before the cancel arrives
    out = desk.feed(command(Command.KILL_FLATTEN, int(tape[1]["ts_known"])))
    assert [int(i["flags"]) for i in only(out, Kind.INTENT)] == [Action.CANCEL]
    for row in range(2, 12):
        desk.feed(tape[row : row + 1])
    sells = [i for i in only(np.concatenate(desk.out), Kind.INTENT) if i["flags"] == Action.REDUCE]
    assert len(sells) >= 2  # a thin market expires the first ones; it keeps selling
    assert desk.state[0]["positions"][0]["base_units"] == 0
    assert desk.state[0]["risk"]["state"] == RiskState.HALT
