"""Settings for every test, and one reduced run of the whole graph, shared by every test that looks at its results."""

import pytest
from hypothesis import settings

from tests.pipelines import reduced

# A shared machine pauses a test for longer than any example takes; time is measured by benchmarks, never by tests.
settings.register_profile("portcullis", deadline=None, print_blob=True)
settings.load_profile("portcullis")

RECORDED = "../shared"  # what a test says it lacks when recorded data is not beside the checkout

PLANTED = {**reduced.SMALL, "data.strength": "3"}


@pytest.fixture(scope="session")
def promoted(tmp_path_factory: pytest.TempPathFactory) -> reduced.Checkout:
    """A reduced checkout after `dvc repro` and `python -m gates promote` on a market with a signal."""
    checkout = reduced.make(tmp_path_factory.mktemp("promoted") / "checkout", PLANTED)
    checkout.run("dvc", "repro")
    checkout.python("-m", "gates", "promote")
    return checkout


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Count what was not held against recorded data: a green run without it proves less."""
    skipped = [report for report in terminalreporter.getreports("skipped") if RECORDED in str(report.longrepr)]
    if skipped:
        terminalreporter.write_line(f"{len(skipped)} tests skipped: recorded data is missing ({RECORDED})", yellow=True)
