"""The ``evaluation:`` section of ``params.yaml``: how sure a score must be and how that is computed."""

from decimal import Decimal, InvalidOperation
from typing import Final

from core.errors import BadConfig
from core.settings import Section

DRAWS_MIN: Final = 100  # fewer give no quantile
DRAWS_MAX: Final = 1_000_000  # more only cost memory


class EvaluationParams(Section, frozen=True, kw_only=True):
    """Settings of the statistics. They change intervals, never a trade. Fractions are decimal strings.

    Raises BadConfig naming the key when a value cannot give an interval.
    """

    bootstrap_draws: int = 2_000
    bootstrap_block_days: int = 5  # mean length of a stationary-bootstrap block
    confidence: str = "0.95"  # of every two-sided interval

    def __post_init__(self) -> None:
        try:
            valid = Decimal("0.5") <= Decimal(self.confidence) < 1
        except InvalidOperation:  # also what comparing with NaN raises
            valid = False
        if not valid:
            raise BadConfig(
                f"evaluation.confidence is {self.confidence!r}; write a decimal in [0.5, 1), such as '0.95'"
            )
        for name, low, high in (("bootstrap_draws", DRAWS_MIN, DRAWS_MAX), ("bootstrap_block_days", 1, 365)):
            if not low <= getattr(self, name) <= high:
                raise BadConfig(f"evaluation.{name} is {getattr(self, name)}; it must lie in [{low}, {high}]")

    @property
    def confidence_level(self) -> float:
        """``confidence`` as a float, for the statistics."""
        return float(self.confidence)
