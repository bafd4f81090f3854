"""The section ``ops:`` of the runner's YAML: what is watched and who is told. Nothing in it changes a result."""

import ipaddress
from pathlib import Path
from typing import Any, Final

import msgspec

from core.errors import BadConfig
from core.plain_yaml import parse_yaml
from core.settings import Section, parse, within
from runner.ops.alerts import check_mutes

SECTION: Final = "ops"
_LOCAL_NAMES: Final = ("localhost",)


class Ops(Section, frozen=True, kw_only=True):
    """How a run is watched."""

    log: bool = True  # <home>/runs/<run>/log.jsonl
    log_cycle_ms: int = 1000  # decisions less than this apart, in market time, are one line
    http: str = ""  # HOST:PORT of /healthz, /readyz and /metrics; empty: none
    http_public: bool = False  # allow a host that other machines can reach
    stale_ms: int = 5000  # without a record for longer (and, for bars, the bar's length): 503
    sinks: tuple[str, ...] = ()  # secrets that hold the URL of a sink (Apprise's form)
    mute: tuple[str, ...] = ()  # alerts that are logged and not sent
    repeat_s: int = 3600  # a condition that lasts is told again after this
    empty_universe_cycles: int = 12  # cycles in a row without a tradable instrument

    def checked(self) -> "Ops":
        """This, if it holds together. Raises BadConfig."""
        within("ops.log_cycle_ms", self.log_cycle_ms, 0, 86_400_000)
        within("ops.stale_ms", self.stale_ms, 100, 86_400_000)
        within("ops.repeat_s", self.repeat_s, 1, 604_800)
        within("ops.empty_universe_cycles", self.empty_universe_cycles, 1, 1_000_000)
        check_mutes(self.mute)
        if self.http:
            parse_address(self.http, public=self.http_public)
        return self


def parse_address(text: str, *, public: bool) -> tuple[str, int]:
    """``HOST:PORT``. Raises BadConfig if it is none, or lies beyond this machine and ``public`` is not set."""
    host, colon, port = text.rpartition(":")
    host = host.strip("[]")
    if not colon or not host or not port.isdigit() or int(port) > 65_535:
        raise BadConfig(f"ops.http: {text!r}: HOST:PORT expected, such as 127.0.0.1:9464")
    if not public and not _is_local(host):
        raise BadConfig(
            f"ops.http: {host} can be reached from other machines, and the pages ask for no password; use 127.0.0.1, "
            "or say ops.http_public: true behind a firewall"
        )
    return host, int(port)


def _is_local(host: str) -> bool:
    if host in _LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name may mean anything


def with_flags(ops: Ops, *, http: str | None, log: bool) -> Ops:
    """``ops`` with what a command line changes of it. Raises BadConfig."""
    return msgspec.structs.replace(ops, http=ops.http if http is None else http, log=ops.log and log).checked()


def load_ops(path: Path | None) -> Ops:
    """The section of the YAML file at ``path``; the defaults without file or section. Raises BadConfig."""
    if path is None:
        return Ops()
    try:
        held: Any = parse_yaml(path.read_bytes(), where=str(path))
    except OSError as error:
        raise BadConfig(f"{path}: {error.strerror}; name a readable file with --config") from None
    section = held.get(SECTION, {}) if isinstance(held, dict) else {}
    return parse(Ops, section, where=f"{path}: {SECTION}").checked()
