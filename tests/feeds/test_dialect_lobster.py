"""LOBSTER files to records: a literal day, what falls out of view, and every fault of either file."""

import warnings

import numpy as np
import pytest

from core.errors import BadConfig, BadInput
from core.instruments import Instrument
from core.records import Kind, MarketFlag, MarketStatus, Side
from feeds.dialects import Findings, Rule, lobster

STOCK = Instrument(symbol="XYZ", base="XYZ", quote="USD", tick="0.01", lot="1")
MIDNIGHT = 1_340_251_200_000_000_000
NONE_ASK, NONE_BID = "9999999999,0", "-9999999999,0"
# Two places: 100.00 | 100.02, 100.04 on the ask's side, 99.98, 99.96 on the bid's.
START = "1000200,5,999800,7,1000400,3,999600,9"


def day(*pairs: tuple[str, str], instrument: Instrument = STOCK, **more: bool) -> tuple[np.ndarray, Findings]:
    """The records of these lines, (n,) RECORD, and the findings."""
    findings = Findings()
    said, shown = ([line.encode() + b"\n" for line in lines] for lines in zip(*pairs, strict=True))
    made = lobster.records(said, shown, instrument, findings, midnight_ns=MIDNIGHT, latency_ns=1_000, **more)
    return np.concatenate(list(made)), findings


def rows(records: np.ndarray, *names: str) -> list[tuple[int, ...]]:
    return [tuple(int(record[name]) for name in names) for record in records]


def rules(findings: Findings) -> dict[Rule, int]:
    return dict(findings.counts)


FIRST = ("34200.5,1,11,3,1000400,-1", START)


def test_a_day_becomes_these_records() -> None:
    records, findings = day(
        FIRST,
        ("34201.000000001,4,12,2,1000200,-1", START.replace("1000200,5", "1000200,3")),
        ("34201.000000001,5,0,1,1000100,1", START.replace("1000200,5", "1000200,3")),
        ("34202,3,13,7,999800,1", "1000200,3,999600,9,1000400,3,999500,1"),
    )
    last, taken = int(MarketFlag.LAST), int(MarketFlag.SNAPSHOT)
    assert rows(records, "kind", "side", "a", "b", "c", "flags") == [
        (Kind.CLEAR, Side.BUY, 0, 0, 0, taken),
        (Kind.CLEAR, Side.SELL, 0, 0, 0, taken),
        (Kind.LEVEL, Side.SELL, 10002, 5, 0, taken),
        (Kind.LEVEL, Side.SELL, 10004, 3, 0, taken),
        (Kind.LEVEL, Side.BUY, 9998, 7, 0, taken),
        (Kind.LEVEL, Side.BUY, 9996, 9, 0, taken | last),
        (Kind.TRADE, Side.BUY, 10002, 2, 12, 0),  # a sell order was hit: by a buyer
        (Kind.LEVEL, Side.SELL, 10002, 3, 0, last),
        (Kind.TRADE, Side.SELL, 10001, 1, 0, last),  # hidden: the book does not change
        (Kind.LEVEL, Side.BUY, 9998, 0, 0, 0),
        (Kind.LEVEL, Side.BUY, 9995, 1, 0, last),  # came into view
    ]
    ns = [34_200_500_000_000] * 6 + [34_201_000_000_001] * 3 + [34_202_000_000_000] * 2
    assert (records["ts_event"] - MIDNIGHT).tolist() == ns
    assert (records["ts_known"] - records["ts_event"] == 1_000).all()
    assert not findings.counts


def test_what_falls_out_of_view_is_kept_until_the_file_sees_again() -> None:
    inside = "1000000,1,999800,7,1000200,5,999600,9"  # a new best ask hides the second
    again = "1000200,5,999800,7,1000400,2,999600,9"
    less = "1000200,5,999800,7,1000500,2,999600,9"  # where it was there is nothing now
    more = ("34201,1,14,1,1000000,-1", inside), ("34202,3,14,1,1000000,-1", again)
    records, findings = day(FIRST, *more)
    assert rows(records[6:], "a", "b") == [(10000, 1), (10000, 0), (10004, 2)]
    records, findings = day(FIRST, more[0], ("34202,3,14,1,1000000,-1", less))
    assert rows(records[6:], "a", "b") == [(10000, 1), (10000, 0), (10004, 0), (10005, 2)]
    assert not findings.counts  # beyond the common view rows may differ


def test_free_places_show_that_there_is_nothing_more() -> None:
    empty = f"{NONE_ASK},999800,7,{NONE_ASK},{NONE_BID}"
    records, findings = day(
        FIRST, ("34201,3,15,5,1000200,-1", empty), ("34202,1,16,4,1000300,-1", f"1000300,4{empty[12:]}")
    )
    assert rows(records[6:], "side", "a", "b") == [(2, 10002, 0), (2, 10004, 0), (1, 9996, 0), (2, 10003, 4)]
    assert [finding.row for finding in findings.examples] == [1] and rules(findings) == {Rule.DISAGREES: 1}


def test_a_halt_is_a_status() -> None:
    records, findings = day(FIRST, *((f"3420{k + 1},7,0,0,{price},-1", START) for k, price in enumerate((-1, 0, 1))))
    assert rows(records[6:], "kind", "a") == [
        (Kind.STATUS, MarketStatus.HALT),
        (Kind.STATUS, MarketStatus.AUCTION),
        (Kind.STATUS, MarketStatus.TRADING),
    ]
    assert not findings.counts


def test_hidden_executions_may_be_left_out_and_those_between_ticks_are() -> None:
    hidden = ("34201,5,0,4,1000100,1", START), ("34202,5,0,4,1000150,1", START)
    records, findings = day(FIRST, *hidden)
    assert rows(records[6:], "kind", "a") == [(Kind.TRADE, 10001)] and rules(findings) == {Rule.OFF_GRID: 1}
    records, _ = day(FIRST, *hidden, hidden=False)
    assert len(records) == 6


CHANGED = START.replace("1000200,5", "1000200,4")
DISAGREEING = [
    ("2,12,1,1000200,-1", START),  # cancelled, but the row stayed
    ("2,12,2,1000200,-1", CHANGED),  # by another size
    ("1,12,1,1000200,-1", CHANGED),  # in the other direction
    ("2,12,1,999800,1", CHANGED),  # at another price
    ("5,0,1,1000100,1", CHANGED),  # hidden orders are not in the book
    ("2,12,1,1000200,-1", CHANGED.replace("999800,7", "999800,6")),  # and something else
    ("2,12,1,1000200,-1", CHANGED.replace("999800,7,", "999900,1,").replace("999600,9", "999800,7")),
]


@pytest.mark.parametrize(("message", "row"), DISAGREEING)
def test_a_message_that_is_not_the_difference_of_its_rows_is_said(message: str, row: str) -> None:
    records, findings = day(FIRST, (f"34201,{message}", row))
    assert rules(findings) == {Rule.DISAGREES: 1} and findings.examples[0].row == 1
    assert row == START or rows(records[-1:], "flags") == [(MarketFlag.LAST,)]  # the row is used
    _, findings = day(FIRST, ("34201,2,12,1,1000200,-1", CHANGED))
    assert not findings.counts


BAD = [
    ("34201,2,12,1,1000200", CHANGED, Rule.GARBAGE),
    ("34201,2,12,1,1000200,-1,", CHANGED, Rule.GARBAGE),
    ("34201,2,12,one,1000200,-1", CHANGED, Rule.GARBAGE),
    ("34201,9,12,1,1000200,-1", CHANGED, Rule.GARBAGE),
    ("34201,2,12,1.5,1000200,-1", CHANGED, Rule.GARBAGE),
    ("34201,2,12,1,1000200,0", CHANGED, Rule.GARBAGE),
    ("34201,7,0,0,2,-1", CHANGED, Rule.GARBAGE),
    ("", CHANGED, Rule.GARBAGE),
    ("34201,2,12,1,1000200,-1", CHANGED + ",1", Rule.GARBAGE),
    ("34201,2,12,1,1000200,-1", CHANGED.replace("1000200", "x"), Rule.GARBAGE),
    ("34201,2,12,1,1_000_200,-1", CHANGED, Rule.GARBAGE),
    ("nan,2,12,1,1000200,-1", CHANGED, Rule.NOT_FINITE),
    ("34201,2,12,1,1000200,-1", CHANGED.replace(",7,", ",inf,"), Rule.NOT_FINITE),
    ("34201,2,12,-1,1000200,-1", CHANGED, Rule.NEGATIVE),
    ("34201,2,12,1,1000200,-1", CHANGED.replace(",7,", ",-7,"), Rule.NEGATIVE),
    ("34201,2,12,1,1000200,-1", CHANGED.replace(",999800", ",-999800"), Rule.NEGATIVE),
    ("34201,2,12,0,1000200,-1", CHANGED, Rule.NOT_POSITIVE),
    ("34201,2,12,1,1000200,-1", CHANGED.replace(",7,", ",0,"), Rule.NOT_POSITIVE),
    ("34201,2,12,1,1000250,-1", CHANGED, Rule.OFF_GRID),
    ("34201,2,12,1,1000200,-1", CHANGED.replace("999800", "999850"), Rule.OFF_GRID),
    ("34201,2,12,1,1000200,-1", CHANGED.replace(",7,", ",70000000000000,"), Rule.TOO_LARGE),
    ("34201,2,12,1,1000200,-1", CHANGED.replace("999800", "1000300"), Rule.CROSSED),
    ("34201,2,12,1,1000200,-1", CHANGED.replace("999800", "1000200"), Rule.LOCKED),
    ("34201,2,12,1,1000200,-1", CHANGED.replace("1000400", "1000200"), Rule.UNORDERED),
    ("34201,2,12,1,1000200,-1", CHANGED.replace("999600", "999900"), Rule.UNORDERED),
    ("34201,2,12,1,1000200,-1", CHANGED.replace("1000200,4", NONE_ASK), Rule.UNORDERED),
    ("34200.4,2,12,1,1000200,-1", CHANGED, Rule.BACKWARD),
    ("86400,2,12,1,1000200,-1", CHANGED, Rule.BAD_TIME),
    ("-1,2,12,1,1000200,-1", CHANGED, Rule.BAD_TIME),
]


@pytest.mark.parametrize(("message", "row", "rule"), BAD, ids=[f"{k}-{case[2]}" for k, case in enumerate(BAD)])
def test_a_pair_that_cannot_be_used_is_left_out_and_the_next_puts_the_book_right(
    message: str, row: str, rule: Rule
) -> None:
    gone = ("34203,3,13,7,999800,1", f"1000200,4,999600,9,1000400,3,{NONE_BID}")
    records, findings = day(FIRST, (message, row), gone)
    assert rules(findings) == {rule: 1} and findings.examples[0].row == 1
    assert rows(records[6:], "a", "b") == [(10002, 4), (9998, 0)]
    assert (records[6:]["ts_event"] == MIDNIGHT + 34_203_000_000_000).all()


def test_the_first_pair_may_be_the_bad_one() -> None:
    records, findings = day((BAD[0][0], START), FIRST)
    assert rules(findings) == {Rule.GARBAGE: 1}
    assert rows(records, "kind")[:2] == [(Kind.CLEAR,)] * 2 and len(records) == 6


def test_files_of_different_length_are_said() -> None:
    findings = Findings()
    said = [FIRST[0].encode()] * 2
    made = np.concatenate(list(lobster.records(said, [START.encode()], STOCK, findings, midnight_ns=MIDNIGHT)))
    assert len(made) == 6 and rules(findings) == {Rule.UNEQUAL_LENGTH: 1} and findings.examples[0].row == 1


def test_no_lines_are_no_records() -> None:
    assert list(lobster.records([], [], STOCK, Findings(), midnight_ns=MIDNIGHT)) == []


@pytest.mark.parametrize(("first", "columns"), [(b"1,2,3", 3), (b"", 1), (b"\n", 1)])
def test_what_is_no_orderbook_file_is_refused(first: bytes, columns: int) -> None:
    with pytest.raises(BadInput, match=f"{columns} columns"):
        list(lobster.records([b"", b""], [first, START.encode()], STOCK, Findings(), midnight_ns=MIDNIGHT))


def test_an_empty_orderbook_file_is_only_shorter() -> None:
    findings = Findings()
    assert not list(lobster.records([b"x"], [], STOCK, findings, midnight_ns=MIDNIGHT))
    assert rules(findings) == {Rule.UNEQUAL_LENGTH: 1}


def test_numbers_beyond_any_integer_are_refused_without_a_warning() -> None:
    with warnings.catch_warnings(action="error"):
        records, findings = day(FIRST, ("34201,1,14,1e300,1000000,-1", START))
    assert len(records) == 6 and rules(findings) == {Rule.TOO_LARGE: 1}


@pytest.mark.parametrize(("tick", "lot"), [("0.00001", "1"), ("0.01", "0.5"), ("0.00015", "1")])
def test_a_grid_the_files_cannot_hold_is_refused(tick: str, lot: str) -> None:
    odd = Instrument(symbol="XYZ", base="XYZ", quote="USD", tick=tick, lot=lot)
    with pytest.raises(BadConfig, match="LOBSTER files count"):
        day(FIRST, instrument=odd)


def test_round_lots_are_rounded_down_and_said() -> None:
    hundred = Instrument(symbol="XYZ", base="XYZ", quote="USD", tick="0.01", lot="3")
    records, findings = day(FIRST, instrument=hundred)
    assert rows(records[2:], "b") == [(1,), (1,), (2,), (3,)] and rules(findings) == {Rule.PART_LOT: 1}


def test_how_lines_are_cut_into_chunks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [FIRST]
    for k in range(1, 40):
        lots = 5 + k % 2
        pairs.append((f"{34201 + k},{2 - k % 2},12,1,1000200,-1", START.replace("1000200,5", f"1000200,{lots}")))
    pairs[7] = BAD[3][0], BAD[3][1]
    whole, found = day(*pairs)
    for records in (11, 33, 100):
        monkeypatch.setattr(lobster, "CHUNK_RECORDS", records)
        parts, again = day(*pairs)
        assert parts.tobytes() == whole.tobytes() and again == found
    assert rules(found) == {Rule.GARBAGE: 1}
