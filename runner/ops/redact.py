"""Keeping secrets out of what is written: known values, fields by name, and what is secret by its form."""

import base64
import re
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any, Final
from urllib.parse import quote, quote_plus

from runner.secrets import HIDDEN

_PART_MIN: Final = 8  # a part of a URL shorter than this is a word, not a token
_VALUE_MIN: Final = 4  # a secret shorter than this is in every other word
_NAMES: Final = (
    r"tokens?|secrets?|passw(?:or)?ds?|passphrases?|api[-_]?keys?|authorization|private[-_]?keys?|signatures?|cookies?"
    r"|credentials?|access[-_]?keys?"
)
_FIELD: Final = re.compile(rf"(?i)(?:{_NAMES})$")
_FORMS: Final = tuple(
    (re.compile(pattern), put)
    for pattern, put in (
        (r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", HIDDEN),
        (r"(://)[^/\s@\"']+@", rf"\1{HIDDEN}@"),
        (r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}", rf"\1 {HIDDEN}"),
        (r"\b(?:bot)?\d{6,}:[\w-]{20,}", HIDDEN),  # Telegram
        (r"(hooks\.slack\.com/\w+/)[^\s\"']+", rf"\1{HIDDEN}"),
        (r"\bxox[a-z]-[\w-]+", HIDDEN),  # Slack
        (rf"(?i)((?:{_NAMES})[\"']?\s*[=:]\s*)(?:\"[^\"]+\"|'[^']+'|[^\s&,;\"']+)", rf"\1{HIDDEN}"),
    )
)


class Redaction:
    """Takes secrets out of text and structures; also a structlog processor."""

    def __init__(self, known: Callable[[], Iterable[str]]) -> None:
        """``known``: every secret value handed out so far (``runner.secrets.Secrets.known``)."""
        self._known = known

    def __call__(self, logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """The log line ``event`` without secrets."""
        values = self._values()
        return {_text(key, values): _clean(key, value, values) for key, value in event.items()}

    def text(self, text: str) -> str:
        """``text`` without secrets."""
        return _text(text, self._values())

    def _values(self) -> list[str]:
        """What to look for: each value as it is, as URLs and headers write it, and the parts of one that is a URL."""
        found: set[str] = set()
        for value in self._known():
            parts = [part for part in re.split(r"[/:@?&=#\s]+", value) if len(part) >= _PART_MIN]
            whole = [value] if len(value) >= _VALUE_MIN else []
            for item in (*whole, *(parts if "://" in value else ())):
                coded = base64.b64encode(item.encode()).decode().rstrip("=")
                found |= {item, quote(item, safe=""), quote_plus(item), coded}
        return sorted(found, key=len, reverse=True)  # the whole before its parts


def _clean(key: str, value: Any, values: list[str]) -> Any:
    if isinstance(value, dict):
        return {_text(str(name), values): _clean(str(name), item, values) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(key, item, values) for item in value]
    if value is None or (isinstance(value, bool | int | float) and not _FIELD.search(key)):
        return value
    if _FIELD.search(key):
        return HIDDEN
    return _text(str(value), values)


def _text(text: str, values: list[str]) -> str:
    for value in values:
        text = text.replace(value, HIDDEN)
    for form, put in _FORMS:
        text = form.sub(put, text)
    return text
