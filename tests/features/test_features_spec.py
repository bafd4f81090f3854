"""The specification: what changes it, what refuses it, and that JSON carries all of it."""

import msgspec
import pytest

from core.canonical import canonical_json
from core.errors import BadConfig, Refused
from core.settings import parse
from features.spec import FeatureParams, bar_spec, spec_from_json
from tests.features.walk import INTERVAL_NS, SPEC


def test_the_json_gives_the_specification_back() -> None:
    data = msgspec.json.decode(canonical_json(SPEC.as_json()))
    assert spec_from_json(data) == SPEC
    assert spec_from_json(data).hash == SPEC.hash


def test_names_are_unique_and_units_dimensionless() -> None:
    assert len(set(SPEC.names)) == SPEC.n_features == 19
    assert {feature.unit for feature in SPEC.features} == {"sigma", "ratio", "log ratio", "flag"}


def test_each_parameter_changes_the_hash() -> None:
    others = [
        bar_spec(FeatureParams(reset_gap_bars=5), INTERVAL_NS, 3 * INTERVAL_NS),
        bar_spec(FeatureParams(), INTERVAL_NS, 4 * INTERVAL_NS),
        bar_spec(FeatureParams(), 3 * INTERVAL_NS, 3 * INTERVAL_NS),
    ]
    assert len({SPEC.hash, *(other.hash for other in others)}) == 4


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"kernel_version": 2}, "kernel_version"),
        ({"warmup_bars": 1}, "warmup_bars"),
        ({"features": []}, "features"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_specification_of_another_kernel_is_refused(change: dict, named: str) -> None:
    with pytest.raises(Refused, match=named):
        spec_from_json(SPEC.as_json() | change)


def test_a_specification_without_its_interval_is_refused() -> None:
    data = SPEC.as_json()
    del data["interval_ns"]
    with pytest.raises(Refused, match="interval_ns"):
        spec_from_json(data)


@pytest.mark.parametrize(("interval", "horizon"), [(INTERVAL_NS, INTERVAL_NS + 1), (INTERVAL_NS, 0), (0, INTERVAL_NS)])
def test_a_horizon_that_is_no_whole_number_of_bars_is_refused(interval: int, horizon: int) -> None:
    with pytest.raises(BadConfig, match="ns"):
        bar_spec(FeatureParams(), interval, horizon)


@pytest.mark.parametrize("fields", [{"reset_gap_bars": -1}, {"reset_gap_bars": 10**6}, {"reset_gaps": 1}])
def test_bad_parameters_are_refused(fields: dict) -> None:
    with pytest.raises(BadConfig, match="reset_gap"):
        parse(FeatureParams, fields, where="features")
