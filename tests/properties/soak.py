"""``python -m tests.properties.soak --minutes N --seed S``: sessions of the rule machine's world for as long as asked.

Every session is its seed: ``--seed S --sessions 1`` runs one again. On a broken law the seed and the last actions are
printed, and the exit code is 70.
"""

import argparse
import sys
import time
from collections import Counter
from typing import Any

import numpy as np

from tests.properties.holding import Broken
from tests.properties.scenarios import ACTIONS, WORLDS
from tests.properties.world import World

STEPS = 120
_NAMES = tuple(ACTIONS)
_SHARES = np.array([share for share, _ in ACTIONS.values()], float) / sum(share for share, _ in ACTIONS.values())


def session(seed: int, steps: int = STEPS) -> World:
    """The session of ``seed``, to its end and once again from its inputs. Raises Broken, with the actions noted."""
    rng = np.random.default_rng([31, seed])
    world, done = World(seed % len(WORLDS)), list[tuple[str, dict[str, Any]]]()
    try:
        for name in rng.choice(len(_NAMES), steps, p=_SHARES):
            arguments = ACTIONS[_NAMES[name]][1]
            drawn = {key: values[int(rng.integers(len(values)))] for key, values in arguments.items()}
            done.append((_NAMES[name], drawn))
            getattr(world, _NAMES[name])(**drawn)
        world.replay()
    except Exception as error:
        error.add_note(f"seed {seed}, action {len(done)} of {steps}; the last ones:")
        for name, drawn in done[-5:]:
            error.add_note(f"  {name} {drawn}")
        raise
    return world


def soak(seed: int, *, sessions: int = 0, minutes: float = 0.0, steps: int = STEPS) -> tuple[int, Counter[str]]:
    """Run sessions from ``seed`` on until a limit (0: none) is reached; (sessions survived, what was seen)."""
    until = time.monotonic() + 60 * minutes if minutes else float("inf")
    seen, survived, told = Counter[str](), 0, time.monotonic()
    while (not sessions or survived < sessions) and time.monotonic() < until:
        seen += session(seed + survived, steps).judge.seen
        survived += 1
        if time.monotonic() - told > 30:
            told = time.monotonic()
            sys.stderr.write(f"{survived} sessions survived\n")
    return survived, seen


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.properties.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=0.0, help="as long as this; without a limit: until stopped")
    parser.add_argument("--sessions", type=int, default=0, help="at most so many")
    parser.add_argument("--seed", type=int, default=0, help="of the first session; the next ones count up")
    parser.add_argument("--steps", type=int, default=STEPS, help="actions per session")
    options = parser.parse_args()
    try:
        survived, seen = soak(options.seed, sessions=options.sessions, minutes=options.minutes, steps=options.steps)
    except Broken as error:
        sys.stdout.write("\n".join([f"BROKEN: {error}", *error.__notes__, ""]))
        return 70
    for name, count in sorted(seen.items()):
        sys.stdout.write(f"{count:>9} {name}\n")
    sys.stdout.write(f"{survived} sessions of {options.steps} actions survived, from seed {options.seed} on\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
