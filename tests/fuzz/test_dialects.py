"""A slice of the fuzz command in every run, and what it must notice."""

from collections.abc import Callable
from typing import Any

import pytest

from feeds.dialects import BadFrame, Rule, Writer, binance, binance_bulk, coinbase, kraken, lobster
from feeds.dialects.binance_kernel import Plain
from feeds.dialects.sequence import WAITING_MAX, Sequence, Update
from tests.fuzz import dialects
from tests.fuzz.laws import Broken


@pytest.mark.parametrize("name", dialects.DIALECTS)
def test_a_thousand_damaged_messages_of_each_dialect(name: str) -> None:
    done, seen = dialects.fuzz([name], 7, sessions=60)
    assert done[name] > 1_000
    told = {what.removeprefix(f"{name} ") for what, count in seen.items() if count}
    assert {"garbage", "gap" if name != "lobster" else "disagrees", "off_grid", "books compared"} <= told


def test_a_session_is_its_seed() -> None:
    assert dialects.fuzz(["kraken"], 3, sessions=2) == dialects.fuzz(["kraken"], 3, sessions=2)


@pytest.mark.parametrize("name", ["binance-futures", "binance-spot"])
def test_compiled_code_takes_what_is_plain_of_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []

    def counted(self: Plain) -> int:
        taken.append(STORE(self))
        return taken[-1]

    monkeypatch.setattr(Plain, "_store", counted)
    dialects.fuzz([name], 1, sessions=10)
    assert len(taken) > 50 and max(taken) > 1


def only_counted(self: Any, received_ns: int, rule: Rule, value: object, channel: str) -> None:
    self._writer.refuse(rule, value)


def without_holes(self: Any, received_ns: int, number: int | None) -> None:
    if number is None or number == self._number:
        raise BadFrame(Rule.GARBAGE, number)
    self._number = number


def never_back(self: Any, received_ns: int, number: int | None) -> None:
    if number is None or number <= self._number:
        raise BadFrame(Rule.BACKWARD, number)
    if 0 <= self._number != number - 1:
        self._sequence.invalidate(self._writer.latest(received_ns))
    self._number = number


def wait_whatever_comes(self: Any, update: Update) -> None:
    if len(self._waiting) < WAITING_MAX:
        self._waiting.append(update)


def known_however_late(self: Any, received_ns: int, ts_event: int = 0) -> int:
    self.known_ns = max(self.known_ns, received_ns, ts_event)
    return int(self.known_ns)


STORE = Plain._store


def without_its_row(self: Plain) -> int:
    made = STORE(self)
    self._writer.row -= 1
    return made


def without_the_trade(self: Plain) -> int:
    at = self._trades.at
    made = STORE(self)
    self._trades.at = at
    return made


FAULTS: list[tuple[str, Any, str, Callable[..., Any]]] = [
    ("binance-spot", binance.Normaliser, "_refuse", only_counted),
    ("binance-futures", Sequence, "_wait", wait_whatever_comes),
    ("binance-futures", Writer, "known", known_however_late),
    ("binance-spot", Writer, "latest", lambda self, ns: ns),
    ("binance-futures", Plain, "_store", without_its_row),
    ("binance-spot", Plain, "_store", without_the_trade),
    ("kraken", kraken.Normaliser, "_refuse", only_counted),
    ("kraken", kraken._Side, "cut", lambda self, depth: []),
    ("kraken", Writer, "refuse", lambda self, rule, value: None),
    ("coinbase", coinbase.Normaliser, "_refuse", only_counted),
    ("coinbase", coinbase.Normaliser, "_continue", without_holes),
    ("coinbase", coinbase.Normaliser, "_continue", never_back),
    ("coinbase", Writer, "keep", lambda self: None),
    ("lobster", lobster, "_refuse_books", lambda pairs, prices: None),
    ("binance_bulk", Writer, "refuse", lambda self, rule, value: None),
    ("binance_bulk", binance_bulk, "_side", lambda rows, side: []),
]


@pytest.mark.parametrize(
    ("name", "what", "attribute", "fault"), FAULTS, ids=[f"{k}-{row[0]}-{row[2]}" for k, row in enumerate(FAULTS)]
)
def test_a_fault_is_noticed(
    name: str, what: Any, attribute: str, fault: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(what, attribute, fault)
    with pytest.raises(Broken) as caught:
        dialects.fuzz([name], 1, sessions=600)
    assert f"--dialects {name} --seed" in caught.value.__notes__[0]


@pytest.mark.parametrize("dialect", [binance, kraken, coinbase])
def test_an_exception_is_noticed(dialect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialect, "UNREADABLE", ())
    with pytest.raises(Exception, match=r"JSON|UTF-8|utf-8|recursion|Expected|missing|Invalid|truncated"):
        dialects.fuzz([dialect.__name__.rpartition(".")[2].replace("binance", "binance-spot")], 1, sessions=600)


def test_the_command_says_what_survived(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["fuzz", "--inputs", "200", "--seed", "5", "--dialects", "kraken,coinbase"])
    assert dialects.main() == 0
    assert "damaged messages survived, from seed 5 on" in capsys.readouterr().out
    monkeypatch.setattr(Writer, "known", known_however_late)
    monkeypatch.setattr("sys.argv", ["fuzz", "--sessions", "400", "--dialects", "kraken"])
    assert dialects.main() == 70
    assert "--dialects kraken --seed" in capsys.readouterr().out
