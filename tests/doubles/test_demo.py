"""The exchange that a user starts: it trades with an unmodified ccxt and says what it did not know."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import ccxt
import pytest

from tests.doubles.venues import NAMES

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", NAMES)
def test_a_started_exchange_trades(name: str, tmp_path: Path) -> None:
    settings = tmp_path / "exchange.json"
    words = [sys.executable, "-m", "tests.doubles", "--venue", name, "--port", "0", "--settings", str(settings)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            while "Ctrl-C" not in (line := process.stdout.readline()):
                assert line, "it ended"
            venue = getattr(ccxt, name)(json.loads(settings.read_text()))
            symbol = next(iter(venue.load_markets()))
            order = venue.create_order(symbol, "limit", "buy", 0.01, 40_100)
            assert venue.fetch_order(order["id"], symbol)["status"] == "open"
            venue.session.close()
        finally:
            os.kill(process.pid, signal.SIGINT)
        assert process.stdout.read() == ""
        assert process.wait(30) == 0
