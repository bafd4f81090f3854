"""The ``evaluation:`` section of ``params.yaml``: how sure a score must be and how that is computed."""

from core.settings import Section, decimal, within


class EvaluationParams(Section, frozen=True, kw_only=True):
    """Settings of the statistics. They change intervals, never a trade. Fractions are decimal strings.

    Raises BadConfig naming the key when a value cannot give an interval.
    """

    bootstrap_draws: int = 2_000
    bootstrap_block_days: int = 5  # mean length of a stationary-bootstrap block
    confidence: str = "0.95"  # of every two-sided interval

    def __post_init__(self) -> None:
        decimal("evaluation.confidence", self.confidence, "0.5", "0.9999")
        within("evaluation.bootstrap_draws", self.bootstrap_draws, 100, 100_000)  # fewer give no quantile
        within("evaluation.bootstrap_block_days", self.bootstrap_block_days, 1, 365)

    @property
    def confidence_level(self) -> float:
        """``confidence`` as a float, for the statistics."""
        return float(self.confidence)
