"""Signing keys: outside the checkout, readable by their owner only, never printed."""

from pathlib import Path

import pytest

from core.errors import BadConfig, Refused
from gates.keys import KEY_FILE, create_key, export_key, keys_folder, signing_key, trust_folder
from models.statement import read_trust
from tests.gates.checkout import ROOT


def test_a_first_use_makes_a_development_key_for_its_owner_only(keys: Path) -> None:
    key = signing_key()
    assert key.trust == "dev"
    assert (keys / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert signing_key().public == key.public
    assert [path.name for path in keys.iterdir()] == [KEY_FILE]


def test_a_folder_is_made_for_its_owner_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTCULLIS_KEYS", str(tmp_path / "new"))
    signing_key()
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o610])
def test_a_key_others_may_use_is_refused(keys: Path, mode: int) -> None:
    signing_key()
    (keys / KEY_FILE).chmod(mode)
    with pytest.raises(Refused, match=f"{mode:04o}"):
        signing_key()


@pytest.mark.parametrize("where", [".", "gates", "artifacts/keys"])
def test_keys_inside_the_checkout_are_refused(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    monkeypatch.setenv("PORTCULLIS_KEYS", str(ROOT / where))
    with pytest.raises(Refused, match="outside"):
        signing_key()


def test_without_a_setting_the_users_configuration_folder_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PORTCULLIS_KEYS")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert keys_folder() == tmp_path / "portcullis" / "keys"


def test_the_private_key_is_in_no_text(keys: Path) -> None:
    key = signing_key()
    secret = key.private.private_bytes_raw().hex()
    assert secret in (keys / KEY_FILE).read_text()
    assert secret not in repr(key) + str(key.public)
    (keys / KEY_FILE).write_text((keys / KEY_FILE).read_text().replace('"version":1', '"version":"one"'))
    with pytest.raises(BadConfig) as caught:
        signing_key()
    assert secret not in str(caught.value)


def test_a_key_is_never_replaced(keys: Path) -> None:
    create_key("release")
    public = signing_key().public
    assert public.trust == "release"
    with pytest.raises(Refused, match="already"):
        create_key("dev")
    create_key("dev", exist_ok=True)
    assert signing_key().public == public
    assert not [path for path in keys.iterdir() if path.name.endswith(".partial")]


def test_exporting_lets_a_folder_trust_the_key(tmp_path: Path) -> None:
    public = signing_key().public
    path = export_key(tmp_path / "trust")
    assert path.name == f"{public.id}.pub"
    assert read_trust(tmp_path / "trust") == {public.id: public}
    assert signing_key().private.private_bytes_raw().hex() not in path.read_text()
    path.write_text("{}")
    with pytest.raises(BadConfig, match=public.id):
        read_trust(tmp_path / "trust")
    export_key(tmp_path / "trust")
    assert read_trust(tmp_path / "trust") == {public.id: public}


def test_public_halves_of_earlier_keys_stay(keys: Path) -> None:
    first = signing_key().public
    trust_folder()
    (keys / KEY_FILE).unlink()  # the user moved it away
    second = signing_key().public
    assert set(read_trust(trust_folder())) == {first.id, second.id}
