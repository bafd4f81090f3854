"""Secrets: where they are found, in which order, who may read them, and that they never show."""

import ast
import copy
import logging
import os
import traceback
from pathlib import Path

import msgspec
import pytest

from core.errors import BadInput, Refused
from runner.secrets import FILE_NAME, CredentialSecrets, EnvironmentSecrets, FileSecrets, Provider, Secret, Secrets

ROOT = Path(__file__).parents[2]
CANARY = "canary-7f3a9c51d2"


def private(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def in_environment(folder: Path) -> Provider:
    return EnvironmentSecrets({"TOKEN": CANARY, "EMPTY": ""})


def in_file(folder: Path) -> Provider:
    text = f"# a comment\n\nOTHER=x\nexport TOKEN='{CANARY}'\nEMPTY=\n"
    return FileSecrets(private(folder / FILE_NAME, text))


def in_credentials(folder: Path) -> Provider:
    private(folder / "TOKEN", CANARY + "\n")
    private(folder / "EMPTY", "")
    return CredentialSecrets(folder)


@pytest.mark.parametrize("place", [in_environment, in_file, in_credentials])
def test_every_place_keeps_the_contract(place, tmp_path: Path) -> None:
    provider = place(tmp_path)
    found = provider.get("TOKEN")
    assert found is not None and found.reveal() == CANARY
    assert provider.get("EMPTY") is None and provider.get("MISSING") is None
    assert CANARY not in repr(provider)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
def test_what_others_can_read_is_refused(mode: int, tmp_path: Path) -> None:
    private(tmp_path / FILE_NAME, f"TOKEN={CANARY}", mode)
    private(tmp_path / "TOKEN", CANARY, mode)
    for provider in (FileSecrets(tmp_path / FILE_NAME), CredentialSecrets(tmp_path)):
        with pytest.raises(Refused, match="chmod 600") as refused:
            provider.get("TOKEN")
        assert CANARY not in str(refused.value)


def test_order_of_places_and_rotation(tmp_path: Path) -> None:
    """systemd before the file before the environment; what was changed is the changed one, and both are known."""
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    secrets = Secrets.of(tmp_path, {"TOKEN": "from-environment", "CREDENTIALS_DIRECTORY": str(credentials)})
    found = []
    for write in (
        lambda: None,
        lambda: private(tmp_path / FILE_NAME, "TOKEN=from-file"),
        lambda: private(credentials / "TOKEN", "from-systemd"),
        lambda: private(credentials / "TOKEN", "rotated"),
    ):
        write()
        found.append(secrets.need("TOKEN").reveal())
    assert found == ["from-environment", "from-file", "from-systemd", "rotated"] == secrets.known()
    with pytest.raises(BadInput, match="secret MISSING: not found"):
        secrets.need("MISSING")


def test_a_line_that_is_none_is_named_without_its_content(tmp_path: Path) -> None:
    private(tmp_path / FILE_NAME, f"TOKEN={CANARY}\n{CANARY}\n")
    with pytest.raises(BadInput, match=":2: NAME=value expected") as bad:
        FileSecrets(tmp_path / FILE_NAME).get("TOKEN")
    assert CANARY not in str(bad.value)


def test_a_secret_never_shows() -> None:
    secret = Secret(CANARY)
    shown = [repr(secret), str(secret), f"{secret}", f"{secret:>20}", repr([secret])]
    try:
        raise ValueError(secret)
    except ValueError as error:
        shown += [str(error), "".join(traceback.format_exception(error))]
    shown.append(logging.LogRecord("x", 20, "f", 1, "%s", (secret,), None).getMessage())
    assert not [text for text in shown if CANARY in text]
    for copying in (copy.copy, copy.deepcopy, msgspec.json.encode):
        with pytest.raises(TypeError):
            copying(secret)
    assert secret == Secret(CANARY) and secret != Secret("other") and secret != CANARY


def variables_read(path: Path) -> set[str]:
    """Names that ``path`` asks the environment for: get(X), environ[X], envvar=X, with X a string or a constant."""
    tree = ast.parse(path.read_text())
    constants = {
        node.target.id: node.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and isinstance(node.value, ast.Constant)
    }

    def name(node: ast.expr) -> str | None:
        found = node.value if isinstance(node, ast.Constant) else constants.get(getattr(node, "id", ""))
        return found if isinstance(found, str) else None

    asked = []
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "get"
            and node.args
        ):
            if "environ" in ast.unparse(node.func.value):
                asked.append(node.args[0])
        elif isinstance(node, ast.Subscript) and "environ" in ast.unparse(node.value):
            asked.append(node.slice)
        elif isinstance(node, ast.keyword) and node.arg == "envvar":
            asked.append(node.value)
    return {found for item in asked if (found := name(item))}


def test_every_variable_that_is_read_is_in_the_example() -> None:
    paths = [path for package in ("core", "models", "runner") for path in (ROOT / package).rglob("*.py")]
    read = set().union(*map(variables_read, paths))
    assert {"PORTCULLIS_HOME", "PORTCULLIS_CACHE", "PORTCULLIS_FAILPOINT", "CREDENTIALS_DIRECTORY"} <= read
    example = (ROOT / ".env.example").read_text()
    listed = {line.lstrip("# ").partition("=")[0] for line in example.splitlines() if "=" in line}
    assert read <= listed, f".env.example lacks {sorted(read - listed)}"
    for line in example.splitlines():
        assert line.startswith("#") or not line.strip() or line.endswith("="), f"a value in .env.example: {line}"


def test_env_files_are_ignored_by_git() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert ".env" in ignored and FILE_NAME in ignored
    assert os.access(ROOT / ".env.example", os.R_OK)
