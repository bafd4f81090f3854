"""One order after another at a venue: sent once, then seen to until nothing about it is open but its filling."""

import asyncio
import random
from collections.abc import Callable
from typing import Final

from core.records import ACTION_MASK, Action, Reason
from runner.live.link import Backoff
from runner.venues import filters
from runner.venues.filters import Reference
from runner.venues.health import Health
from runner.venues.outbound import Order, Outbound, Stage
from runner.venues.profiles import Profile
from runner.venues.reconcile import Reconciler
from runner.venues.rest import Busy, Denied, Endpoint, Rest, Unanswered, VenueError
from runner.venues.settings import HOUR_MS, VenueSettings
from runner.venues.tables import Table
from runner.venues.tasks import Tasks

ORDER_TURN: Final = Endpoint("an order", 1, True)
SECOND_NS: Final = 1_000_000_000


class Care:
    """``changed`` is called when there may be records to take, ``wake`` when the lists should be compared now."""

    def __init__(
        self,
        settings: VenueSettings,
        profile: Profile,
        rest: Rest,
        outbound: Outbound,
        reconciler: Reconciler,
        health: Health,
        table: Table,
        tasks: Tasks,
        *,
        now_ns: Callable[[], int],
        chance: random.Random,
        reference: Callable[[int], Reference] | None,
        changed: Callable[[], None],
        wake: Callable[[], None],
    ) -> None:
        self._settings, self._profile, self._rest, self._outbound = settings, profile, rest, outbound
        self._reconciler, self._health, self._table, self._tasks = reconciler, health, table, tasks
        self._now_ns, self._chance, self._changed, self._wake = now_ns, chance, changed, wake
        self._reference = reference
        self._references: dict[int, tuple[float, Reference]] = {}  # by instrument: when asked for
        self._cared: set[int] = set()  # orders with a task

    def send(self, order: Order) -> None:
        """Begin its life."""
        self._cared.add(order.order_id)
        self._tasks.spawn(self._live(order))

    def see_to(self, *orders: Order) -> None:
        """Ask the venue about each of ``orders`` that needs it and has no task yet."""
        for order in orders:
            if order.needs_care and order.order_id not in self._cared and not self._tasks.closed:
                self._cared.add(order.order_id)
                self._tasks.spawn(self._see_to(order))

    async def _live(self, order: Order) -> None:
        await self._send(order)
        await self._see_to(order)

    async def _send(self, order: Order) -> None:
        reason = await self._obstacle(order)
        left_s = (order.deadline_ns - self._now_ns()) / SECOND_NS if order.deadline_ns else float("inf")
        if reason == Reason.NONE and left_s <= 0:
            reason = Reason.STALE
        if reason == Reason.NONE and not await self._rest.turn(ORDER_TURN, left_s):
            reason = Reason.RATE_LIMIT
        if reason != Reason.NONE:
            self._outbound.refused(order, reason)
        else:
            self._outbound.sent(order, self._rest.venue_ms + self._settings.accept_ms)
            await self._create(order)
        self._changed()

    async def _create(self, order: Order) -> None:
        """The one request. Whatever does not say that the order was taken, or that it was not, leaves it UNKNOWN."""
        try:
            venue_id = await self._profile.create(self._rest, order)
        except Busy:
            self._outbound.refused(order, Reason.RATE_LIMIT)
        except Denied as denied:
            refusal = self._profile.refusal(denied)
            if refusal is None:
                self._outbound.unknown(order)
            else:
                self._outbound.refused(order, refusal)
            if denied.is_clock:
                self._wake()
        except Unanswered as unanswered:
            self._health.failed(str(unanswered))
            self._outbound.unknown(order)
        else:
            if venue_id:
                self._outbound.acked(order, venue_id, self._now_ns())
            else:
                self._outbound.unknown(order)

    async def _obstacle(self, order: Order) -> Reason:
        """Why ``order`` is not sent at all; judged again once prices were waited for."""
        if (reason := self._bar(order)) != Reason.NONE:
            return reason
        k = order.instrument
        try:
            prices = await self._prices(k)
        except Denied as denied:
            self._health.failed(str(denied))
            return Reason.MARKET_HALTED
        if (reason := self._bar(order)) != Reason.NONE:
            return reason
        open_orders = sum(each.instrument == k and each.stage != Stage.NEW for each in self._outbound.live())
        limits = self._profile.listed[k].filters
        return filters.check(limits, order.side, order.price, order.qty, order.flags, prices, open_orders)

    def _bar(self, order: Order) -> Reason:
        if self._table.is_stale:
            return Reason.STALE
        if order.flags & ACTION_MASK == Action.OPEN and not self._health.may_trade:
            return Reason.CIRCUIT_OPEN
        return Reason.CANCEL_STALE if order.cancel_wanted else Reason.NONE

    async def _prices(self, k: int) -> Reference:
        if self._reference is not None:
            return self._reference(k)
        now_s = asyncio.get_running_loop().time()
        asked_s, found = self._references.get(k, (float("-inf"), Reference(0)))
        if now_s - asked_s > self._settings.reference_ms / 1000:
            found = await self._profile.reference(self._rest, k)
            self._references[k] = (asyncio.get_running_loop().time(), found)
        return found

    async def _see_to(self, order: Order) -> None:
        """Until nothing about ``order`` is open but its filling, waiting longer each time."""
        waits = Backoff(self._settings.wait_first_ms / 1000, self._settings.wait_max_ms / 1000, self._chance)
        try:
            while order.needs_care:
                most_s = float("inf")
                try:
                    if order.stage == Stage.UNKNOWN:
                        most_s = await self._resolve(order)
                    elif order.lacks_fills:
                        await self._complete(order)
                    else:
                        await self._cancel(order)
                except Denied as denied:
                    self._health.failed(str(denied))
                self._changed()
                if order.needs_care:
                    await asyncio.sleep(min(most_s, waits.after(0)))
        finally:
            self._cared.discard(order.order_id)

    async def _resolve(self, order: Order) -> float:
        """Look for an order of which nobody knows whether it arrived; seconds until its absence can be told."""
        report = await self._profile.order(self._rest, order.instrument, client_id=order.client_id)
        if report is not None:
            self._outbound.report(report)
            return float("inf")
        venue_ms = await self._profile.time_ms(self._rest)
        left_ms = order.accept_until_ms + self._settings.margin_ms - venue_ms
        if left_ms > 0:
            return left_ms / 1000
        # By the venue's own clock the deadline has passed: what is in none of its lists now will never be.
        since_ms = max(0, min(venue_ms, order.made_ns // 1_000_000) - HOUR_MS)
        if not await self._reconciler.search(order, since_ms):
            self._outbound.absent(order)
        return float("inf")

    async def _complete(self, order: Order) -> None:
        """Fetch fills that the stream has not told, a moment later: they may only have been overtaken."""
        await asyncio.sleep(self._settings.settle_ms / 1000)
        if order.lacks_fills:
            await self._reconciler.fills_of(order)

    async def _cancel(self, order: Order) -> None:
        """Ask for the cancellation, then for what became of the order: the answer to a cancel may be lost like any."""
        if not await self._rest.turn(ORDER_TURN, self._settings.wait_max_ms / 1000):
            return
        try:
            await self._profile.cancel(self._rest, order.instrument, order.client_id)
        except Unanswered as unanswered:
            self._health.failed(str(unanswered))
        except VenueError:
            pass  # refused: it has ended, or there were too many requests; the next answer tells
        report = await self._profile.order(self._rest, order.instrument, venue_id=order.venue_id)
        if report is not None:
            self._outbound.report(report)
