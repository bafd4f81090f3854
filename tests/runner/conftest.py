"""One finished paper session for every test of the runner that looks at a journal."""

import numpy as np
import pytest

from models.statement import verify_bundle
from runner.clock import Pacer
from runner.feed import builtin_feed
from runner.home import Home, Run
from runner.ops.settings import Ops
from runner.paper import play
from runner.plan import make_plan
from runner.reader import open_run
from tests.runner import watched
from tests.runner.bundles import make_bundle, make_home


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of three days of the built-in market."""
    folder = tmp_path_factory.mktemp("played")
    home = Home(make_home(folder / "home"))
    bundle, statement = verify_bundle(make_bundle(folder / "bundle"), home.trust)
    trading = bundle.manifest.trading
    plan = make_plan(bundle, builtin_feed(3, 3, 1.0, trading.execution.feed_latency_ns), trading)
    run = home.run("played")
    play(plan, statement, folder / "bundle", run, Pacer(None), lambda bars, _: bars)
    return run


@pytest.fixture(scope="session")
def header(played: Run) -> dict:
    with open_run(played) as reader:
        return reader.header


@pytest.fixture(scope="session")
def records(played: Run) -> np.ndarray:
    with open_run(played) as reader:
        found = np.concatenate(list(reader.batches()))
    found.flags.writeable = False
    return found


@pytest.fixture(scope="session")
def logged(tmp_path_factory: pytest.TempPathFactory) -> watched.Session:
    """The same three days, watched."""
    return watched.play_watched(tmp_path_factory.mktemp("watched"), Ops(log_cycle_ms=0))
