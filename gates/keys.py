"""Signing keys: where they are, how they are made, who trusts them.

The private key lives outside the checkout, in ``$PORTCULLIS_KEYS`` or the user's configuration folder, readable by its
owner only, and is never printed. A key made on first use is a development key: good for paper, refused live. Public
halves lie beside it (``<key id>.pub``), so bundles signed by an earlier key can still be verified for a rollback.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.canonical import canonical_json
from core.errors import BadConfig, Refused
from core.settings import Section, as_json, parse
from models.atomic import partial_name, sync_folder, write_atomic
from models.statement import PublicKey, Trust, public_key

KEY_FILE: Final = "signing.key"
_CHECKOUT: Final = Path(__file__).resolve().parent.parent


class _KeyFile(Section, frozen=True, kw_only=True):
    version: int = 1
    private_key: str  # 64 hexadecimal digits
    trust: Trust


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key and how far it is trusted."""

    private: Ed25519PrivateKey = field(repr=False)
    trust: Trust

    @property
    def public(self) -> PublicKey:
        """The half that may be shown."""
        return public_key(self.private, self.trust)


def keys_folder() -> Path:
    """Where keys are kept. Raises Refused for a folder inside the checkout: keys there end up in a commit."""
    folder = Path(os.environ.get("PORTCULLIS_KEYS") or Path(typer.get_app_dir("portcullis")) / "keys").resolve()
    if folder.is_relative_to(_CHECKOUT):
        raise Refused(f"{folder}: keys may not lie inside the checkout; set PORTCULLIS_KEYS to a folder outside")
    return folder


def signing_key() -> SigningKey:
    """The key that signs; a development key is made on first use."""
    path = keys_folder() / KEY_FILE
    if not path.exists():
        create_key("dev", exist_ok=True)
    return _load(path)


def create_key(trust: Trust, *, exist_ok: bool = False) -> Path:
    """Make a private key, mode 0600, in one step. Raises Refused if there is one, unless ``exist_ok``."""
    folder = keys_folder()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / KEY_FILE
    content = _KeyFile(private_key=Ed25519PrivateKey.generate().private_bytes_raw().hex(), trust=trust)
    partial = partial_name(path)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(canonical_json(as_json(content)))
            file.flush()
            os.fsync(file.fileno())
        os.link(partial, path)  # unlike a rename it never replaces a key that appeared meanwhile
    except FileExistsError:
        if not exist_ok:
            raise Refused(f"{path}: there is a key already; move it away first") from None
    finally:
        partial.unlink()
    sync_folder(folder)
    return path


def trust_folder() -> Path:
    """The folder of public keys this machine signed with, the current one included: what verifies its own store."""
    export_key(folder := keys_folder())
    return folder


def export_key(folder: Path) -> Path:
    """Write the public half into ``folder``: whoever reads that folder trusts this key from now on."""
    public = signing_key().public
    path = folder / f"{public.id}.pub"
    data = canonical_json(as_json(public))
    if not path.is_file() or path.read_bytes() != data:
        write_atomic(path, data)
    return path


def _load(path: Path) -> SigningKey:
    with open(path, "rb") as file:
        mode = os.fstat(file.fileno()).st_mode & 0o777
        if mode & 0o077:
            raise Refused(f"{path}: mode {mode:04o} lets others read the private key; `chmod 600` it or make a new one")
        data = file.read()
    try:
        content = parse(_KeyFile, msgspec.json.decode(data), where=str(path))
        private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(content.private_key))
    except (ValueError, msgspec.DecodeError, BadConfig):  # without the error's own text: it may quote the key
        raise BadConfig(f"{path}: not a signing key; move it away and a new one is made") from None
    return SigningKey(private=private, trust=content.trust)
