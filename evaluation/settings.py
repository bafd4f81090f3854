"""The ``evaluation:`` section of ``params.yaml``: how sure a score must be and how that is computed."""

from decimal import Decimal, InvalidOperation

from core.errors import BadConfig
from core.settings import Section


class EvaluationParams(Section, frozen=True, kw_only=True):
    """Settings of the statistics. They change intervals, never a trade. Fractions are decimal strings.

    Raises BadConfig naming the key when a value cannot give an interval.
    """

    bootstrap_draws: int = 2_000
    bootstrap_block_days: int = 5  # mean length of a stationary-bootstrap block
    confidence: str = "0.95"  # of every two-sided interval

    def __post_init__(self) -> None:
        try:
            confidence = Decimal(self.confidence)
        except InvalidOperation:
            raise BadConfig(f"evaluation.confidence is {self.confidence!r}; write a decimal such as '0.95'") from None
        if not Decimal("0.5") <= confidence < 1:
            raise BadConfig(f"evaluation.confidence is {self.confidence}; it must lie in [0.5, 1)")
        if self.bootstrap_draws < 100:
            raise BadConfig(f"evaluation.bootstrap_draws is {self.bootstrap_draws}; at least 100 give a quantile")
        if self.bootstrap_block_days < 1:
            raise BadConfig(f"evaluation.bootstrap_block_days is {self.bootstrap_block_days}; at least 1")

    @property
    def confidence_level(self) -> float:
        """``confidence`` as a float, for the statistics."""
        return float(self.confidence)
