"""What the doubles share below their dialects: requests, answers, connections, keys, limits, and where faults strike.

A double is a function of requests: ``handle`` gives the answer, ``connect`` a session that takes and sends texts. The
server carries them over sockets, the transport within the process; both call the same code.
"""

import heapq
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from tests.doubles import faults
from tests.doubles.clock import SECOND_NS
from tests.doubles.exchange import Exchange
from tests.doubles.faults import Fault, FaultPlan
from tests.doubles.orders import Event

Params = dict[str, str]
NUMBERS = re.compile(r'"\\u0000([-0-9.]+)"')


def number(text: str) -> str:
    """A value that is to be a JSON number with exactly these digits."""
    return f"\x00{text}"


def encode(tree: Any) -> str:
    """JSON as it is sent."""
    return NUMBERS.sub(r"\1", json.dumps(tree, separators=(",", ":")))


@dataclass(frozen=True)
class Request:
    """What came over HTTP."""

    method: str
    path: str
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)  # names in lower case
    body: str = ""

    def form(self, text: str) -> Params:
        """Query or body as parameters."""
        return dict(parse_qsl(text, keep_blank_values=True))


@dataclass
class Response:
    """What goes back, and how: answered, closed (no answer, the connection ends) or hung (no answer)."""

    tree: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    fate: str = "answered"
    delay_s: float = 0.0
    is_garbled: bool = False
    raw: str = ""  # a body that is not JSON

    @property
    def text(self) -> str:
        """The body."""
        text = self.raw or ("" if self.tree is None else encode(self.tree))
        return text[: len(text) // 2] if self.is_garbled else text


class Answer(Exception):
    """Raised anywhere below a handler: this is the answer."""

    def __init__(self, response: Response):
        super().__init__(response.tree)
        self.response = response


@dataclass(frozen=True)
class Key:
    """An API key and what it may do."""

    api: str
    secret: str
    account: str = "main"
    rights: frozenset[str] = frozenset({"read", "trade"})  # read, trade, withdraw


@dataclass(frozen=True)
class Route:
    """One endpoint."""

    kind: str
    handler: Callable[..., Any]
    allowed: frozenset[str] = frozenset()
    needed: frozenset[str] = frozenset()
    right: str = ""  # "" for public
    weight: int = 1


def route(
    kind: str, handler: Callable[..., Any], needed: str = "", more: str = "", right: str = "", weight: int = 1
) -> Route:
    """A route with its parameters' names in two lists of words."""
    return Route(kind, handler, frozenset(f"{needed} {more}".split()), frozenset(needed.split()), right, weight)


@dataclass
class Bucket:
    """A limit of requests: a level that each raises by its weight and that falls with time."""

    size: float
    per_s: float
    level: float = 0.0
    seen_ns: int = 0

    def take(self, weight: float, now_ns: int) -> float:
        """0 when there was room, else the seconds until there will be."""
        self.level = max(0.0, self.level - max(0, now_ns - self.seen_ns) / SECOND_NS * self.per_s)
        self.seen_ns = now_ns
        if self.level + weight > self.size:
            return (self.level + weight - self.size) / self.per_s
        self.level += weight
        return 0.0


class Session:
    """One WebSocket connection as the venue sees it."""

    def __init__(self, double: "Double", path: str):
        self.double, self.path = double, path
        self.carry: Callable[[str], None] = lambda text: None  # set by whatever carries it
        self.end: Callable[[], None] = lambda: None
        self.is_dead = False  # open, and silent
        self._held: dict[str, list[str]] = {}  # by kind: what the next of its kind is to overtake

    def begin(self) -> None:
        """The connection stands."""

    def receive(self, text: str) -> None:
        """The client says something."""

    def notice(self, event: Event) -> None:
        """Something happened at the exchange."""

    def push(self, kind: str, tree: Any) -> None:
        """Send a message, unless a fault has it otherwise."""
        if self.is_dead:
            return
        struck = self.double.plan.of(f"ws.{kind}", faults.STREAM)
        if "half_open" in struck:
            self.is_dead = True
        if "disconnect" in struck:
            self.double.drop(self)
        if struck.keys() & {"drop", "half_open", "disconnect"}:
            return
        text = encode(self.double.spoiled(tree) if "wrong_checksum" in struck else tree)
        if "reorder" in struck:
            self._held.setdefault(kind, []).append(text)
            self.double.later(struck["reorder"].seconds, lambda: self._release(kind))
            return
        for _ in range(2 if "duplicate" in struck else 1):
            if "delay" in struck:
                self.double.later(struck["delay"].seconds, lambda: self._send(text))
            else:
                self._send(text)
        self._release(kind)

    def _release(self, kind: str) -> None:
        for text in self._held.pop(kind, []):
            self._send(text)

    def _send(self, text: str) -> None:
        if not self.is_dead and self in self.double.sessions:
            self.carry(text)


class Double:
    """One venue: its exchange behind, its dialect (in the subclass) before, and the faults between."""

    name = ""
    routes: dict[tuple[str, str], Route]

    def __init__(self, exchange: Exchange, plan: FaultPlan | None = None, keys: list[Key] | None = None):
        self.exchange, self.plan, self.clock = exchange, plan or FaultPlan(), exchange.clock
        self.keys = {key.api: key for key in keys or []}
        self.sessions: list[Session] = []
        self.unexpected: list[str] = []  # what no client should have asked
        self.asked: list[tuple[str, Params]] = []
        self.down_until_ns = 0  # restarting: no connection is taken
        self.maintained_until_ns = 0
        self.is_late = False  # what is carried out now had come long before
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        exchange.listeners.append(self._notice)
        exchange.clock.moved.append(self.run_due)

    # What the dialect gives

    def process(self, found: Route, request: Request) -> Response:
        """Check and carry out a request."""
        raise NotImplementedError

    def open(self, path: str) -> Session | None:
        """A session for a WebSocket address, None where there is none."""
        raise NotImplementedError

    def arrive(self, request: Request) -> None:
        """What the venue's door notes of a request that is carried out late."""

    def failure(self, name: str, detail: str = "") -> Response:
        """The venue's answer for a fault of ``faults.REFUSED``, for maintenance, and for what it does not know."""
        raise NotImplementedError

    def spoiled(self, tree: Any) -> Any:
        """A message about the book whose checksum, or sequence, is wrong."""
        raise NotImplementedError

    # What carries it calls

    def find(self, request: Request) -> Route | None:
        """The endpoint asked for."""
        return self.routes.get((request.method, request.path))

    def handle(self, request: Request) -> Response:
        """Answer a request, unless a fault has it otherwise."""
        if self.clock.now_ns() < self.down_until_ns:
            return Response(fate="closed")
        found = self.find(request)
        if found is None:
            self.complain(f"no endpoint {request.method} {request.path}")
            return self.failure("unknown endpoint", f"{request.method} {request.path}")
        struck = self.plan.of(found.kind, faults.REQUEST)
        for name in struck.keys() & faults.VENUE.keys():
            self.strike(struck[name])
        if self.clock.now_ns() < self.down_until_ns:
            return Response(fate="closed")
        if self.clock.now_ns() < self.maintained_until_ns and found.kind != "status":
            return self.failure("maintenance")
        for name in struck.keys() & faults.REFUSED.keys():
            if name in ("refused", "unanswered"):
                return Response(fate="closed" if name == "refused" else "hung")
            return self.failure(name)
        return self._handled(found, request, struck)

    def connect(self, path: str) -> Session | None:
        """Open a connection; None refuses it."""
        if self.clock.now_ns() < max(self.down_until_ns, self.maintained_until_ns):
            return None
        session = self.open(path)
        if session is None:
            self.complain(f"no stream at {path}")
            return None
        self.sessions.append(session)
        return session

    def drop(self, session: Session) -> None:
        """Close a connection."""
        if session in self.sessions:
            self.sessions.remove(session)
            session.end()

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Do something in so many seconds of the venue's time."""
        self._count += 1
        heapq.heappush(self._due, (self.clock.now_ns() + round(seconds * SECOND_NS), self._count, call))

    def run_due(self) -> None:
        """Do what is due."""
        while self._due and self._due[0][0] <= self.clock.now_ns():
            heapq.heappop(self._due)[2]()

    # What a test or a plan does to it

    def strike(self, fault: Fault) -> None:
        """A fault of the venue itself."""
        until_ns = self.clock.now_ns() + round(fault.seconds * SECOND_NS)
        if fault.name == "restart":
            self.down_until_ns = until_ns
            for session in list(self.sessions):
                self.drop(session)
        elif fault.name == "maintenance":
            self.maintained_until_ns = until_ns
        elif fault.name == "delist":
            self.exchange.delist(fault.text)
        elif fault.name == "skew":
            self.clock.advance(fault.seconds)
        elif fault.name == "by_hand":
            self.exchange.deposit(next(iter(self.keys.values())).account, fault.text, fault.units)

    def complain(self, what: str) -> None:
        """Note what no client should do; ``verify`` raises for it."""
        self.unexpected.append(what)

    def verify(self) -> None:
        """At a test's end: nothing unexpected was asked, and the exchange's laws hold."""
        assert not self.unexpected, f"{self.name} was asked what it does not know: {self.unexpected}"
        self.exchange.check()

    def _handled(self, found: Route, request: Request, struck: dict[str, Fault]) -> Response:
        if "late" in struck:
            self.arrive(request)
            self.later(struck["late"].seconds, lambda: self._late(found, request))
            return Response(fate="hung")
        response = self._carried_out(found, request)
        if "lost_ack" in struck:
            return Response(fate="closed")
        if "timeout" in struck:
            return Response(fate="hung")
        if "error_after" in struck:
            return self.failure("server_error")
        response.delay_s = struck["slow"].seconds if "slow" in struck else 0.0
        response.is_garbled = "garbled" in struck
        return response

    def _late(self, found: Route, request: Request) -> None:
        self.is_late = True
        self._carried_out(found, request)
        self.is_late = False

    def _carried_out(self, found: Route, request: Request) -> Response:
        try:
            return self.process(found, request)
        except Answer as answer:
            return answer.response
        except Exception as fault:
            self.complain(f"the double broke at {request.method} {request.path}: {fault!r}")
            return self.failure("server_error")

    def _notice(self, event: Event) -> None:
        for session in list(self.sessions):
            session.notice(event)
