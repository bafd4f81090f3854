"""Stage ``ingest``: read, judge and clean market data; write Parquet for people and one tape for machines.

``python -m pipelines.ingest`` reads ``params.yaml`` (seed, data, execution.feed_latency_ns) and writes
``artifacts/data`` and ``artifacts/holdout``. Both appear at the end: a failure changes nothing.
"""

from pathlib import Path

from core.errors import BadConfig
from data.build import build
from data.build_events import build_events
from data.settings import DataParams
from data.sources import check_one_file, folder_of, open_source
from feeds import market
from models import command
from models.output import output_folder
from pipelines import params as parameters

ARTIFACTS = Path("artifacts")


def ingest(params: parameters.Params, artifacts: Path) -> None:
    """Ingest what ``params.data`` names into ``artifacts``/data and /holdout. Raises as ``data.build.build`` does."""
    where = params.data.market
    listed = market.from_yaml(_read(Path(where)), where=where).select(params.data.symbols)
    with output_folder(artifacts / "holdout") as holdout, output_folder(artifacts / "data") as out:
        if params.data.has_events:
            build_events(
                _folder(params.data),
                listed,
                params.data,
                feed_latency_ns=params.execution.feed_latency_ns,
                seed=params.seed,
                out=out,
                holdout=holdout,
                progress=print,
            )
            return
        source = open_source(params.data, listed, params.seed)
        build(
            source,
            listed,
            params.data,
            seed=params.seed,
            feed_latency_ns=params.execution.feed_latency_ns,
            out=out,
            holdout=holdout,
        )


def _folder(data: DataParams) -> Path | None:
    """Where books and quotes are read from; None: they are simulated."""
    if data.is_simulated:
        check_one_file(data)
        return None
    return folder_of(data)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfig(f"data.market: {path} cannot be read ({error}); run from the repository's root") from None


def main() -> None:
    """Run the stage with ``params.yaml``."""
    ingest(parameters.load(), ARTIFACTS)


if __name__ == "__main__":
    command.run(main)
