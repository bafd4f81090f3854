"""Settings for every test."""

from hypothesis import settings

# A shared machine pauses a test for longer than any example takes; time is measured by benchmarks, never by tests.
settings.register_profile("portcullis", deadline=None, print_blob=True)
settings.load_profile("portcullis")
