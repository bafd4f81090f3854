"""A venue's private stream through ccxt: connected for ever, mended, and doubted when the lists know more.

What a stream does not tell is found by reconciliation, so nothing hangs on it but speed. A connection may be open and
silent (half-open); a quiet account is silent too. So silence is no sign, but a fill that the list has and the stream
never told is: then the connection is made anew.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from runner.live.exchange import reason_of
from runner.live.link import Backoff
from runner.venues.outbound import Report
from runner.venues.profiles import Profile
from runner.venues.rest import Ended, Failure
from runner.venues.settings import VenueSettings

BREAKS_KEPT: Final = 100


class PrivateStream:
    """``on_report`` gets each report as it comes, ``on_change`` is called when the stream comes up or goes down."""

    def __init__(
        self,
        profile: Profile,
        api: Any,
        settings: VenueSettings,
        *,
        now_ns: Callable[[], int],
        chance: random.Random,
        on_report: Callable[[Report], None],
        on_change: Callable[[], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._profile, self._api, self._settings, self._now_ns = profile, api, settings, now_ns
        self._on_report, self._on_change, self._failed = on_report, on_change, failed
        self._waits = Backoff(settings.wait_first_ms / 1000, settings.wait_max_ms / 1000, chance)
        self._client: Any = None
        self._lost: Any = None  # a future that fails when the connection does
        self.up_ns = 0  # since when; 0: it is down
        self.breaks: deque[str] = deque(maxlen=BREAKS_KEPT)  # why, each time

    async def run(self) -> None:
        """Keep the stream up until cancelled."""
        while True:
            started_s = asyncio.get_running_loop().time()
            try:
                subscribing = self._profile.subscribe(self._api, self._opened)
                await asyncio.wait_for(subscribing, self._settings.request_ms / 1000)
                self.up_ns = self._now_ns()
                self._on_change()
                await asyncio.wait({self._lost})
                self.breaks.append(reason_of(self._lost))
            except (Failure, TimeoutError, KeyError) as error:  # KeyError: of ccxt, when the venue refuses
                self.breaks.append(str(error) or type(error).__name__)
            finally:
                self.up_ns = 0
                self.disconnect("closed")
            self._on_change()
            await asyncio.sleep(self._waits.after(asyncio.get_running_loop().time() - started_s))

    def doubt(self, executed_ns: int, reason: str) -> None:
        """The venue's list has what happened at ``executed_ns``, and the stream, up since before, never told it."""
        late_ns = self._now_ns() - executed_ns
        if self.up_ns and self.up_ns < executed_ns and late_ns > self._settings.settle_ms * 1_000_000:
            self.disconnect(reason)

    def disconnect(self, reason: str) -> None:
        """End the connection, if there is one."""
        client, self._client = self._client, None
        if client is not None and not client.error:
            client.on_error(Ended(reason))

    def _opened(self, client: Any) -> None:
        """Take the text of every frame where ccxt would parse it: reports never reach it, it would keep them."""
        self._client, self._lost = client, client.future("the connection's end")
        self._lost.add_done_callback(reason_of)  # so that no one misses why
        forward = client.handle_text_or_binary_message
        client.handle_text_or_binary_message = lambda text: None if self._on_text(text) else forward(text)

    def _on_text(self, text: str | bytes) -> bool:
        """Every frame, called from ccxt's loop, which would only log what is raised: it is handed on instead."""
        try:
            reports = self._profile.reports(text)
            for report in reports or ():
                self._on_report(report)
        except Exception as error:
            self._failed(error)
            return True
        return reports is not None
