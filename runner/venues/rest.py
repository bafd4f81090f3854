"""Requests to a venue through ccxt: what an answer means, one retry for all queries, one budget for all requests.

ccxt signs and sends. What came back is judged here, by status and body, since one class of its errors may stand for
"refused" and for "perhaps". Bodies are read as the venue wrote them: its decimals never become floats.
"""

import asyncio
import contextvars
import json
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, NamedTuple, Protocol

import ccxt.pro as ccxt

from core.errors import BadInput
from runner.live.exchange import moved
from runner.live.link import Backoff
from runner.venues.health import Health
from runner.venues.settings import Keys, VenueSettings

RESERVE_PPM: Final = 200_000  # of the budget that queries leave to orders and cancels
WAIT_LEAST_S: Final = 0.001  # a wait shorter than the clock's resolution would never be over
REASON_CHARS: Final = 200
TEMPORARY: Final = (408, 409, 425)  # 4xx that say nothing of what became of the request


Failure: Final = ccxt.BaseError  # whatever ccxt raises
Ended: Final = ccxt.NetworkError  # what its sockets are ended with


class VenueError(Exception):
    """A request that did not bring what was asked for."""


class Unanswered(VenueError):
    """Nobody knows what became of it: no answer, a broken one, or a failure of the venue's own."""


class Busy(VenueError):
    """Refused for the number of requests; not carried out."""

    def __init__(self, text: str, wait_s: float):
        super().__init__(text)
        self.wait_s = wait_s


class Denied(VenueError):
    """Refused, and not carried out; ``code`` is the venue's. ``is_clock``: our time is not the venue's."""

    def __init__(self, code: str, text: str, *, is_clock: bool = False):
        super().__init__(f"{code} {text}"[:REASON_CHARS])
        self.code, self.text, self.is_clock = code, text, is_clock


class Endpoint(NamedTuple):
    """What is asked: ccxt's method, its weight, and whether it may use the last of the budget."""

    method: str
    weight: int = 1
    urgent: bool = False


@dataclass(slots=True)
class _Answer:
    status: int = 0
    body: str = ""
    headers: dict[str, str] | None = None


_ANSWER: contextvars.ContextVar[_Answer] = contextvars.ContextVar("answer")


class Budget:
    """The venue's limit of requests as a level that falls with time, and pauses that it asks for."""

    def __init__(self, size: float, per_s: float) -> None:
        self.size, self.per_s = size, per_s
        self._level, self._seen_s, self._paused_until_s = 0.0, 0.0, 0.0

    def pause(self, wait_s: float) -> None:
        """Ask nothing for so long."""
        self._paused_until_s = max(self._paused_until_s, asyncio.get_running_loop().time() + wait_s)

    async def turn(self, endpoint: Endpoint, most_s: float = float("inf")) -> bool:
        """Wait until ``endpoint`` may be asked; False if that takes more than ``most_s``."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + most_s
        while (wait_s := self._wait_s(endpoint, loop.time())) > 0:
            if loop.time() + wait_s > until_s:
                return False
            await asyncio.sleep(max(wait_s, WAIT_LEAST_S))
        self._level += endpoint.weight
        return True

    def _wait_s(self, endpoint: Endpoint, now_s: float) -> float:
        self._level = max(0.0, self._level - (now_s - self._seen_s) * self.per_s)
        self._seen_s = now_s
        room = self.size if endpoint.urgent else self.size * (1 - RESERVE_PPM / 1e6)
        return max(self._paused_until_s - now_s, (self._level + endpoint.weight - room) / self.per_s)


class Venue(Protocol):
    """What of a profile (``profiles.Profile``) is needed here."""

    budget: Budget

    def judge(self, status: int, tree: Any) -> VenueError | None:
        """What an answer below 500 means; None: carried out."""


class Rest:
    """One account's requests. ``api`` is ccxt's exchange; it asks nothing of its own accord."""

    def __init__(
        self,
        settings: VenueSettings,
        keys: Keys,
        venue: Venue,
        health: Health,
        *,
        now_ns: Callable[[], int],
        chance: random.Random,
    ) -> None:
        self._settings, self._venue, self._health, self._chance = settings, venue, health, chance
        self._now_ns = now_ns
        self.api = getattr(ccxt, settings.venue)({
            "apiKey": keys.api,
            "secret": keys.secret,
            "enableRateLimit": False,  # ours knows which requests come first
            "timeout": settings.request_ms,
            "options": {"recvWindow": settings.accept_ms, "maxRetriesOnFailure": 0, "ws": {"cost": 0.1}},
        })  # fmt: skip
        self.api.urls["api"] = moved(self.api.urls["api"], settings.rest_url, settings.ws_url)
        self.api.milliseconds = lambda: now_ns() // 1_000_000
        self.api.on_rest_response = _keep_answer
        self.measure: Callable[[], Awaitable[None]] | None = None  # our clock against the venue's

    @property
    def venue_ms(self) -> int:
        """The venue's time, as far as we know it."""
        return self._now_ns() // 1_000_000 - int(self.api.options["timeDifference"])

    def set_clock(self, behind_ms: int) -> None:
        """Our clock is ``behind_ms`` behind the venue's."""
        self.api.options["timeDifference"] = -behind_ms

    async def turn(self, endpoint: Endpoint, most_s: float) -> bool:
        """Wait for the budget; False if that takes longer than ``most_s``."""
        return await self._venue.budget.turn(endpoint, most_s)

    async def send(self, endpoint: Endpoint, params: dict[str, Any]) -> Any:
        """Ask once, now. Raises Unanswered, Busy, Denied."""
        answer = _Answer()
        token = _ANSWER.set(answer)
        try:
            await getattr(self.api, endpoint.method)(params)
        except ccxt.BaseError as error:
            if not answer.status:
                raise Unanswered(_short(error)) from None
        finally:
            _ANSWER.reset(token)
        return self._judged(answer)

    async def query(self, endpoint: Endpoint, params: dict[str, Any] | None = None, *, tries: int = 0) -> Any:
        """Ask until there is an answer, waiting longer each time. Raises Denied; BadInput after ``tries``, if given."""
        waits = Backoff(self._settings.wait_first_ms / 1000, self._settings.wait_max_ms / 1000, self._chance)
        while True:
            await self._venue.budget.turn(endpoint)
            try:
                tree = await self.send(endpoint, dict(params or {}))
            except Denied as denied:
                if not denied.is_clock or self.measure is None:
                    raise
                reason = str(denied)
                await self.measure()
            except Busy as busy:
                reason = str(busy)
            except Unanswered as unanswered:
                reason = str(unanswered)
            else:
                self._health.succeeded()
                return tree
            self._health.failed(reason)
            if tries and waits.failures + 1 >= tries:
                raise BadInput(
                    f"{self._settings.venue}: {endpoint.method} failed {tries} times, last: {reason}; check network, "
                    "keys and the venue's status page"
                )
            await asyncio.sleep(waits.after(0))

    def _judged(self, answer: _Answer) -> Any:
        status, body = answer.status, answer.body[:REASON_CHARS]
        if status in (418, 429):
            wait_s = _retry_after_s(answer.headers or {})
            self._venue.budget.pause(wait_s)
            raise Busy(f"{status} {body}", wait_s)
        try:
            tree = json.loads(answer.body, parse_float=Decimal)
        except ValueError:
            tree = None
        if tree is None or (not 200 <= status < 300 and (not 400 <= status < 500 or status in TEMPORARY)):
            raise Unanswered(f"{status} {body}")
        if (error := self._venue.judge(status, tree)) is not None:
            raise error
        return tree

    async def close(self) -> None:
        """Close ccxt's session."""
        await self.api.close()


def _keep_answer(code: int, reason: str, url: str, method: str, headers: Any, body: str, *_: object) -> str:
    """ccxt's hook for an answer, in the task that asked and before anything is made of it."""
    answer = _ANSWER.get(None)
    if answer is not None:
        answer.status, answer.body = code, body
        answer.headers = {str(name).lower(): str(value) for name, value in headers.items()}
    return body.strip()


def _retry_after_s(headers: dict[str, str]) -> float:
    try:
        return max(0.0, float(headers.get("retry-after", "1")))
    except ValueError:
        return 1.0


def _short(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:REASON_CHARS]
