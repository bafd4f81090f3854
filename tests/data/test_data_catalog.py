"""`python -m data`: numbers that add up with the files, faults that are seen, exit codes that are documented."""

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest

from core.errors import BadInput, BadTape
from data import catalog
from data.__main__ import app
from feeds.tape import HEAD_BYTES
from models import command
from tests.data.candles import Frames, candles, ingest
from tests.data.test_data_events import PERP, two_files
from tests.data.test_data_events import ingest as ingest_events

DAY = 288
WHOLE = candles(4 * DAY)
HOLES = WHOLE.filter(~np.isin(np.arange(4 * DAY), [300, 301, *range(2 * DAY, 3 * DAY)]))  # a whole day is missing


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("catalog")
    ingest(out, Frames({"BTC-USDT": WHOLE, "ETH-USDT": HOLES}))
    return out / "data"


def run(*arguments: str) -> tuple[int, str]:
    """Exit code and everything printed, errors included."""
    printed = io.StringIO()
    with redirect_stdout(printed), redirect_stderr(printed), pytest.raises(SystemExit) as ended:
        command.run(lambda: app(list(arguments)))
    return int(ended.value.code or 0), printed.getvalue()


def test_describe_counts_what_is_missing(folder: Path) -> None:
    btc, eth = catalog.describe(folder)
    assert (btc["symbol"], btc["rows"], btc["missing"]) == ("BTC-USDT", 4 * DAY, 0)
    assert (eth["rows"], eth["missing"]) == (3 * DAY - 2, DAY + 2)
    assert btc["first"] == "2025-01-01T00:00:00Z" and btc["last"] == "2025-01-04T23:55:00Z"
    assert (btc["low"], btc["high"]) == (WHOLE["low"].min(), WHOLE["high"].max())


def test_completeness_has_a_row_for_every_day_even_an_empty_one(folder: Path) -> None:
    rows = [row for row in catalog.completeness(folder) if row["symbol"] == "ETH-USDT"]
    assert [(row["day"], row["bars"], row["expected"], row["missing"]) for row in rows] == [
        ("2025-01-01", DAY, DAY, 0),
        ("2025-01-02", DAY - 2, DAY, 2),
        ("2025-01-03", 0, DAY, DAY),
        ("2025-01-04", DAY, DAY, 0),
    ]


def test_check_passes_on_what_ingest_wrote_and_fails_on_anything_else(tmp_path: Path) -> None:
    ingest(tmp_path, Frames({"BTC-USDT": WHOLE, "ETH-USDT": HOLES}))
    data = tmp_path / "data"
    assert catalog.check(data)["ok"]
    assert run("check", "--folder", str(data))[0] == 0

    ingest(tmp_path / "other", Frames({"BTC-USDT": candles(4 * DAY, seed=1), "ETH-USDT": HOLES}))
    (tmp_path / "other/data/bars/BTC-USDT.parquet").replace(data / "bars/BTC-USDT.parquet")
    with pytest.raises(BadTape, match="not those of"):
        catalog.check(data)
    assert run("check", "--folder", str(data))[0] == 31

    with open(data / "market.tape", "r+b") as file:
        file.seek(HEAD_BYTES + 64 * 5 + 30)
        file.write(b"\xff")
    code, text = run("check", "--folder", str(data))
    assert code == 31 and "altered" in text


def test_commands_print_tables_and_json(folder: Path, tmp_path: Path) -> None:
    code, text = run("ls", "--folder", str(folder))
    assert code == 0 and "market.tape" in text and "bars/ETH-USDT.parquet" in text
    code, text = run("describe", "--folder", str(folder), "--json")
    assert code == 0 and [row["symbol"] for row in json.loads(text)] == ["BTC-USDT", "ETH-USDT"]
    code, text = run("describe", "--folder", str(folder), "--days", "--json")
    assert [(row["day"], row["missing"]) for row in json.loads(text)] == [("2025-01-02", 2), ("2025-01-03", DAY)]
    code, text = run("tape", str(folder / "market.tape"), "--json")
    assert json.loads(text)[0]["rows"] == 7 * DAY - 2
    page = tmp_path / "page.html"
    assert run("plot", "--folder", str(folder), "--out", str(page)) == (0, f"{page}\n")
    assert "ETH-USDT" in page.read_text() and "<script" in page.read_text()


def test_what_is_not_there_is_named_with_its_exit_code(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="dvc repro ingest"):
        catalog.describe(tmp_path)
    code, text = run("describe", "--folder", str(tmp_path))
    assert code == 30 and "no Parquet file" in text
    assert run("tape", str(tmp_path / "market.tape"))[0] == 31


def test_books_and_quotes_have_the_same_commands(tmp_path: Path) -> None:
    """Seven rows of two files: three minutes pass, one of them in silence."""
    folder = ingest_events(two_files(tmp_path / "raw"), PERP, tmp_path / "out", "binance_ws")
    (row,) = catalog.describe(folder)
    assert (row["symbol"], row["levels"], row["trades"], row["clears"]) == ("BTC-USDT", 6, 1, 4)
    assert (row["minutes"], row["minutes_silent"], row["delay_ms"]) == (2, 0, 0.0)
    assert catalog.files(folder)[0]["file"] == "minutes/BTC-USDT.parquet"
    assert [(row["day"], row["missing"]) for row in catalog.completeness(folder)] == [
        ("2024-08-08", 0), ("2024-08-09", 0),
    ]  # fmt: skip
    assert [(row["delay_ms"], row["offset_ms"]) for row in catalog.completeness(folder)] == [(0.0, 0.0), (0.0, 0.0)]
    assert catalog.check(folder)["ok"]
    for command_line in (("ls",), ("describe",), ("describe", "--days"), ("check", "--json")):
        assert run(*command_line, "--folder", str(folder))[0] == 0
    assert run("plot", "--folder", str(folder), "--out", str(tmp_path / "page.html"))[0] == 0
    for drawn in ("Share of minutes missing per day", "Mean delay on the tape", "Mean offset of receipt"):
        assert drawn in (tmp_path / "page.html").read_text()
    page = (tmp_path / "page.html").read_text()
    assert '"zmax":0.01,"zmin":0' in page and '"ticktext":["2024-08-08","2024-08-09"]' in page  # nothing is missing
    slow = ingest_events(two_files(tmp_path / "raw"), PERP, tmp_path / "slow", "binance_ws", clock_offset_ms=-1270)
    clocks = [(row["day"], row["delay_ms"], row["offset_ms"]) for row in catalog.completeness(slow)]
    assert clocks[0] == ("2024-08-08", 0.0, -1270.0) and clocks[1][2] == -1270.0  # a tape knows nothing too early
    code, text = run("describe", "--folder", str(slow), "--days", "--json")
    assert code == 0 and [row["offset_ms"] for row in json.loads(text)] == [-1270.0, -1270.0]
    ingest_events(two_files(tmp_path / "raw"), PERP, tmp_path / "late", "binance_ws", holdout=1)
    (tmp_path / "late/data/minutes/BTC-USDT.parquet").replace(folder / "minutes/BTC-USDT.parquet")
    assert run("check", "--folder", str(folder))[0] == 31
