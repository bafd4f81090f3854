"""Where bars come from. Each source is one small module; ``open_source`` picks it by ``data.source``."""

from pathlib import Path

from core.errors import BadConfig, BadInput
from data.settings import DataParams
from data.sources.kline_csv import KlineCsv
from data.sources.parquet import Parquet
from data.sources.protocol import Source
from data.sources.synthetic import Synthetic
from feeds.market import Market


def open_source(params: DataParams, market: Market, seed: int) -> Source:
    """The source that ``params`` asks for. Raises BadConfig or BadInput if it does not exist."""
    if params.source == "synthetic":
        check_one_file(params)
        return Synthetic(
            market=market,
            interval_minutes=params.interval_minutes,
            days=params.days,
            seed=seed,
            strength=float(params.strength),
        )
    folder = folder_of(params)
    if params.source == "parquet":
        return Parquet(folder=folder)
    return KlineCsv(folder=folder, interval_minutes=params.file_minutes or params.interval_minutes)


def check_one_file(params: DataParams) -> None:
    """Raise BadConfig for simulated data with two market files: both keys are hashed, and one would not be read."""
    if params.path != params.market:
        raise BadConfig(f"data.path is {params.path}, data.market {params.market}; give synthetic data one market file")


def folder_of(params: DataParams) -> Path:
    """The folder that holds the files. Raises BadInput if there is none."""
    folder = Path(params.path)
    if not folder.is_dir():
        raise BadInput(f"data.path: {folder} is not a folder; name the folder that holds the files")
    return folder
