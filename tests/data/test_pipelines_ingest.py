"""The stage: it reads params.yaml, it swaps its outputs in at the end, and a failure leaves what was there."""

from pathlib import Path

import pytest

from core.errors import BadConfig, BadInput
from core.records import BAR
from feeds.tape import Tape
from pipelines import ingest as stage
from pipelines import params as parameters
from tests.data.candles import tree

ROOT = Path(__file__).parents[2]
RECORDED = ROOT / "../shared/market-data/candles/binance-spot-5m-2025"
load = parameters.load  # the tests replace the module's own


def params_with(tmp_path: Path, **data: str) -> parameters.Params:
    """params.yaml with values of its data section replaced."""
    text = (ROOT / "params.yaml").read_text()
    lines = text.splitlines()
    for name, value in data.items():
        (row,) = [index for index, line in enumerate(lines) if line.startswith(f"  {name}: ")]
        lines[row] = f"  {name}: {value}"
    path = tmp_path / "params.yaml"
    path.write_text("\n".join(lines))
    return load(path)


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_the_stage_writes_its_outputs_and_nothing_else(tmp_path: Path) -> None:
    params = params_with(tmp_path, days="3")
    stage.ingest(params, tmp_path / "artifacts")
    assert {path.name for path in (tmp_path / "artifacts").iterdir()} == {"data", "holdout"}
    first = tree(tmp_path / "artifacts")
    stage.ingest(params, tmp_path / "artifacts")
    assert tree(tmp_path / "artifacts") == first
    assert Tape.open(tmp_path / "artifacts/data/market.tape").meta["seed"] == params.seed


def test_a_failure_leaves_the_last_good_outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifacts = tmp_path / "artifacts"
    stage.ingest(params_with(tmp_path, days="2"), artifacts)
    before = tree(artifacts)

    def disk_full(*_: object, **__: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("data.build.write_tape", disk_full)
    with pytest.raises(OSError, match="No space"):
        stage.ingest(params_with(tmp_path, days="3"), artifacts)
    assert tree(artifacts) == before


def test_bad_input_ends_with_its_exit_code_and_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for data, code, word in (
        ({"symbols": "[DOGE-USDT]"}, 32, "DOGE-USDT"),
        ({"source": "parquet", "path": str(tmp_path / "nowhere")}, 30, "not a folder"),
        ({"source": "parquet", "path": str(tmp_path)}, 30, "BTC_USDT.parquet is missing"),
        ({"market": "nowhere.yaml", "path": "nowhere.yaml"}, 32, "nowhere.yaml cannot be read"),
        ({"source": "floppy"}, 32, "floppy"),
        ({"days": '"all"'}, 32, "days"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(parameters, "load", lambda data=data: params_with(tmp_path, **data))
            patch.setattr(stage, "ARTIFACTS", tmp_path / "artifacts")
            with pytest.raises(BadInput, match=word) as caught:
                stage.main()
            assert caught.value.exit_code == code, data
    assert tree(tmp_path / "artifacts") == {}


def test_a_missing_market_file_is_an_error_of_configuration(tmp_path: Path) -> None:
    with pytest.raises(BadConfig):
        stage.ingest(params_with(tmp_path, market="nowhere.yaml", path="nowhere.yaml"), tmp_path / "artifacts")
    with pytest.raises(BadInput):
        stage.ingest(params_with(tmp_path, source="parquet", path=str(tmp_path)), tmp_path / "artifacts")


@pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded candles are not beside the checkout")
def test_recorded_candles_become_a_tape_with_and_without_the_signal(tmp_path: Path) -> None:
    common = {
        "source": "parquet",
        "path": str(RECORDED),
        "market": "data/markets/binance_spot.yaml",
        "days": "90",
        "holdout": "30",
    }
    tapes = {}
    for name, strength in (("real", '"0"'), ("injected", '"1"')):
        stage.ingest(params_with(tmp_path, **common, inject_strength=strength), tmp_path / name)
        tapes[name] = Tape.open(tmp_path / name / "data/market.tape")
        assert len(tapes[name].records) == 5 * 60 * 288
        assert len(Tape.open(tmp_path / name / "holdout/market.tape", holdout=True).records) > 5 * 29 * 288
    real, injected = (tapes[name].records.view(BAR) for name in ("real", "injected"))
    assert (real["ts_known"] == injected["ts_known"]).all() and (real["volume"] == injected["volume"]).all()
    assert (real["close"] != injected["close"]).mean() > 0.9
    assert tapes["injected"].meta["injected"] and not tapes["real"].meta["injected"]
