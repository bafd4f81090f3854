"""FI-2010, the benchmark of order books of five stocks in Helsinki in June 2010 (Ntakaris and others, 2018), as arrays.

A file is text: 149 lines of n numbers, one column an event. Lines 1 to 40 are the book (ask price, ask size, bid price,
bid size, ten times over), 41 to 144 features, 145 to 149 the labels for 1, 2, 3, 5 and 10 events (1 up, 2 stationary,
3 down). Three normalisations are published, told apart by the file's name. ``DecPre`` divides by powers of ten, so its
books are books: prices are hundreds of euro, sizes hundred thousands of shares. ``ZScore`` and ``MinMax`` are not.

There is no tape of it and no MarketState: the files hold no times, and five stocks stand one behind the other without a
mark between them. What needs a clock would be invented. The file is the reader's own; its SHA-256 is held.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from core.errors import BadInput
from data.grid import Grid
from data.sources.text import sha256_of, text_lines
from feeds.dialects import EXAMPLES_MAX, Findings, Rule
from feeds.market import Listing

LINES: Final = 149
BOOK: Final = 40  # lines of the book, then features up to LABELS
LABELS: Final = 144
PRICE_SCALE: Final = 100  # of DecPre
SIZE_SCALE: Final = 100_000
SLACK: Final = 1e-6  # of a step: the files hold rounded decimals
_NAME: Final = re.compile(r"(?:Train|Test)_Dst_(?:No)?Auction_(ZScore|MinMax|DecPre)_CF_[1-9]\.txt")


@dataclass(frozen=True, slots=True)
class Fi2010:
    """One file. ``values`` (149, n) float64 as they stand there; columns are events."""

    path: Path
    normalisation: str
    values: np.ndarray

    @property
    def features(self) -> np.ndarray:
        """(n, 144): the normalised book and what was made of it."""
        return self.values[:LABELS].T

    @property
    def labels(self) -> np.ndarray:
        """(n, 5) int8: the move after 1, 2, 3, 5 and 10 events, 1 up, 0 stationary, -1 down."""
        return (2 - self.values[LABELS:].T).astype(np.int8)

    def books(self, *, tick: str = "0.01", lot: str = "1") -> tuple[np.ndarray, np.ndarray, Findings]:
        """Books in ticks and lots (m, 10, 4) int64, the events they are of (m,), and findings, whose rows are events.

        Places: ask price, ask size, bid price, bid size. Raises BadInput for a normalisation that has no prices.
        """
        if self.normalisation != "DecPre":
            raise BadInput(
                f"{self.path}: {self.normalisation} has no prices, only their distance from others; take the file with "
                "DecPre in its name for books"
            )
        grid = Grid.of(Listing(symbol="FI2010", base="FI2010", quote="EUR", tick=tick, lot=lot))
        book = self.values[:BOOK].T.reshape(-1, 10, 4)
        steps = np.empty_like(book)
        steps[:, :, 0::2] = book[:, :, 0::2] * PRICE_SCALE * grid.tick.denominator / grid.tick.numerator
        steps[:, :, 1::2] = book[:, :, 1::2] * SIZE_SCALE * grid.lot.denominator / grid.lot.numerator
        with np.errstate(invalid="ignore"):
            whole = np.rint(steps)
            ask, bid = whole[:, :, 0], whole[:, :, 2]
            off = np.abs(steps - whole) > SLACK * np.maximum(1, whole)
            rules = {
                Rule.NOT_FINITE: ~np.isfinite(steps).all((1, 2)),
                Rule.NEGATIVE: (steps < 0).any((1, 2)),
                Rule.NOT_POSITIVE: (whole < 1).any((1, 2)),
                Rule.OFF_GRID: off[:, :, 0::2].any((1, 2)),
                Rule.PART_LOT: off[:, :, 1::2].any((1, 2)),
                Rule.CROSSED: bid[:, 0] > ask[:, 0],
                Rule.LOCKED: bid[:, 0] == ask[:, 0],
                Rule.UNORDERED: (np.diff(ask, axis=1) <= 0).any(1) | (np.diff(bid, axis=1) >= 0).any(1),
            }
        good, findings = np.ones(len(book), bool), Findings()
        for rule, broken in rules.items():  # an event is left out under the first rule that it breaks
            events = np.flatnonzero(broken & good)
            for event in events[:EXAMPLES_MAX].tolist():
                findings.add(event, rule, " ".join(f"{value:g}" for value in book[event].ravel()[:8]))
            findings.counts[rule] += max(0, len(events) - EXAMPLES_MAX)
            good &= ~broken
        return whole[good].astype(np.int64), np.flatnonzero(good), findings


def read(path: Path, *, sha256: str) -> Fi2010:
    """The file ``path``, whose bytes must have ``sha256``. Raises BadInput with the line and a remedy."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise BadInput(f"{path}: the name does not say its normalisation; keep the publisher's, such as "
                       "Train_Dst_NoAuction_DecPre_CF_1.txt")  # fmt: skip
    if not path.is_file():
        raise BadInput(f"{path} is missing; get it from the publisher, this project has no copy")
    if (held := sha256_of(path)) != sha256.lower():
        raise BadInput(f"{path}: its SHA-256 is {held}, {sha256 or 'none'} is expected; get the file again, or correct "
                       "--sha256 if this is the file you mean")  # fmt: skip
    rows: list[np.ndarray] = []
    for number, line in enumerate(text_lines(path), start=1):
        if number > LINES:
            raise BadInput(f"{path}: has a line {number}, {LINES} are expected; get the file again")
        rows.append(_numbers(path, number, line, len(rows[0]) if rows else 0))
    if len(rows) < LINES:
        raise BadInput(f"{path}: ends after line {len(rows)}, {LINES} are expected; get the file again")
    return Fi2010(path, match[1], np.stack(rows))


def _numbers(path: Path, number: int, line: bytes, count: int) -> np.ndarray:
    cells = line.split()
    if not cells or (count and len(cells) != count):
        expected = f"{count} as line 1" if count else "at least one"
        raise BadInput(f"{path}: line {number} has {len(cells)} numbers, {expected} expected; get the file again")
    try:
        values = np.array(cells, np.bytes_).astype(np.float64)
    except ValueError as error:
        raise BadInput(f"{path}: line {number} holds what is no number ({error}); get the file again") from None
    if number > LABELS and not np.isin(values, (1, 2, 3)).all():
        wrong = values[~np.isin(values, (1, 2, 3))][0]
        raise BadInput(f"{path}: line {number} holds the label {wrong:g}, 1, 2 or 3 are expected; get the file again")
    return values


def describe(file: Fi2010) -> dict[str, Any]:
    """Events, how often each label of the longest horizon, and of DecPre what was found wrong with its books."""
    moves, counts = np.unique(file.labels[:, -1], return_counts=True)
    about: dict[str, Any] = {"file": file.path.name, "normalisation": file.normalisation, "events": len(file.labels)}
    about |= {f"label_{int(move)}": int(count) for move, count in zip(moves, counts, strict=True)}
    if file.normalisation == "DecPre":
        books, _, findings = file.books()
        about |= {"books": len(books), "findings": {rule.value: n for rule, n in findings.counts.items() if n}}
    return about
