"""Secrets: where they come from, and that they never show.

A secret is asked for by name each time it is used, so one that was changed is the changed one. Three places are looked
in, in this order: systemd's credentials folder (``CREDENTIALS_DIRECTORY``), a file (``<home>/secrets.env``, readable by
its owner only), the environment. Whatever was handed out is remembered, so that logs can be kept free of it.
"""

import hmac
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn, Protocol

from core.errors import BadInput, Refused

CREDENTIALS_VARIABLE: Final = "CREDENTIALS_DIRECTORY"
FILE_NAME: Final = "secrets.env"
HIDDEN: Final = "***"
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class Secret:
    """A value that ``repr``, ``str``, formatting and tracebacks show as ``***``; only ``reveal`` gives it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value, for the one call that needs it."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({HIDDEN})"

    def __str__(self) -> str:
        return HIDDEN

    def __format__(self, spec: str) -> str:
        return HIDDEN

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value.encode(), other._value.encode())

    __hash__ = None  # type: ignore[assignment]  # a secret is no key of anything

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not copied into files or other processes")


class Provider(Protocol):
    """A place where secrets are kept."""

    def get(self, name: str) -> Secret | None:
        """The secret ``name``, None if this place does not have it. Raises Refused if others could have read it."""


@dataclass(frozen=True, slots=True)
class EnvironmentSecrets:
    """Secrets in environment variables; an empty one counts as missing."""

    environment: Mapping[str, str]

    def get(self, name: str) -> Secret | None:
        """See ``Provider``."""
        value = self.environment.get(name)
        return Secret(value) if value else None

    def __repr__(self) -> str:
        return "EnvironmentSecrets()"


@dataclass(frozen=True, slots=True)
class FileSecrets:
    """Secrets in one file of ``NAME=value`` lines; quotes around a value and lines that begin with # do not count."""

    path: Path

    def get(self, name: str) -> Secret | None:
        """See ``Provider``. Raises BadInput naming the line that is no ``NAME=value``."""
        if not self.path.exists():
            return None
        check_private(self.path)
        found = None
        for number, line in enumerate(self.path.read_text().splitlines(), start=1):
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            key, equals, value = text.partition("=")
            if not equals:
                raise BadInput(f"{self.path}:{number}: NAME=value expected; comments begin with #")
            if key.removeprefix("export ").strip() == name:
                found = value.strip()
        if found and len(found) > 1 and found[0] == found[-1] and found[0] in "\"'":
            found = found[1:-1]
        return Secret(found) if found else None


@dataclass(frozen=True, slots=True)
class CredentialSecrets:
    """Secrets as files named like them: what systemd's ``LoadCredential=`` makes."""

    folder: Path

    def get(self, name: str) -> Secret | None:
        """See ``Provider``."""
        path = self.folder / name
        if not path.is_file():
            return None
        check_private(path)
        value = path.read_text().strip()
        return Secret(value) if value else None


class Secrets:
    """Several places, asked in turn; remembers what it gave, for ``known``."""

    def __init__(self, providers: Iterable[Provider]) -> None:
        self._providers = tuple(providers)
        self._given: list[Secret] = []

    @classmethod
    def of(cls, home: Path, environment: Mapping[str, str] = os.environ) -> "Secrets":
        """The places of a runner with this home."""
        folder = environment.get(CREDENTIALS_VARIABLE)
        systemd = [CredentialSecrets(Path(folder))] if folder else []
        return cls([*systemd, FileSecrets(home / FILE_NAME), EnvironmentSecrets(environment)])

    def get(self, name: str) -> Secret | None:
        """The secret ``name`` as it is now; None if no place has it."""
        for provider in self._providers:
            if (secret := provider.get(name)) is not None:
                if secret not in self._given:
                    self._given.append(secret)
                return secret
        return None

    def need(self, name: str) -> Secret:
        """The secret ``name``. Raises BadInput if no place has it."""
        if (secret := self.get(name)) is None:
            raise BadInput(
                f"secret {name}: not found; put it into systemd's credentials, <home>/{FILE_NAME} (mode 0600) or the "
                "environment"
            )
        return secret

    def known(self) -> list[str]:
        """Every value given so far, those that were changed since included: what no log may hold."""
        return [secret.reveal() for secret in self._given]


def check_private(path: Path) -> None:
    """Raise Refused if anyone but the owner of ``path`` may read or write it."""
    mode = path.stat().st_mode
    if mode & _OTHERS:
        raise Refused(f"{path}: mode {stat.S_IMODE(mode):04o} lets others at it, 0600 at most; chmod 600 {path}")
