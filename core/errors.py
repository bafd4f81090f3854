"""Errors: one tree, and ``require`` for invariants (``assert`` vanishes under ``python -O``).

PortcullisError
├── BadInput          a file, record or value that cannot be used; names the thing, the value, the limit, the remedy
│   ├── BadTape       a tape or journal that is truncated, altered or of another version
│   └── BadConfig     an unknown key, a wrong unit, an impossible or contradictory limit
├── Refused           something that may not be trusted or done: unsigned bundle, altered ledger, failed verification
└── BrokenInvariant   a fault of this program; never caught

An expected trading outcome is none of these: it is a ``Reason`` in a record.
"""


class PortcullisError(Exception):
    """Base of everything this program raises on purpose. ``exit_code`` is what a command line ends with."""

    exit_code = 30


class BadInput(PortcullisError):
    """Input that cannot be used."""

    exit_code = 30


class BadTape(BadInput):
    """A tape or journal that is truncated, altered or of another version."""

    exit_code = 31


class BadConfig(BadInput):
    """A configuration that does not hold together."""

    exit_code = 32


class Refused(PortcullisError):
    """Something that may not be trusted or done."""

    exit_code = 40


class BrokenInvariant(PortcullisError):
    """A fault of this program."""

    exit_code = 70


def require(condition: bool, message: str) -> None:
    """Raise BrokenInvariant with ``message`` unless ``condition`` holds."""
    if not condition:
        raise BrokenInvariant(message)
