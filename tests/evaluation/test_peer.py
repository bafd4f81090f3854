"""``python -m evaluation peer``: tapes of any shape become what they say; files that say nothing sure are refused."""

import csv
import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from core.errors import BadConfig, BadInput
from core.records import RECORD, Kind, MarketFlag
from evaluation import peer_tape
from evaluation.__main__ import app
from tests.core.odd_tapes import odd_tape
from tests.core.test_mm1_truth import reference
from tests.core.test_sma_truth import crossover, odd_bars, prepared

RUNNER = CliRunner()
BUY, SELL, BOTH, THERE, HERE = 1 << 29, 1 << 28, 3 << 30, 1 << 31, 1 << 30
DEPTH, TRADE, CLEAR, SNAPSHOT = 1, 2, 3, 4
EVENT = np.dtype(
    [
        ("ev", "<u8"),
        ("exch_ts", "<i8"),
        ("local_ts", "<i8"),
        ("px", "<f8"),
        ("qty", "<f8"),
        ("order_id", "<u8"),
        ("ival", "<i8"),
        ("fval", "<f8"),
    ]
)
ROWS = [  # ev, exchange time, local time, price, quantity
    (SNAPSHOT | BUY | BOTH, 10, 20, 99.9, 0.5),
    (SNAPSHOT | SELL | BOTH, 10, 20, 100.1, 0.25),
    (DEPTH | SELL | BOTH, 11, 21, 100.2, 0.0),
    (TRADE | BUY | BOTH, 12, 22, 100.1, 0.05),
    (CLEAR | BUY | BOTH, 13, 23, np.nan, 0.0),
    (CLEAR | SELL | BOTH, 13, 23, 100.1, 0.0),
]


def events(rows: list[tuple[Any, ...]]) -> np.ndarray:
    made = np.zeros(len(rows), EVENT)
    for row, said in zip(made, rows, strict=True):
        row["ev"], row["exch_ts"], row["local_ts"], row["px"], row["qty"] = said
    return made


def saved(folder: Path, rows: list[tuple[Any, ...]]) -> Path:
    np.save(folder / "tape.npy", events(rows))
    return folder / "tape.npy"


def load(folder: Path, rows: list[tuple[Any, ...]], tick: str = "0.1", lot: str = "0.05") -> np.ndarray:
    return peer_tape.load(saved(folder, rows), tick, lot, folder / "cache")


def changed(row: int, **fields: Any) -> list[tuple[Any, ...]]:
    """``ROWS`` with some fields of one row changed."""
    made = events(ROWS)
    for name, value in fields.items():
        made[row][name] = value
    return [tuple(item)[:5] for item in made.tolist()]


def odd_events(seed: int) -> tuple[Any, np.ndarray]:
    """An odd tape, and the same as a file of the peers would say it: floats, flags, NaN for a whole side."""
    odd = odd_tape(seed)
    records, made = odd.records, np.zeros(len(odd.records), EVENT)
    kinds = {Kind.LEVEL: DEPTH, Kind.TRADE: TRADE, Kind.CLEAR: CLEAR}
    made["ev"] = [
        kinds[kind] | (BUY if side == 1 else SELL) | BOTH for kind, side in records[["kind", "side"]].tolist()
    ]
    made["exch_ts"], made["local_ts"] = records["ts_event"], records["ts_known"]
    made["px"], made["qty"] = records["a"] * float(odd.tick), records["b"] * float(odd.lot)
    made["px"][(records["kind"] == Kind.CLEAR) & (records["a"] == 0)] = np.nan
    return odd, made


def test_rows_become_records(tmp_path: Path) -> None:
    records = load(tmp_path, ROWS)
    assert records.dtype == RECORD
    assert records["kind"].tolist() == [Kind.LEVEL] * 3 + [Kind.TRADE, Kind.CLEAR, Kind.CLEAR]
    assert records["side"].tolist() == [1, 2, 2, 1, 1, 2]
    assert records["a"].tolist() == [999, 1001, 1002, 1001, 0, 1001]
    assert records["b"].tolist() == [10, 5, 0, 1, 0, 0]
    assert records["ts_event"].tolist() == [10, 10, 11, 12, 13, 13]
    assert records["ts_known"].tolist() == [20, 20, 21, 22, 23, 23]
    snapshot, last = int(MarketFlag.SNAPSHOT), int(MarketFlag.LAST)
    assert records["flags"].tolist() == [snapshot, snapshot | last, last, last, 0, last]


def test_the_same_tape_in_every_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(12):
        odd, made = odd_events(seed)
        plain = tmp_path / f"plain{seed}.npy"
        np.save(plain, made)
        assert peer_tape.load(plain, odd.tick, odd.lot, tmp_path).tobytes() == odd.records.tobytes()
        archive = tmp_path / f"archive{seed}.npz"
        np.savez_compressed(archive, tape=made)
        assert peer_tape.load(archive, odd.tick, odd.lot, tmp_path).tobytes() == odd.records.tobytes()
        with monkeypatch.context() as small:  # in pieces, kept in a file
            small.setattr(peer_tape, "CHUNK_ROWS", 7)
            small.setattr(peer_tape, "LARGE_ROWS", 1)
            for _ in range(2):
                kept = peer_tape.load(plain, odd.tick, odd.lot, tmp_path / "cache")
                assert kept.tobytes() == odd.records.tobytes()
            assert len(odd.records) == 0 or isinstance(kept, np.memmap)


def test_a_kept_file_is_of_these_very_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_tape, "LARGE_ROWS", 1)
    assert load(tmp_path, ROWS)["b"][3] == 1
    assert load(tmp_path, ROWS, lot="0.01")["b"][3] == 5
    assert load(tmp_path, changed(3, qty=0.1))["b"][3] == 2
    assert len(list((tmp_path / "cache").iterdir())) == 3


def test_rows_in_any_order_are_sorted_by_local_time(tmp_path: Path) -> None:
    forwards = load(tmp_path, ROWS)
    backwards = [*ROWS[4:], *ROWS[2:4], *ROWS[:2]]
    assert load(tmp_path, backwards).tobytes() == forwards.tobytes()


def test_rows_given_once_per_clock_are_joined(tmp_path: Path) -> None:
    """Where the exchange saw two events in another order, the layout has each of them twice."""
    first, second = (DEPTH | BUY, 10, 30, 99.9, 0.5), (DEPTH | SELL, 11, 20, 100.1, 0.25)
    split = [
        (first[0] | THERE, *first[1:]),
        (second[0] | BOTH, *second[1:]),
        (first[0] | HERE, *first[1:]),
        *((CLEAR | SELL | clock, 12, 40, np.nan, 0.0) for clock in (HERE, THERE)),
    ]
    joined = [
        (DEPTH | SELL | BOTH, *second[1:]),
        (DEPTH | BUY | BOTH, *first[1:]),
        (CLEAR | SELL | BOTH, 12, 40, np.nan, 0),
    ]
    assert load(tmp_path, split).tobytes() == load(tmp_path, joined).tobytes()
    with pytest.raises(BadInput, match="do not pair off"):
        load(tmp_path, split[:2])
    with pytest.raises(BadInput, match="do not pair off"):
        load(tmp_path, [*split[:2], (first[0] | HERE, 10, 30, 99.8, 0.5)])


def test_a_clear_of_asks_up_to_nothing_keeps_them(tmp_path: Path) -> None:
    rows = [
        (CLEAR | SELL | BOTH, 1, 2, 0.0, 0.0),
        (CLEAR | BUY | BOTH, 1, 2, 0.0, 0.0),
        (CLEAR | SELL | BOTH, 1, 2, -5.0, 0.0),
    ]
    assert load(tmp_path, rows)["a"].tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("row", "fields", "complaint"),
    [
        (0, {"px": 99.95}, "row 0 has a px that is not a multiple of 0.1"),
        (1, {"px": np.nan}, "row 1 has a px that is not a multiple of 0.1"),
        (1, {"px": np.inf}, "row 1 has a px that is not a multiple of 0.1"),
        (2, {"px": 0.0}, "row 2 has a px below one tick of 0.1"),
        (3, {"px": -99.9}, "row 3 has a px outside 0"),
        (0, {"px": 1e13}, "row 0 has a px outside 0"),
        (3, {"qty": 0.07}, "row 3 has a qty that is not a multiple of 0.05"),
        (1, {"qty": -0.25}, "row 1 has a qty outside 0"),
        (1, {"qty": np.nan}, "row 1 has a qty that is not a multiple of 0.05"),
        (2, {"ev": 5 | BUY | BOTH}, "row 2 is of a kind other than"),
        (2, {"ev": DEPTH | BOTH}, "row 2 must be of one side"),
        (4, {"ev": CLEAR | BUY | SELL | BOTH}, "row 4 must be of one side"),
        (5, {"local_ts": 12}, "row 5 is known before"),
        (0, {"exch_ts": -1}, "row 0 has a time outside"),
        (5, {"local_ts": 2**62}, "row 5 has a time outside"),
    ],
)
def test_a_row_that_says_nothing_sure_is_named(
    tmp_path: Path, row: int, fields: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(BadInput, match=complaint) as refused:
        load(tmp_path, changed(row, **fields))
    assert str(tmp_path / "tape.npy") in str(refused.value)


def test_a_price_may_miss_the_grid_by_what_floats_miss_it(tmp_path: Path) -> None:
    rows = [(DEPTH | BUY | BOTH, 1, 2, 3 * 0.1, 0.1 + 0.2), (DEPTH | BUY | BOTH, 1, 2, 618_000 * 0.1, 1e9)]
    assert load(tmp_path, rows)[["a", "b"]].tolist() == [(3, 6), (618_000, 20_000_000_000)]


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.npy"
    for content, complaint in (
        (b"", "not a whole"),
        (b"ev,exch_ts\n1,2\n", "not a whole"),
        (saved(tmp_path, ROWS).read_bytes()[:-1], "not a whole"),
    ):
        path.write_bytes(content)
        with pytest.raises(BadInput, match=complaint):
            peer_tape.read_events(path)
    np.save(path, np.zeros(3))
    with pytest.raises(BadInput, match="fields ev, exch_ts, local_ts, px, qty are missing"):
        peer_tape.read_events(path)
    np.save(path, events(ROWS).reshape(2, 3))
    with pytest.raises(BadInput, match="its shape"):
        peer_tape.read_events(path)
    np.save(path, events(ROWS).astype([(name, "<f8") for name in EVENT.names or ()]))
    with pytest.raises(BadInput, match="whole numbers"):
        peer_tape.read_events(path)
    np.savez(tmp_path / "other.npz", bars=np.zeros(3))
    with pytest.raises(BadInput, match="no array 'tape' but bars"):
        peer_tape.read_events(tmp_path / "other.npz")
    with pytest.raises(BadInput, match=r"time_ns, open, high, low, close missing"):
        peer_tape.read_bars(tmp_path / "other.npz", "0.01")


def test_bars_out_of_order_are_named(tmp_path: Path) -> None:
    prices = {name: np.full(3, 1.0) for name in peer_tape.PRICES}
    np.savez(tmp_path / "bars.npz", time_ns=np.array([1, 3, 3]), **prices)
    with pytest.raises(BadInput, match="row 2 does not open after"):
        peer_tape.read_bars(tmp_path / "bars.npz", "0.01")
    np.savez(tmp_path / "bars.npz", time_ns=np.array([1, 2]), **prices)
    with pytest.raises(BadInput, match="one value per bar"):
        peer_tape.read_bars(tmp_path / "bars.npz", "0.01")


def run(*arguments: object) -> Any:
    return RUNNER.invoke(app, ["peer", *(str(item) for item in arguments)])


def test_mm1_prints_what_the_reference_says_and_writes_its_fills(tmp_path: Path) -> None:
    traded = 0
    for seed in range(8):
        odd, made = odd_events(seed)
        np.savez(tmp_path / "odd.npz", tape=made)
        done = run(
            "mm1", "--tape", tmp_path / "odd.npz", "--tick", odd.tick, "--lot", odd.lot, "--repeats", 2,
            "--order-qty", Decimal(odd.lot) * odd.order_lots, "--cap", Decimal(odd.lot) * odd.inventory_lots,
            "--clock", odd.clock, "--maker-ppm", odd.maker_fee_ppm, "--fills", tmp_path / "fills.csv",
        )  # fmt: skip
        assert done.exit_code == 0, done.output
        said, truth = json.loads(done.stdout), reference(odd)
        assert (said["orders"], said["decisions"], said["fills"]) == (
            len(truth.orders), truth.decisions, len(truth.fills),
        )  # fmt: skip
        assert said["rows"] == len(odd.records)
        assert said["tape"] == "odd"
        assert said["same_again"]
        assert (said["mid"] is None) == (truth.mid2 is None)
        if truth.pnl is not None:
            assert said["pnl_units"] == truth.pnl
            assert said["pnl"] == truth.pnl / 1e8
        assert round(said["fee"] * 1e8) == truth.fees
        with open(tmp_path / "fills.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        written = [(int(row["exch_ts_ns"]), int(row["order"]), row["side"], int(row["price_ticks"])) for row in rows]
        assert written == [(at, order, ("", "buy", "sell")[side], price) for at, order, side, price in truth.fills]
        traded += len(written)
    assert traded > 20


def test_sma_prints_its_figures(tmp_path: Path) -> None:
    opened, prices, tick = odd_bars(7)
    path = prepared(tmp_path / "bars.npz", opened, prices, float(tick))
    done = run("sma", "--tape", path, "--tick", tick, "--repeats", 1, "--fills", tmp_path / "fills.csv")
    assert done.exit_code == 0, done.output
    said, (truth, gained) = json.loads(done.stdout), crossover(prices["open"].tolist(), prices["close"].tolist())
    value = Fraction(tick) * 10**8
    fees = sum(-(-value * price * 1000 // 1_000_000) for _, _, price in truth)
    assert (said["bars"], said["fills"], said["pnl_units"]) == (len(opened), len(truth), gained * value - fees)
    assert said["closed_trades"] == len(truth) // 2
    with open(tmp_path / "fills.csv", newline="") as file:
        rows = [(int(row["bar"]), row["side"], int(row["open_cents"])) for row in csv.DictReader(file)]
    assert rows == [(bar, ("", "buy", "sell")[side], price) for bar, side, price in truth]
    assert len(truth) > 3


def test_a_prepared_tape_s_name_gives_its_terms(tmp_path: Path) -> None:
    rows = [(DEPTH | BUY | BOTH, 1, 2, 99.9, 0.5), (DEPTH | SELL | BOTH, 1, 2, 100.1, 0.25)]
    np.save(tmp_path / "tape_binancex.npy", events(rows))
    np.save(tmp_path / "tape_other.npy", events(rows))
    said = json.loads(run("mm1", "--tape", tmp_path / "tape_binancex.npy", "--repeats", 1).stdout)
    assert (said["tape"], said["rows"], said["mid"]) == ("binancex", 2, 100.0)
    unknown = run("mm1", "--tape", tmp_path / "tape_other.npy")
    assert isinstance(unknown.exception, BadInput)
    assert "give --tick and --lot" in str(unknown.exception)
    off = run("mm1", "--tape", tmp_path / "tape_binancex.npy", "--order-qty", "0.0015")
    assert isinstance(off.exception, BadConfig)
    assert "0.0015 is not on its grid of 0.001" in str(off.exception)


def test_no_rows_are_no_session(tmp_path: Path) -> None:
    for rows in ([], ROWS[:1]):
        np.save(tmp_path / "tape_binance.npy", events(rows))
        done = run("mm1", "--tape", tmp_path / "tape_binance.npy", "--fills", tmp_path / "fills.csv")
        assert done.exit_code == 0, done.output
        said = json.loads(done.stdout)
        assert (said["rows"], said["decisions"], said["orders"], said["fills"]) == (len(rows), 0, 0, 0)
        assert (said["pnl_units"], said["mid"]) == (0, None)
        assert (tmp_path / "fills.csv").read_text() == "exch_ts_ns,order,side,price_ticks\n"
    none = np.zeros(0)
    path = prepared(tmp_path / "bars.npz", np.zeros(0, np.int64), dict.fromkeys(peer_tape.PRICES, none), 0.01)
    said = json.loads(run("sma", "--tape", path).stdout)
    assert (said["bars"], said["fills"], said["pnl_units"]) == (0, 0, 0)


def test_a_result_that_limits_had_a_part_in_is_none(tmp_path: Path) -> None:
    rows = [(DEPTH | BUY | BOTH, 1, 2, 1e9, 0.5), (DEPTH | SELL | BOTH, 1, 2, 1e9 + 100, 0.5)]
    rows += [(TRADE | BUY | BOTH, 300_000_000, 300_000_001, 1e9, 0.5)]
    path = saved(tmp_path, rows)
    done = run("mm1", "--tape", path, "--tick", "0.1", "--lot", "0.05", "--order-qty", 50, "--cap", 500)
    assert isinstance(done.exception, BadInput)
    assert "limits bound: " in str(done.exception)
    assert "EXPOSURE_ASSET" in str(done.exception)
