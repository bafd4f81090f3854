"""Sweeps: every point is the session a plain backtest plays, on any number of processes, and none is left out."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from core import config, strategies, ticks
from core.errors import BadConfig, BadInput
from core.records import BAR, FILL, Kind, Side
from core.settings import Risk, Trading, as_json, parse
from evaluation.__main__ import app
from evaluation.grid import POINTS_MAX, Axis, Grid, grid
from evaluation.inputs import neutral
from evaluation.session import play
from evaluation.statistics import deflated_sharpe
from evaluation.summary import summarise
from evaluation.sweep import Figures, Point, Study, best_sharpe, luck_corrected, run
from evaluation.sweep_command import BESIDE, TRADING, ranked
from evaluation.trades import fees_paid
from feeds import market, synthetic
from feeds.tape import Tape, write_tape
from pipelines.params import Params
from tests.core.book_desk import COIN, MS, on_books
from tests.core.book_desk import market as book_row
from tests.core.build import START_NS
from tests.evaluation.artifacts import INTERVAL_NS, ROOT

RUNNER = CliRunner()
CROSSOVERS = ("--set", "strategy.fast=5,20,60", "--set", "strategy.slow=40,60")
HOUR_NS = 3_600_000_000_000


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve days of two instruments."""
    path = tmp_path_factory.mktemp("sweep") / "market.tape"
    spec = market.from_yaml((ROOT / "data/markets/builtin.yaml").read_text(), where="builtin").select(
        ("BTC-USDT", "ETH-USDT")
    )
    bars = synthetic.market(spec, days=12, seed=3)
    write_tape(path, bars, instruments=spec.instruments(), interval_ns=INTERVAL_NS)
    return path


@pytest.fixture(scope="module")
def book_tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three days of a book whose price walks, with a trade through each touch."""
    path, rng, rows = tmp_path_factory.mktemp("sweep") / "book.tape", np.random.default_rng(5), []
    bid, now = 10_000, START_NS
    for _ in range(3 * 24):
        now += HOUR_NS
        rows += [book_row(Kind.LEVEL, Side.BUY, bid, 0, now, is_last=False)]
        rows += [book_row(Kind.LEVEL, Side.SELL, bid + 1, 0, now, is_last=False)]
        bid += int(rng.integers(-20, 21))
        rows += [book_row(Kind.LEVEL, Side.BUY, bid, 50, now, is_last=False)]
        rows += [book_row(Kind.LEVEL, Side.SELL, bid + 1, 50, now)]
        for later, (side, price) in enumerate(((Side.SELL, bid), (Side.BUY, bid + 1))):
            rows += [book_row(Kind.TRADE, side, price, 500, now + (later + 1) * 1000 * MS)]
    write_tape(path, rows, instruments=[COIN], interval_ns=0)
    return path


def sweep(*arguments: object) -> Any:
    return RUNNER.invoke(app, ["sweep", *map(str, arguments)])


def as_data(*arguments: object) -> dict[str, Any]:
    done = sweep(*arguments, "--json", "--jobs", 1)
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


# ---- the points are the right ones


def test_any_number_of_processes_gives_the_same_bytes(tape: Path, tmp_path: Path) -> None:
    written = []
    for jobs in (1, 2, 5):
        out = tmp_path / f"{jobs}.csv"
        done = sweep("--tape", tape, *CROSSOVERS, "--jobs", jobs, "--out", out, "--json")
        assert done.exit_code == 0, done.output
        written.append((done.stdout, out.read_bytes()))
    assert written[0] == written[1] == written[2]


def test_a_point_is_the_plain_backtest_of_its_settings(tape: Path, tmp_path: Path) -> None:
    """Settings that the sweep changed, written to a file, give the same session in the other command."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    base = tmp_path / "base.yaml"
    base.write_text(yaml.safe_dump(params))
    swept = as_data(
        "--tape", tape, "--settings", base, "--strategy", "sma", "--set", "strategy.fast=7,15",
        "--set", "execution.decision_latency_ns=1,400000000000", "--set", "risk.asset_cap_ppm=100000,250000",
    )  # fmt: skip
    assert swept["points_tried"] == 8
    for point in swept["points"]:
        changed = yaml.safe_load(base.read_text())
        for key, value in point["settings"].items():
            section, name = key.split(".")
            changed[section][name] = value
        one = tmp_path / "one.yaml"
        one.write_text(yaml.safe_dump(changed))
        plain = RUNNER.invoke(
            app, ["backtest", "--tape", str(tape), "--strategy", "sma", "--params", str(one), "--json"]
        )
        summary = json.loads(plain.stdout)
        for name in ("return", "max_drawdown", "sharpe_annual", "fills", "final_equity"):
            assert point[name] == summary[name], name
    assert len({point["final_equity"] for point in swept["points"]}) >= 4, "the settings change nothing"


def test_a_model_s_predictions_are_traded_as_in_the_backtest(tape: Path, tmp_path: Path) -> None:
    opened = Tape.open(tape)
    predictions = neutral(opened, {}, 15, 50_000_000)
    predictions["edge_ppm"] = np.random.default_rng(1).integers(-3000, 3000, len(predictions))
    np.save(tmp_path / "predictions.npy", predictions)
    (tmp_path / "edge.yaml").write_text("strategy: {kind: edge}")
    swept = as_data(
        "--tape", tape, "--settings", tmp_path / "edge.yaml", "--predictions", tmp_path / "predictions.npy",
        "--set", "strategy.hold_horizons=1,4",
    )  # fmt: skip
    for point in swept["points"]:
        trading = parse(Trading, {"strategy": {"hold_horizons": point["settings"]["strategy.hold_horizons"]}}, where="")
        bars = opened.records.view(BAR)
        played = play(bars, opened.instruments, predictions, trading, -1)
        assert point["return"] == summarise(played, bars, opened.instruments, trading, -1)["return"]
        assert Decimal(point["fees"]) == fees_paid(played.fills, opened.instruments) * Decimal("1e-8")
        assert point["fills"] == len(played.fills) > 10


def test_a_limit_s_refusals_are_counted(tape: Path) -> None:
    found = as_data("--tape", tape, "--set", "risk.max_orders_per_hour=1,0")
    tight, wide = sorted(found["points"], key=lambda point: point["orders_refused"], reverse=True)
    assert tight["settings"]["risk.max_orders_per_hour"] == 1
    assert tight["orders_refused"] > wide["orders_refused"]


def test_a_book_is_swept_to_the_same_end_as_one_session(book_tape: Path, tmp_path: Path) -> None:
    trading = on_books(kind="mm1")
    path = tmp_path / "books.yaml"
    path.write_text(yaml.safe_dump(json.loads(json.dumps(as_json(trading)))))
    found = as_data("--tape", book_tape, "--settings", path, "--set", "strategy.inventory_lots=1,5")
    opened = Tape.open(book_tape)
    for point in found["points"]:
        sections = as_json(trading)
        sections["strategy"]["inventory_lots"] = point["settings"]["strategy.inventory_lots"]
        one = parse(Trading, sections, where="test")
        played = ticks.session(config.build(one, [COIN]), opened.records, strategies.of(one, [COIN]))
        account, risk = played.state[0]["account"], played.state[0]["risk"]
        fills = played.out[played.out["kind"] == Kind.FILL].view(FILL)
        assert point["fills"] == len(fills) > 10
        assert Decimal(point["final_equity"]) == int(account["equity"]) * Decimal(COIN.quote_unit)
        assert Decimal(point["fees"]) == int(fills["fee"].sum()) * Decimal(COIN.quote_unit)
        assert point["max_drawdown"] == int(risk["drawdown_max_ppm"]) / 1e6
        assert point["sharpe_annual"] is not None
    assert found["points"][0]["final_equity"] != found["points"][1]["final_equity"]


# ---- what cannot be traded is said


def test_impossible_points_are_listed_with_their_reason(tape: Path, tmp_path: Path) -> None:
    done = sweep("--tape", tape, *CROSSOVERS, "--jobs", 1, "--out", tmp_path / "all.csv")
    assert done.exit_code == 0, done.output
    assert "refused fast=60 slow=40: strategy.fast is 60, strategy.slow is 40" in done.stdout
    assert "refused fast=60 slow=60" in done.stdout
    assert "4 tried" in done.stdout
    with (tmp_path / "all.csv").open() as file:
        lines = list(csv.DictReader(file))
    listed = {(line["strategy.fast"], line["strategy.slow"]) for line in lines}
    assert listed == set(product(("5", "20", "60"), ("40", "60")))
    assert [bool(line["reason"]) for line in lines] == [False] * 4 + [True] * 2
    assert [bool(line["return"]) for line in lines] == [True] * 4 + [False] * 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "strategy.fats=5"], ["strategy.fats", "fast, slow"]),
        (["--set", "stratgy.fast=5"], ["stratgy", "account, execution, strategy, strategies, risk"]),
        (["--set", "strategy.fast.x=5"], ["strategy.fast.x", "single value"]),
        (["--set", "strategy=5"], ["strategy is a section", "fast"]),
        (["--set", "strategies.0.fast=5"], ["strategies.0.fast", "0 is none"]),
        (["--set", "strategies.first.fast=5"], ["'first'", "position"]),
        (["--set", "strategy.fast=5,x"], ["strategy.fast", "'x'", "int"]),
        (["--set", "strategy.fast=5,,6"], ["strategy.fast"]),
        (["--set", "strategy.fast=5.5"], ["strategy.fast", "5.5", "int"]),
        (["--set", "strategy.fast"], ["strategy.fast=5,10,20"]),
        (["--set", "strategy.fast=5,7,5"], ["strategy.fast", "5 is given twice"]),
        (["--set", "strategy.fast=5", "--set", "strategy.fast=6"], ["strategy.fast is given twice"]),
        (["--set", "strategy.fast=5", "--sort", "luck"], ["'luck'", "sharpe_annual", "strategy.fast"]),
        (["--set", "strategy.fast=200,300"], ["none of the 2 points", "strategy.fast is 200"]),
        (["--set", "strategy.fast=5", "--strategy", "edge"], ["edge", "--predictions"]),
        (["--set", "strategy.fast=5", "--strategy", "magic"], ["magic", "sma"]),
        (["--set", "strategy.fast=5", "--settings", "no.yaml"], ["no.yaml", "--settings"]),
    ],
)
def test_a_bad_option_is_named_with_what_it_may_be(tape: Path, arguments: list[str], words: list[str]) -> None:
    done = sweep("--tape", tape, "--jobs", 1, *arguments)
    assert isinstance(done.exception, BadConfig)
    for word in words:
        assert word in str(done.exception)


def test_a_misspelt_section_is_refused_and_a_whole_params_file_is_not(tape: Path, tmp_path: Path) -> None:
    assert {*TRADING, *BESIDE} >= set(Params.__struct_fields__)
    (tmp_path / "bad.yaml").write_text("riks: {asset_cap_ppm: 1}")
    done = sweep("--tape", tape, "--settings", tmp_path / "bad.yaml", "--set", "strategy.fast=5")
    assert isinstance(done.exception, BadConfig) and "'riks'" in str(done.exception)


def test_predictions_belong_to_bars(book_tape: Path, tmp_path: Path) -> None:
    done = sweep("--tape", book_tape, "--set", "strategy.order_lots=1", "--predictions", tmp_path / "p.npy")
    assert isinstance(done.exception, BadInput) and "of books" in str(done.exception)


def test_a_strategy_that_waits_for_other_records_is_refused(book_tape: Path) -> None:
    done = sweep("--tape", book_tape, "--jobs", 1, "--strategy", "edge_ticks", "--set", "strategy.order_lots=1")
    assert isinstance(done.exception, BadConfig) and "mm1" in str(done.exception)


# ---- the grid


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_a_grid_is_the_product_of_its_axes_in_order(sizes: list[int]) -> None:
    keys = ("strategy.fast", "strategy.slow", "risk.asset_cap_ppm", "account.initial_cash")
    axes = tuple(Axis(key, tuple(range(size))) for key, size in zip(keys, sizes, strict=False))
    made = Grid({}, axes, "test")
    assert [made.values(index) for index in range(len(made))] == list(product(*(axis.values for axis in axes)))


def test_values_reach_the_settings_they_name() -> None:
    sections = {"strategies": [{"kind": "sma", "symbols": ["A"]}, {"kind": "mm1", "symbols": ["B"]}]}
    made = grid(
        sections,
        [
            "strategies.1.order_lots=3",
            "risk.capacity_lots.A=7",
            "risk.whitelist=[A],[B]",
            "account.initial_cash=0.10",
            "execution.simulation.request_latency.constant_ns=9",
        ],
        where="test",
    )
    untouched = json.dumps(made.sections)
    trading = made.trading(1)
    assert json.dumps(made.sections) == untouched, "points share what they change"
    assert trading.strategies[1].order_lots == 3 and trading.strategies[0].order_lots == 1
    assert trading.risk == Risk(capacity_lots={"A": 7}, whitelist=("B",))
    assert trading.account.initial_cash == "0.10"
    request = trading.execution.simulation.request_latency
    assert request is not None and request.constant_ns == 9
    assert made.trading(0).risk.whitelist == ("A",)


def test_a_grid_too_large_is_refused_before_it_is_begun() -> None:
    many = ",".join(map(str, range(1, POINTS_MAX // 2 + 2)))
    with pytest.raises(BadConfig, match="fewer values"):
        grid({}, [f"risk.asset_cap_ppm={many}", "strategy.fast=5,6"], where="test")


# ---- ranking


def figures(net_return: float = 0.0, sharpe: float | None = 0.1, drawdown: float = 0.0) -> Figures:
    return Figures(
        net_return=net_return, max_drawdown=drawdown, sharpe_daily=sharpe, skew=0.0, kurtosis=3.0, days=50, fills=1,
        orders_refused=0, fees="1", final_equity="1", risk_state="NORMAL",
    )  # fmt: skip


def test_the_best_comes_first_and_equals_keep_their_order() -> None:
    points = [
        Point((3,), figures(0.1, None, 0.3)),
        Point((1,), figures(0.2, 0.5, 0.2)),
        Point((2,), figures(0.2, -0.5, 0.1)),
    ]

    def order(sort: str) -> list[int]:
        return [point.values[0] for point in ranked(points, ["strategy.fast"], sort)]

    assert order("return") == [1, 2, 3]
    assert order("max_drawdown") == [2, 1, 3]
    assert order("sharpe_annual") == [1, 2, 3], "a point without a Sharpe ratio comes last"
    assert order("strategy.fast") == [1, 2, 3]


def test_more_tries_make_the_best_worth_less() -> None:
    few = [Point((index,), figures(sharpe=sharpe)) for index, sharpe in enumerate((0.3, 0.1))]
    many = few + [Point((index,), figures(sharpe=0.1 + 0.2 * (index % 2))) for index in range(2, 40)]
    refused = Point((9,), None, "impossible")
    best = best_sharpe([refused, *few])
    assert best is few[0]
    assert luck_corrected(best, [*few, refused]) == deflated_sharpe(0.3, 50, 0.0, 3.0, [0.3, 0.1])
    first, last = luck_corrected(best, few), luck_corrected(best, many)
    assert first is not None and last is not None and last < first
    assert best_sharpe([refused, Point((1,), figures(sharpe=None))]) is None


def test_progress_counts_every_point_once(tape: Path) -> None:
    seen: list[int] = []
    study = Study(tape, None, None, grid({"strategy": {"kind": "sma"}}, ["strategy.fast=5,9,70"], where="test"))
    points = run(study, 2, seen.append)
    assert sum(seen) == len(points) == 3
    assert [point.values for point in points] == [(5,), (9,), (70,)]


def test_ctrl_c_ends_every_process_at_once(tape: Path, tmp_path: Path) -> None:
    """The signal reaches the whole group, as from a terminal; no table, no file, no process is left."""
    fast, slow = ",".join(map(str, range(2, 40))), ",".join(map(str, range(41, 240)))
    out = tmp_path / "all.csv"
    arguments = ["--tape", tape, "--set", f"strategy.fast={fast}", "--set", f"strategy.slow={slow}", "--out", out]
    command = [sys.executable, "-m", "evaluation", "sweep", *map(str, arguments), "--jobs", "2"]
    begun = subprocess.Popen(
        command, cwd=ROOT, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while len(workers := _children(begun.pid)) < 2:
        assert begun.poll() is None, begun.communicate()
        time.sleep(0.01)
    os.killpg(begun.pid, signal.SIGINT)
    printed, said = begun.communicate(timeout=60)
    assert begun.returncode == 130, said
    assert not printed and not out.exists()
    assert not [worker for worker in workers if Path(f"/proc/{worker}").exists()]


def _children(process: int) -> list[str]:
    return Path(f"/proc/{process}/task/{process}/children").read_text().split()
