"""``python -m tests.fuzz.dialects --inputs N --seed S``: damaged messages for every dialect of ``feeds.dialects``.

Venues that are right send their messages; some arrive cut, flipped, with fields exchanged, of other types, huge, deeply
nested, encoded otherwise, twice, late or with an impossible time. Whatever comes, a dialect raises nothing, its records
keep their laws, each message leaves a trace, a valid book is the venue's, and a new connection mends everything
(``tests.fuzz.laws``, ``.lobster``, ``.bulk``). Every session is its seed: on a broken law dialect and seed are printed,
``--dialects D --seed S --sessions 1`` runs it again, and the exit code is 70.
"""

import argparse
import faulthandler
import json
import random
import sys
import time
import traceback
import warnings
from collections import Counter, deque

from tests.fuzz import bulk, lobster
from tests.fuzz.damage import ODD_TIMES, bytes_damaged, fields_damaged
from tests.fuzz.laws import How, Judge, require
from tests.fuzz.venues import VENUES, Frame, Venue

STEPS = 40
HANGS_S = 60  # a session takes milliseconds
FILES = {"lobster": lobster.session, "binance_bulk": bulk.session}
DIALECTS = (*VENUES, *FILES)


def session(name: str, seed: int, seen: Counter[str]) -> int:
    """One connection of one venue, then another; how many damaged messages it handed over. Raises Broken."""
    rng = random.Random(f"{name} {seed}")
    if name in FILES:
        return FILES[name](rng, seen)
    venue = VENUES[name](rng)
    judge, past, inputs = Judge(venue), deque[Frame](maxlen=8), 0
    for _ in range(STEPS):
        frame = venue.snapshot() if rng.random() < (0.05 if judge.records.is_valid else 0.3) else venue.next()
        past.append(frame)
        fate = rng.random()
        if fate < 0.5:  # damaged ones come before it
            for _ in range(rng.randrange(1, 4)):
                inputs += damage(judge, frame, rng.choice(past), rng, is_lost=False)
        elif fate < 0.7:  # a damaged one comes instead
            inputs += damage(judge, frame, rng.choice(past), rng, is_lost=True)
            continue
        elif fate < 0.73:
            continue  # it is lost
        judge.hand(venue.now_ns, frame.message, frame, How.NEW)
    mend(judge, venue)
    seen.update({f"{name} {rule}": count for rule, count in judge.follower.findings.counts.items()})
    seen.update(
        {f"{name} passed over": judge.follower.findings.passed.total(), f"{name} books compared": judge.compared}
    )
    return inputs


def damage(judge: Judge, frame: Frame, other: Frame, rng: random.Random, *, is_lost: bool) -> int:
    """Hand over a damaged ``frame``, or ``other`` once more."""
    venue, what = judge.venue, rng.random()
    if what < 0.08 and not is_lost:
        judge.hand(venue.now_ns, other.message, other, How.AGAIN)
        return 1
    if what < 0.12:
        judge.hand(rng.choice(ODD_TIMES), frame.message, frame, How.DAMAGED)
        return 1
    if what < 0.16:
        line = bytes_damaged(rng, b"%d %s" % (venue.now_ns, frame.message))
        stamp = line.strip().partition(b" ")[0]
        judge.hand(int(stamp) if stamp.isdigit() else 0, line, frame, How.DAMAGED_LINE)
        return 1
    message = bytes_damaged(rng, frame.message) if what < 0.42 else fields_damaged(rng, frame, other)
    judge.hand(venue.now_ns, message, frame, How.DAMAGED)
    if frame.is_book and is_another(venue, frame, message):
        judge.spoilt = max(judge.spoilt, 1)
    return 1


def is_another(venue: Venue, frame: Frame, message: bytes) -> bool:
    """Whether the message now says it is of another channel: then a dialect cannot know that it was of the book."""
    try:
        said = json.loads(message)
    except (ValueError, RecursionError):
        return False
    return isinstance(said, dict) and said.get("channel") != frame.name and said.get("channel") in venue.channels


def mend(judge: Judge, venue: Venue) -> None:
    """Snapshots and updates in order make the true book again, at the latest after a break. Raises Broken."""
    for is_new in (False, True) if venue.mends_itself else (True,):
        if is_new:
            judge.lose()
        for _ in range(3):  # the first may meet damaged updates that waited
            for make in (venue.snapshot, lambda: venue.update(venue.move())):
                frame = make()
                judge.hand(venue.now_ns, frame.message, frame, How.NEW)
        require(judge.records.is_valid and judge.records.levels == venue.book, "snapshots mend the book")


def fuzz(
    names: list[str], seed: int, *, inputs: int = 0, sessions: int = 0, hangs_s: int = 0
) -> tuple[Counter[str], Counter[str]]:
    """Sessions from ``seed`` on, of each dialect, until a limit (0: none) is reached; inputs of each, what was seen.

    A session that takes longer than ``hangs_s`` ends the process with a traceback.
    """
    done, seen, told = Counter[str](), Counter[str](), time.monotonic()
    try:
        for name in names:
            number = 0
            while (not sessions or number < sessions) and (not inputs or done[name] < inputs // len(names)):
                if hangs_s:
                    faulthandler.dump_traceback_later(hangs_s, exit=True, file=sys.__stderr__ or sys.stderr)
                try:
                    with warnings.catch_warnings(action="error"):
                        done[name] += session(name, seed + number, seen)
                except Exception as error:
                    error.add_note(f"--dialects {name} --seed {seed + number} --sessions 1")
                    raise
                number += 1
                if time.monotonic() - told > 30:
                    told = time.monotonic()
                    sys.stderr.write(f"{done.total()} inputs survived\n")
    finally:
        faulthandler.cancel_dump_traceback_later()  # or it would end a process that has long done something else
    return done, seen


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.dialects", description=__doc__)
    parser.add_argument(
        "--inputs", type=int, default=0, help="at least so many damaged messages, shared by all dialects"
    )
    parser.add_argument("--sessions", type=int, default=0, help="at most so many connections of each dialect")
    parser.add_argument("--seed", type=int, default=1, help="of the first session; the next ones count up")
    parser.add_argument("--dialects", default=",".join(DIALECTS), help="with commas")
    options = parser.parse_args()
    if not options.inputs and not options.sessions:
        parser.error("how much? say --inputs or --sessions")
    try:
        limits = {"inputs": options.inputs, "sessions": options.sessions, "hangs_s": HANGS_S}
        done, seen = fuzz(options.dialects.split(","), options.seed, **limits)
    except Exception:
        traceback.print_exc(file=sys.stdout)
        return 70
    for what, count in sorted(seen.items()):
        sys.stdout.write(f"{count:>9} {what}\n")
    for name, count in done.items():
        sys.stdout.write(f"{count:>9} damaged messages of {name} survived\n")
    sys.stdout.write(f"{done.total()} damaged messages survived, from seed {options.seed} on\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
