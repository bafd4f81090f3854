"""What a small server gets: the wheel and the base set, in an environment of its own, outside any checkout.

The package index is needed. Where it cannot be reached these tests fail, because then nobody knows.
"""

import json
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from models.lineage import STAMP
from tests.pipelines import reduced
from tests.runner.bundles import OTHER_KEY, make_bundle, make_home

pytestmark = pytest.mark.xdist_group("packaging")

PACKAGES = {"core", "feeds", "features", "models", "runner"}
RESEARCH = (
    "torch",
    "mlflow",
    "dvc",
    "polars",
    "onnx",
    "lightning",
    "duckdb",
    "pandera",
    "plotly",
    "scikit-learn",
)
DAYS = "3"


def run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None, code: int = 0) -> str:
    """Run ``command``, check its exit code and return what it printed."""
    done = subprocess.run([*map(str, command)], cwd=cwd, env=env, capture_output=True, text=True, timeout=600)
    printed = done.stdout + done.stderr
    assert done.returncode == code, f"{' '.join(map(str, command))} ended with {done.returncode}:\n{printed}"
    return printed


@dataclass(frozen=True)
class Built:
    """The wheel, and the copy of the checkout it was built from."""

    wheel: Path
    source: reduced.Checkout

    def files(self) -> dict[str, bytes]:
        """What it installs, by name."""
        with zipfile.ZipFile(self.wheel) as archive:
            return {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}

    def commit(self) -> str:
        """The commit of the copy."""
        return self.source.run("git", "rev-parse", "HEAD").strip()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A wheel by way of the source archive, from a copy in which a model has been promoted."""
    source = reduced.make(tmp_path_factory.mktemp("source") / "checkout", {})
    store = source.path / "models" / "store" / "0123"
    make_bundle(store)
    (source.path / "models" / "promoted").symlink_to("store/0123")
    (source.path / "models" / "registry.json").write_text("{}")
    out = tmp_path_factory.mktemp("dist")
    source.python("-m", "build", "--outdir", str(out), ".")
    return Built(next(out.glob("*.whl")), source)


@dataclass(frozen=True)
class Server:
    """A folder with an environment of the base set, a trusting home and a bundle store; no checkout in sight."""

    folder: Path
    env: dict[str, str]

    def runner(self, *arguments: str, code: int = 0) -> str:
        """Call the installed ``runner`` in ``folder``."""
        return run(self.folder / "env/bin/runner", *arguments, cwd=self.folder, env=self.env, code=code)

    def installed(self) -> dict[str, str]:
        """Installed distributions and their versions."""
        listed = json.loads(run(self.folder / "env/bin/python", "-m", "pip", "list", "--format=json", cwd=self.folder))
        return {item["name"].lower().replace("_", "-"): item["version"] for item in listed}


@pytest.fixture(scope="module")
def server(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Server:
    folder = tmp_path_factory.mktemp("server")
    run(sys.executable, "-m", "venv", folder / "env", cwd=folder)
    constraints = reduced.ROOT / "constraints.txt"
    run(folder / "env/bin/pip", "install", "--constraint", constraints, built.wheel, cwd=folder)
    make_home(folder / "home")
    make_bundle(folder / "models" / "store" / "0123")
    (folder / "models" / "promoted").symlink_to("store/0123")
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    env |= {"PORTCULLIS_HOME": str(folder / "home"), "PORTCULLIS_CACHE": str(folder / "cache")}
    return Server(folder, env)


def test_the_wheel_ships_the_runner_and_what_it_needs_to_the_byte(built: Built) -> None:
    files = built.files()
    del files[STAMP]
    assert {name.split("/")[0] for name in files} == PACKAGES
    source = built.source.path
    sources = [path for name in PACKAGES for path in (source / name).rglob("*.py")]
    assert files == {str(path.relative_to(source)): path.read_bytes() for path in sources}


def test_the_wheel_says_which_commit_it_was_built_from(built: Built, server: Server) -> None:
    assert json.loads(built.files()[STAMP]) == {"commit": built.commit(), "dirty": False}
    assert server.runner("--version").strip().endswith(f"(commit {built.commit()[:12]})")


def test_the_base_set_is_small(server: Server) -> None:
    installed = server.installed()
    assert "portcullis" in installed
    assert not installed.keys() & set(RESEARCH)
    run(server.folder / "env/bin/python", "-m", "pip", "check", cwd=server.folder)


def test_from_doctor_to_verified_ledger(server: Server) -> None:
    rows = json.loads(server.runner("doctor", "--json"))
    assert {row["check"]: row["ok"] for row in rows}["bundle"] == "ok"
    found = json.loads(server.runner("paper", "--market", "builtin", "--days", DAYS, "--json"))
    assert found["finished"] and found["parity"] and found["fills"] > 0
    assert server.runner("replay", "--model").startswith("REPLAY PARITY: TRUE")
    assert server.runner("ledger", "verify").startswith("LEDGER VERIFIED: ")
    assert found["program"] in server.runner("status", "--json")


def test_an_unknown_key_is_refused(server: Server) -> None:
    make_bundle(server.folder / "strange", key=OTHER_KEY)
    before = sorted((server.folder / "home" / "runs").glob("*"))
    printed = server.runner("paper", "--bundle", "strange", "--days", DAYS, code=40)
    assert "unknown key" in printed
    assert sorted((server.folder / "home" / "runs").glob("*")) == before
