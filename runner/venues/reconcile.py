"""The venue's lists against our books: they are the arbiter, the stream is only faster.

Executions are read from a cursor that only this list moves; open orders are compared with ours; balances with what the
executions moved. What differs becomes a fill that was missed, or a finding for the session, which books it.
"""

import asyncio
from collections.abc import Callable

from core.errors import Refused
from core.records import OrderState
from runner.venues.health import ACCOUNT, Health
from runner.venues.outbound import ENDS, Execution, Order, Outbound, Report, Stage
from runner.venues.profiles import Ids, Profile
from runner.venues.protocol import Finding
from runner.venues.rest import Rest, VenueError

GONE = (Stage.REJECTED, Stage.ABSENT)  # told to the core as never having been


class Reconciler:
    """``on_missed`` gets each execution that the list told first."""

    def __init__(
        self,
        profile: Profile,
        rest: Rest,
        outbound: Outbound,
        ids: Ids,
        health: Health,
        on_missed: Callable[[Execution], None],
    ) -> None:
        self._profile, self._rest, self._outbound, self._ids, self._health = profile, rest, outbound, ids, health
        self._on_missed = on_missed
        self._cursors: list[int] = []  # by instrument: the last execution read
        self._foreign: set[str] = set()  # order ids at the venue
        self._lock = asyncio.Lock()
        self._suspects: dict[str, int] = {}  # asset -> difference seen once
        self.balances: dict[str, int] = {}  # as the executions make them

    async def start(self) -> None:
        """Take up cursors and balances that belong together. Raises Refused for open orders that are nobody's."""
        while True:
            self._cursors = [await self._last(k) for k in range(len(self._profile.listed))]
            self.balances = await self._profile.balances(self._rest)
            if self._cursors == [await self._last(k) for k in range(len(self._profile.listed))]:
                break
        strange = []
        for k in range(len(self._profile.listed)):
            for report in await self._profile.orders(self._rest, k):
                if self._outbound.report(report) is None:
                    strange.append(f"{report.client_id} ({report.venue_id})")
        if strange:
            raise Refused(
                f"{len(strange)} open orders of the account are not in the journal: {', '.join(strange[:8])}; one "
                "runner per account: stop what placed them, cancel them at the venue, then start again"
            )

    async def once(self) -> None:
        """Compare everything."""
        for k in range(len(self._profile.listed)):
            await self._open_orders(k)
        await self._compare_balances()

    async def executions(self, k: int) -> int:
        """Read the list from its cursor on; how many entries."""
        async with self._lock:
            found = await self._profile.executions(self._rest, k, after=self._cursors[k])
            by_order: dict[str, list[Execution]] = {}
            for each in found:
                by_order.setdefault(each.venue_id, []).append(each)
            for venue_id, theirs in by_order.items():
                await self._book(k, venue_id, theirs)
            for each in found:
                for asset, units in each.moves.items():
                    self.balances[asset] = self.balances.get(asset, 0) + units
                self._cursors[k] = max(self._cursors[k], each.exec_id)
        return len(found)

    async def fills_of(self, order: Order) -> None:
        """Read all executions of one order."""
        self._take(order, await self._profile.executions(self._rest, order.instrument, venue_id=order.venue_id))

    async def search(self, order: Order, since_ms: int) -> bool:
        """Whether the venue has ``order`` in any list: by its id, open, of any state, or by an execution."""
        k = order.instrument
        report = await self._profile.order(self._rest, k, client_id=order.client_id)
        reports = [report] if report is not None else []
        reports += await self._profile.orders(self._rest, k)
        reports += await self._profile.orders(self._rest, k, since_ms=since_ms)
        for each in reports:
            if each.client_id == order.client_id:
                self._outbound.report(each)
        await self.executions(k)
        return order.stage != Stage.UNKNOWN

    async def _last(self, k: int) -> int:
        return max((each.exec_id for each in await self._profile.executions(self._rest, k)), default=0)

    async def _book(self, k: int, venue_id: str, theirs: list[Execution]) -> None:
        order = self._outbound.find("", venue_id)
        if order is None and venue_id not in self._foreign:
            report = await self._profile.order(self._rest, k, venue_id=venue_id)
            order = self._outbound.report(report) if report is not None else None
        if order is None:
            self._foreign.add(venue_id)
            lots = sum(each.qty for each in theirs)
            self._outbound.findings.append(Finding(kind="foreign fill", subject=venue_id, actual=lots))
            self._health.block(ACCOUNT, f"order {venue_id}, which is not ours, was filled")
        elif order.filled + sum(each.qty for each in theirs if each.exec_id not in order.seen) < order.said:
            await self.fills_of(order)  # some of them lie before the cursor
        else:
            self._take(order, theirs)

    def _take(self, order: Order, theirs: list[Execution]) -> None:
        missed = [each for each in theirs if each.exec_id not in order.seen]
        self._outbound.executions(order, theirs)
        for each in missed:
            self._on_missed(each)

    async def _open_orders(self, k: int) -> None:
        ours = [order for order in self._outbound.live() if order.stage == Stage.ACKED and order.instrument == k]
        listed = await self._profile.orders(self._rest, k)
        for report in listed:
            order = self._outbound.report(report)
            if order is None or order.stage in GONE:
                await self._stray(k, report, order)
        at_venue = {report.venue_id for report in listed}
        for order in ours:
            if not order.is_over and order.venue_id not in at_venue:
                report_ = await self._profile.order(self._rest, k, venue_id=order.venue_id)
                if report_ is not None:
                    self._outbound.report(report_)

    async def _stray(self, k: int, report: Report, order: Order | None) -> None:
        """An open order that no one of ours wants: cancelled if it is of this run, else it is someone else's."""
        if report.state in ENDS or report.state == OrderState.REJECTED:
            return
        if order is None and not self._ids.is_own(report.client_id):
            if report.venue_id not in self._foreign:
                self._foreign.add(report.venue_id)
                self._outbound.findings.append(
                    Finding(kind="foreign order", subject=report.client_id, actual=report.qty)
                )
                self._health.block(ACCOUNT, f"order {report.client_id}, which is not ours, is open")
            return
        if order is None:
            self._outbound.findings.append(Finding(kind="orphan", subject=report.client_id, actual=report.qty))
        try:
            await self._profile.cancel(self._rest, k, report.client_id)
        except VenueError:
            return  # it is still listed next time

    async def _compare_balances(self) -> None:
        """A difference counts once it was there twice: a list may be a moment behind another."""
        count = len(self._profile.listed)
        for k in range(count):
            await self.executions(k)
        actual = await self._profile.balances(self._rest)
        if any([await self.executions(k) for k in range(count)]):
            return
        assets = {asset for item in self._profile.listed for asset in (item.instrument.base, item.instrument.quote)}
        differ = {
            asset: delta for asset in sorted(assets) if (delta := actual.get(asset, 0) - self.balances.get(asset, 0))
        }
        for asset, delta in differ.items():
            if self._suspects.get(asset) == delta:
                expected = self.balances.get(asset, 0)
                self._outbound.findings.append(
                    Finding(kind="balance", subject=asset, expected=expected, actual=expected + delta)
                )
                self.balances[asset] = expected + delta
        self._suspects = differ
