"""A watched run: log, metrics, alerts and web server around one session, opened before its journal and closed after."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from runner.home import Run
from runner.journal import Journal
from runner.ops.alerts import Alerts
from runner.ops.conditions import Conditions, alert, failure
from runner.ops.events import Ended, Outcome, Started
from runner.ops.health import Health
from runner.ops.log import NAME, Log
from runner.ops.metrics import Metrics
from runner.ops.narrate import Narrator
from runner.ops.redact import Redaction
from runner.ops.settings import Ops, parse_address
from runner.ops.watch import Watch
from runner.secrets import Secrets
from runner.session import Session


class Watching:
    """Use it as a context manager around the journal and the session; ``attach`` them when they are there."""

    def __init__(self, ops: Ops, secrets: Secrets, run: Run, header: dict[str, Any], speed: float | None) -> None:
        """``speed``: of a recorded market, in multiples of real time; None: as fast as it goes.

        Raises BadInput for a sink without its secret. Entering it raises BadConfig for a URL that is none of a sink,
        and BadInput for an address that cannot be listened on.
        """
        self._ops, self._header, self._threaded = ops, header, speed is not None
        self._sinks = [(name, secrets.need(name)) for name in ops.sinks]
        self._redaction, self._run = Redaction(secrets.known), run
        self.metrics = Metrics(header, run.name)
        interval_s = header["interval_ns"] / 1e9 / speed if speed else 0.0
        self.health = Health(run.journal, interval_s + ops.stale_ms / 1000)
        self._watch: Watch | None = None
        self._journal: Journal | None = None

    def attach(self, journal: Journal, session: Session) -> None:
        """Watch ``session`` from now on: what ``journal`` does not hold yet."""
        self._journal = journal
        ledger, live = journal.ledger, self.metrics.live
        held = [ledger.lots.units(k) for k in range(len(self._header["instruments"]))]
        narrator = Narrator(self._header, self.log.run, held, self._ops.log_cycle_ms * 1_000_000)
        conditions = Conditions(self._ops.empty_universe_cycles)
        self._watch = Watch(
            narrator,
            conditions,
            self.log,
            self.metrics,
            self.health,
            self.alerts,
            threaded=self._threaded,
            lossless=True,
        )
        live.state = self.health.state = lambda: session.state
        live.latency = session.latency
        live.queues["journal"] = lambda: journal.pending
        self.log.emit(
            Started(
                mode=self.log.mode,
                run=self.log.run,
                run_id=self._header["run_id"],
                bundle_id=self._header["bundle_id"],
                version=self._header["version"],
                pairs=[item["symbol"] for item in self._header["instruments"]],
                records=journal.durable,
            )
        )
        journal.observer = self._watch

    def turn(self) -> None:
        """Between two steps of the session."""
        if self._watch is not None:
            self._watch.turn()

    def __enter__(self) -> Self:
        ops, mode, run = self._ops, self._header["mode"], self._run
        path = run.folder / NAME if ops.log else Path("/dev/null")
        with ExitStack() as opening:
            self.log = opening.enter_context(Log.open(path, self._redaction, mode, run.name))
            self.alerts = opening.enter_context(Alerts(self.log, self._sinks, mute=ops.mute, repeat_s=ops.repeat_s))
            if ops.http:
                from runner.ops.web import Web  # aiohttp: a quarter of a second, for those who ask for it

                self.log.adopt("aiohttp")
                address = parse_address(ops.http, public=ops.http_public)
                labels = {"mode": mode, "run": run.name}
                opening.enter_context(Web(address, self.health, self.metrics.registry, labels))
            self._opened = opening.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._opened:
            self._tell_end(error)

    def _tell_end(self, error: BaseException | None) -> None:
        if self._watch is not None:
            self._watch.close()
        if error is None or isinstance(error, KeyboardInterrupt):
            count = self._journal.count if self._journal is not None else 0
            outcome: Outcome = "finished" if error is None else "stopped"
            self.log.emit(Ended(mode=self.log.mode, run=self.log.run, outcome=outcome, records=count))
        else:
            event = self.log.failed(error)
            self.health.lost("session", f"{event.error}: {event.detail}")
            self.alerts(alert(failure(event), event.error, event.detail))
