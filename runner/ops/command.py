"""``runner alert``: does an alert reach the operator?"""

from pathlib import Path
from typing import Any

from core.errors import BadConfig
from runner.home import Home
from runner.ops.alerts import Alerts
from runner.ops.conditions import ALERTS, UNMUTABLE, alert
from runner.ops.log import Log
from runner.ops.redact import Redaction
from runner.ops.settings import load_ops
from runner.secrets import Secrets

RUN = "alert-test"
TOLD = "a rehearsal by `runner alert test`: nothing happened, and whoever reads this would have been told"


def alert_test(home: Path, config: Path | None, name: str, timeout_s: float) -> list[dict[str, Any]]:
    """Send the alert ``name`` to every sink of ``config`` and wait; per sink what became of it.

    What happened is appended to ``<home>/alert-test.jsonl``. Raises BadConfig without a sink or for an unknown alert.
    """
    ops = load_ops(config)
    if not ops.sinks:
        raise BadConfig("ops.sinks: no sink; name the secrets that hold their URLs in the file given as --config")
    if name not in ALERTS:
        raise BadConfig(f"alert {name}: there is none of that name; there are {', '.join(ALERTS)}")
    secrets = Secrets.of(home)
    sinks = [(sink, secrets.need(sink)) for sink in ops.sinks]
    results: dict[str, dict[str, Any]] = {}
    with Log.open(Home(home).folder / f"{RUN}.jsonl", Redaction(secrets.known), "dryrun", RUN) as log:
        log.listener = lambda event: _keep(results, event)
        alerts = Alerts(log, sinks)
        alerts(alert(name, "REHEARSAL", TOLD))
        alerts.close(timeout_s)
    clean = Redaction(secrets.known)
    return [{"sink": sink} | results[sink] | {"detail": clean.text(results[sink]["detail"])} for sink in ops.sinks]


def _keep(results: dict[str, dict[str, Any]], event: Any) -> None:
    if hasattr(event, "sink"):
        results[event.sink] = {"outcome": event.outcome, "attempts": event.attempts, "detail": event.detail}


def listing() -> list[dict[str, Any]]:
    """Every alert: what it means, how urgent it is, whether it can be muted."""
    return [
        {"alert": name, "severity": severity, "can be muted": "no" if name in UNMUTABLE else "yes", "meaning": meaning}
        for name, (severity, meaning) in ALERTS.items()
    ]
