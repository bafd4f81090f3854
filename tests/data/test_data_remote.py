"""Data under DVC: what is pushed to a remote comes back byte for byte, in another checkout too."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from data.download import files
from data.download.venue import CANDLE
from tests.pipelines import reduced

pytestmark = pytest.mark.xdist_group("graph")
RAW = Path("data/raw")


def candles(count: int) -> np.ndarray:
    found = np.ones(count, CANDLE)
    found["time_ms"] = np.arange(count) * 60_000
    found["close"] = np.random.default_rng(7).normal(100, 1, count)
    return found


def content(checkout: reduced.Checkout) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((checkout.path / RAW).iterdir())}


def download(checkout: reduced.Checkout, count: int) -> None:
    """Candles and summary as `python -m data download` leaves them."""
    about = files.About(venue="binance", symbol="BTC/USDT", timeframe="1m", since_ms=0)
    (checkout.path / RAW).mkdir(parents=True, exist_ok=True)
    files.write(checkout.path / RAW / "BTC_USDT.parquet", about, [candles(count)])
    files.summarise(checkout.path / RAW, 60_000)


def version(checkout: reduced.Checkout) -> None:
    """Make what lies in the folder a data version."""
    checkout.run("dvc", "add", "-q", str(RAW))
    checkout.run("git", "add", "-A")
    checkout.run("git", "commit", "-q", "-m", "data")
    checkout.run("dvc", "push")


@pytest.fixture
def checkout(tmp_path: Path) -> reduced.Checkout:
    made = reduced.Checkout(tmp_path / "checkout", reduced.environment(tmp_path / "checkout"))
    made.path.mkdir()
    made.run("git", "init", "-q", "-b", "main")
    made.run("dvc", "init", "-q")
    made.run("dvc", "remote", "add", "-d", "store", str(tmp_path / "remote"))
    return made


def test_pushed_deleted_pulled_is_the_same_bytes(checkout: reduced.Checkout, tmp_path: Path) -> None:
    download(checkout, 1440)
    before = content(checkout)
    version(checkout)
    shutil.rmtree(checkout.path / RAW)
    shutil.rmtree(checkout.path / ".dvc/cache")
    checkout.run("dvc", "pull")
    assert content(checkout) == before
    assert "up to date" in checkout.run("dvc", "status")
    (checkout.path / RAW / "BTC_USDT.parquet").unlink()
    assert "BTC_USDT" in checkout.run("dvc", "diff")  # a difference would be seen

    other = reduced.Checkout(tmp_path / "other", checkout.env)
    checkout.run("git", "clone", "-q", str(checkout.path), str(other.path))
    other.run("dvc", "pull")
    assert content(other) == before


def test_a_refresh_is_one_new_version_and_the_old_one_stays(checkout: reduced.Checkout) -> None:
    download(checkout, 1440)
    old = content(checkout)
    version(checkout)
    download(checkout, 1440)
    assert "up to date" in checkout.run("dvc", "status")  # nothing new, no new version
    download(checkout, 2880)
    assert checkout.run("dvc", "status").count("modified:") == 1
    version(checkout)
    assert len(pl.read_parquet(checkout.path / RAW / "BTC_USDT.parquet")) == 2880
    checkout.run("git", "checkout", "-q", "HEAD~1")
    checkout.run("dvc", "checkout")
    assert content(checkout) == old
