"""Recorded data and true results beside the checkout; tests that need them are counted where they are missing."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared"
ENGINES = SHARED / "golden/engines"


def needs(*paths: Path) -> pytest.MarkDecorator:
    """Skip a test unless every one of ``paths`` is there."""
    missing = [str(path.relative_to(SHARED.parent)) for path in paths if not path.exists()]
    return pytest.mark.skipif(bool(missing), reason=f"recorded data is missing: ../{', ../'.join(missing)}")
