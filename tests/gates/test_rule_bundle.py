"""The bundle of a rule strategy: what is in it, who may sign it, and what is refused."""

from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.canonical import canonical_json
from core.errors import BadConfig, Refused
from core.settings import as_json
from feeds.tape import Tape
from gates.keys import SigningKey
from gates.rule import make_bundle, read_trading
from models.statement import Trust, verify_bundle
from tests.runner.book_tapes import MAKER, META, builtin_rows, make_place

NOW = "2024-01-01T00:00:00+00:00"


def key(trust: Trust) -> SigningKey:
    return SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))), trust)


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Tape:
    place = make_place(tmp_path_factory.mktemp("rule"), [builtin_rows(rows=50)], meta=META | {"source": "test"})
    return Tape.open(place.tape)


def test_it_loads_where_the_key_is_trusted(tape: Tape, tmp_path: Path) -> None:
    made = make_bundle(tape, MAKER, tmp_path / "bundle", key("dev"), NOW)
    public, trust = key("dev").public, tmp_path / "trust"
    trust.mkdir()
    (trust / f"{public.id}.pub").write_bytes(canonical_json(as_json(public)))
    bundle, statement = verify_bundle(tmp_path / "bundle", trust)
    assert bundle.id == made == make_bundle(tape, MAKER, tmp_path / "again", key("dev"), "later")
    assert (bundle.manifest.model, bundle.onnx_bytes, bundle.manifest.interval_ns) == (None, None, 0)
    assert bundle.manifest.trading == MAKER and bundle.manifest.data_hash == tape.tape_id
    assert (statement.profile, statement.gates, statement.trust) == ("rule", {}, "dev")
    other = msgspec.structs.replace(MAKER, strategy=msgspec.structs.replace(MAKER.strategy, order_lots=4))
    assert make_bundle(tape, other, tmp_path / "bundle", key("dev"), NOW) != made
    assert verify_bundle(tmp_path / "bundle", trust)[0].manifest.trading == other


def test_a_release_key_does_not_sign_it(tape: Tape, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="is a release key, and no gate has judged a rule"):
        make_bundle(tape, MAKER, tmp_path / "bundle", key("release"), NOW)
    assert not (tmp_path / "bundle").exists()


def test_settings_that_the_core_does_not_take_are_refused(tape: Tape, tmp_path: Path) -> None:
    (tmp_path / "rule.yaml").write_text("strategy: {kind: mm1, order_lots: 0}\n")
    with pytest.raises(BadConfig, match="order_lots"):
        make_bundle(tape, read_trading(tmp_path / "rule.yaml"), tmp_path / "bundle", key("dev"), NOW)
    (tmp_path / "rule.yaml").write_text("strategy: {kind: mm1, lots: 3}\n")
    with pytest.raises(BadConfig, match="lots"):
        read_trading(tmp_path / "rule.yaml")
    assert not (tmp_path / "bundle").exists()
