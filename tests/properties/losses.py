"""What the plain model measures losses from, and failures: days, weeks, the peak, round trips, the circuit."""

from dataclasses import dataclass, field

from core.records import DAY_NS, PPM
from core.settings import Risk
from tests.properties.holding import Order, ceil_div


@dataclass(slots=True)
class Losses:
    """Equity at the peak and where day and week began; which stops hold; losing trips."""

    risk: Risk
    peak: int
    day_equity: int
    week_equity: int
    day_floor: int = 0  # equity at which the stop holds
    week_floor: int = 0
    day: int = 0
    day_fees: int = 0
    stopped: bool = False  # the day's loss reached the daily stop
    week_stopped: bool = False
    backed_off: bool = False  # sizes are cut for the rest of the day
    lost_ns: list[int] = field(default_factory=list)  # when each losing trip ended

    def new_time(self, now_ns: int, equity: int) -> None:
        """``now_ns`` has come."""
        day, week = now_ns // DAY_NS, (self.day + 3) // 7  # weeks begin on Monday, 1970-01-01 was a Thursday
        if day <= self.day:
            return
        self.day, self.day_equity, self.stopped, self.day_fees = day, max(0, equity), False, 0
        self.day_floor = self.day_equity - _share_up(self.day_equity, self.risk.daily_stop_ppm)
        self.backed_off = False
        if (day + 3) // 7 > week:
            self.week_equity, self.week_stopped = max(0, equity), False
            self.week_floor = self.week_equity - _share_up(self.week_equity, self.risk.weekly_stop_ppm)

    def measure(self, equity: int) -> None:
        """The account is worth ``equity`` now."""
        self.peak = max(self.peak, equity)
        self.stopped = self.stopped or equity <= self.day_floor
        if self.risk.weekly_stop_ppm > 0:
            self.week_stopped = self.week_stopped or equity <= self.week_floor

    def drawdown_ppm(self, equity: int) -> int:
        return max(0, ceil_div((self.peak - equity) * PPM, max(1, self.peak)))

    def moved(self, before: int, equity: int) -> None:
        """What came from outside changed equity: what was and may be lost stays in money, drawdown as a ratio."""
        amount = equity - before
        if before > 0 and equity > 0:
            self.peak = max(equity, ceil_div(self.peak * equity, before))
        else:
            self.peak = max(1, equity, self.peak + amount)
        self.day_equity = max(0, self.day_equity + amount)
        self.week_equity = max(0, self.week_equity + amount)
        self.day_floor, self.week_floor = self.day_floor + amount, self.week_floor + amount

    def trip_ended(self, now_ns: int, earned: int) -> None:
        """A round trip is over; enough losing ones in the window cut sizes."""
        if earned >= 0:
            return
        self.lost_ns.append(now_ns)
        most = self.risk.backoff_losses
        if 0 < most <= len(self.lost_ns) and now_ns - self.lost_ns[-most] <= self.risk.backoff_window_ns:
            self.backed_off = True


def _share_up(amount: int, ppm: int) -> int:
    return ceil_div(amount * ppm, PPM)


@dataclass(slots=True)
class Circuit:
    """Orders that the venue rejected in a row, and when the next entry may be tried."""

    risk: Risk
    failures: int = 0
    until_ns: int = 0
    probe: Order | None = None  # sent to see whether it can close

    @property
    def has_tripped(self) -> bool:
        """It has opened, and no order was accepted since its time was over."""
        return self.failures >= self.risk.circuit_failures

    def rejected(self, now_ns: int) -> None:
        if self.has_tripped and now_ns < self.until_ns:
            return
        self.failures += 1
        if self.has_tripped:
            self.until_ns, self.probe = now_ns + self.risk.circuit_open_ns, None

    def accepted(self, now_ns: int) -> None:
        if not self.has_tripped or now_ns >= self.until_ns:
            self.failures, self.probe = 0, None
