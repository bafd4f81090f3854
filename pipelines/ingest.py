"""Stage ``ingest``: read, judge and clean market data; write Parquet for people and one tape for machines.

``python -m pipelines.ingest`` reads ``params.yaml`` (seed, data, execution.feed_latency_ns) and writes
``artifacts/data`` and ``artifacts/holdout``. It works beside them and swaps at the end: a failure changes nothing.
"""

import shutil
import sys
from pathlib import Path

from core.errors import BadConfig, PortcullisError
from data.build import build
from data.sources import open_source
from feeds import market
from pipelines import params as parameters

ARTIFACTS = Path("artifacts")
OUTPUTS = ("data", "holdout")


def ingest(params: parameters.Params, artifacts: Path) -> None:
    """Ingest what ``params.data`` names into ``artifacts``/data and /holdout. Raises as ``data.build.build`` does."""
    where = params.data.market
    listed = market.from_yaml(_read(Path(where)), where=where).select(params.data.symbols)
    source = open_source(params.data, listed, params.seed)
    work = artifacts / ".ingest"
    shutil.rmtree(work, ignore_errors=True)
    for name in OUTPUTS:
        (work / name).mkdir(parents=True)
    try:
        build(
            source,
            listed,
            params.data,
            seed=params.seed,
            feed_latency_ns=params.execution.feed_latency_ns,
            out=work / "data",
            holdout=work / "holdout",
        )
        for name in OUTPUTS:
            shutil.rmtree(artifacts / name, ignore_errors=True)
            (work / name).rename(artifacts / name)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfig(f"data.market: {path} cannot be read ({error}); run from the repository's root") from None


def main() -> int:
    """Run the stage; returns its exit code."""
    try:
        ingest(parameters.load(), ARTIFACTS)
    except PortcullisError as error:
        sys.stderr.write(f"ingest: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
