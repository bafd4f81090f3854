"""Settings for every test, and one reduced run of the whole graph, shared by every test that looks at its results."""

import pytest
from hypothesis import settings

from tests.pipelines import reduced

# A shared machine pauses a test for longer than any example takes; time is measured by benchmarks, never by tests.
settings.register_profile("portcullis", deadline=None, print_blob=True)
settings.load_profile("portcullis")

PLANTED = {**reduced.SMALL, "data.strength": "3"}


@pytest.fixture(scope="session")
def promoted(tmp_path_factory: pytest.TempPathFactory) -> reduced.Checkout:
    """A reduced checkout after `dvc repro` and `python -m gates promote` on a market with a signal."""
    checkout = reduced.make(tmp_path_factory.mktemp("promoted") / "checkout", PLANTED)
    checkout.run("dvc", "repro")
    checkout.python("-m", "gates", "promote")
    return checkout
