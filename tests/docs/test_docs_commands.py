"""What the documents tell a reader to type: it exists, it parses, and what is quick is really run.

The static half holds every command against the program's own parsers, every ``-S key=value`` against params.yaml, every
file against the repository and what a stage makes. The other half runs commands in a reduced checkout in which a
model was promoted.
"""

import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import typer
import yaml
from dvc.cli import DvcParserError
from dvc.cli.parser import get_main_parser
from dvc.exceptions import InvalidArgumentError
from dvc.utils.hydra import apply_overrides
from typer.testing import CliRunner

from core.errors import BadConfig
from pipelines import params
from runner.settings import load_trading
from tests.docs.commands import ROOT, SHELL, Block, Line, blocks, lines, mentions, split
from tests.pipelines import reduced
from tests.runner.bundles import TRADING

SHOWN, ALL = lines(), [*lines(), *mentions()]
OTHER_PROGRAMS = {"git", "cd", "ls", "cp", "cat", "head", "open", "xdg-open", "export", "source", "mkdir", "pip", "jq"}
WRITTEN = (  # by a promotion, by `make paper`, by an installation or a build, by a download
    "models/promoted", "models/store", "models/registry.json", "gates/decisions.jsonl", "trials", "dvc.lock",
    "mlflow.db", ".home", ".venv", "dist", "data/raw", "data/raw.dvc", "data/.gitignore",
)  # fmt: skip
READERS_OWN = {"runner.yaml"}  # shown as a block of its own
TAKES_NO_FILE_OF_OURS = {"--symbol", "--out", "--to", "--outdir", "--home", "-o"}
OUTSIDE = ("~", "/", "../", "$", "http")
FILE_ENDINGS = (".yaml", ".json", ".py", ".md", ".html", ".tape", ".npy", ".csv", ".parquet", ".whl", ".txt", ".onnx")
OUTS = [out for stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].values() for out in stage["outs"]]


def test_every_block_names_its_language() -> None:
    """A block without one would escape the tests below."""
    assert [str(block) for block in blocks() if not block.language] == []
    assert any(block.language in SHELL for block in blocks())


# ---- it exists and parses


def typer_app(module: str) -> typer.Typer | None:
    """The command line of ``python -m module``; None if it has none of our kind."""
    spec = importlib.util.find_spec(module)
    assert spec, f"there is no module {module}"
    if spec.submodule_search_locations and not importlib.util.find_spec(f"{module}.__main__"):
        raise AssertionError(f"{module} cannot be run: it has no __main__")
    if spec.submodule_search_locations and module in ("data", "evaluation", "gates"):
        return importlib.import_module(f"{module}.__main__").app
    return importlib.import_module("runner.cli").app if module == "runner.cli" else None


def parse(app: typer.Typer, arguments: tuple[str, ...]) -> None:
    """Fail unless every sub-command and option exists: ``--help`` at the end stops before anything is done."""
    done = CliRunner().invoke(app, [*arguments, "--help"])
    assert done.exit_code == 0, done.output


def check_make(words: tuple[str, ...]) -> None:
    done = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def check_python(words: tuple[str, ...]) -> None:
    if words[1] != "-m":
        assert (ROOT / words[1]).is_file(), f"{words[1]} is missing"
    elif app := typer_app(words[2]):
        parse(app, words[3:])


def check_runner(words: tuple[str, ...]) -> None:
    app = typer_app("runner.cli")
    assert app
    parse(app, words[1:])


def check_dvc(words: tuple[str, ...]) -> None:
    try:
        get_main_parser().parse_args(list(words[1:]))
    except DvcParserError:
        raise AssertionError(f"dvc does not know {' '.join(words[1:])}") from None


CHECKS = {"make": check_make, "python": check_python, "runner": check_runner, "dvc": check_dvc}


def check(line: Line) -> None:
    """Fail unless every command of ``line`` exists and parses."""
    for words in line.commands:
        assert words[0] in CHECKS or words[0] in OTHER_PROGRAMS, f"{line}: no check for {words[0]}: add one"
        if words[0] in CHECKS:
            CHECKS[words[0]](words)


@pytest.mark.parametrize("line", ALL, ids=str)
def test_every_command_exists_and_parses(line: Line) -> None:
    check(line)


@pytest.mark.parametrize(
    "text",
    [
        "make no-such-target",
        "runner paper --no-such-option",
        "runner no-such-command",
        "python -m gates no-such-command",
        "python -m no_such_module",
        "python -m training",
        "python no_such_file.py",
        "dvc exp run --no-such-option",
        "dvc no-such-command",
        "no-such-program",
        "make help | no-such-program",
        "make help && runner no-such-command",
        "runner show-config --config $(no-such-program)",
    ],
)
def test_a_command_that_is_not_there_is_found(text: str) -> None:
    with pytest.raises(AssertionError):
        check(Line("test", text, tuple(split(text))))


def test_lines_are_split_as_a_shell_does() -> None:
    assert list(split("A=1 make x B=2 # why")) == [("make", "x", "B=2")]
    assert list(split("""dvc exp run -S 'data.strength="0"' | head > out.txt && ls""")) == [
        ("dvc", "exp", "run", "-S", 'data.strength="0"'),
        ("head",),
        ("ls",),
    ]


# ---- parameters


def overrides(line: Line) -> list[str]:
    """What ``-S`` sets in ``line``."""
    return [
        setting
        for words in line.commands
        if words[:3] == ("dvc", "exp", "run")
        for setting in get_main_parser().parse_args(list(words[1:])).set_param or []
    ]


def apply(settings: list[str], folder: Path) -> params.Params:
    """params.yaml with ``settings`` as DVC sets them, read as a stage reads it. A value of another type is refused."""
    path = folder / "params.yaml"
    shutil.copy(ROOT / "params.yaml", path)
    apply_overrides(str(path), settings)
    return params.load(path)


@pytest.mark.parametrize("line", [line for line in ALL if overrides(line)], ids=str)
def test_every_parameter_that_is_set_exists_and_has_that_type(line: Line, tmp_path: Path) -> None:
    apply(overrides(line), tmp_path)


@pytest.mark.parametrize("setting", ["data.strength=0", "data.nothing=1", "risk.asset_cap_ppm=much", "seed=-1"])
def test_a_wrong_parameter_is_found(setting: str, tmp_path: Path) -> None:
    with pytest.raises((BadConfig, InvalidArgumentError)):
        apply([setting], tmp_path)


def runner_yaml() -> str:
    """The configuration that docs/operating.md shows."""
    (block,) = [item for item in blocks() if (item.document, item.language) == ("docs/operating.md", "yaml")]
    return block.text


def test_the_runners_configuration_is_one(tmp_path: Path) -> None:
    (tmp_path / "runner.yaml").write_text(runner_yaml())
    assert load_trading(tmp_path / "runner.yaml", TRADING) != TRADING


# ---- files


def files(line: Line) -> list[str]:
    """The files of the checkout that ``line`` names as something to read."""
    found = []
    for words in line.commands:
        for before, word in pairwise(words):
            value = word.split("=", 1)[-1].strip("'\"").removeprefix("./").rstrip("/")
            looks = "/" in value or value.endswith(FILE_ENDINGS)
            if (
                looks
                and words[0] != "git"
                and before not in TAKES_NO_FILE_OF_OURS
                and not value.startswith(("-", *OUTSIDE))
            ):
                found.append(value)
    return found


def under(name: str, folders: tuple[str, ...] | list[str]) -> bool:
    return any(name == folder or name.startswith(f"{folder}/") for folder in folders)


@pytest.mark.parametrize("line", [line for line in ALL if files(line)], ids=str)
def test_every_file_exists_or_is_made(line: Line) -> None:
    for name in files(line):
        made = under(name, OUTS) or under(name, WRITTEN) or name in READERS_OWN
        assert made or (ROOT / name).exists(), f"{line}: {name} is missing and no stage makes it"


# ---- it runs


JUDGED = (0, 10, 20)
RUN = {  # what takes seconds on a reduced checkout, with the exit codes that are no error
    ("make", "paper"): (0,),
    ("make", "help"): (0,),
    ("python", "-m", "gates", "check"): JUDGED,
    ("python", "-m", "gates", "explain"): JUDGED,
    ("python", "-m", "gates", "diff"): (0,),
    ("python", "-m", "gates", "history"): (0,),
    ("python", "-m", "gates", "keys"): (0,),
    ("python", "-m", "data"): (0,),
    ("python", "-m", "data", "download"): (),  # never: it asks an exchange
    ("python", "-m", "data", "check", "--against"): (),  # never: the other recording is not in the repository
    ("python", "-m", "data", "fi2010"): (),  # never: the reader supplies the file
    ("python", "-m", "data", "holdout"): (),  # never: there is none in the built-in market
    ("python", "-m", "data", "psi"): (),  # never: bars have no lanes
    ("python", "-m", "evaluation"): (0,),
    ("runner", "record"): (),  # not here: tests/runner/test_live_command.py runs it against a server of its own
    ("runner", "status"): (0,),
    ("runner", "show-config"): (0,),
    ("runner", "doctor"): (0,),
    ("runner", "replay"): (0,),
    ("runner", "ledger"): (0,),
    ("runner", "--version"): (0,),
}
HARMLESS = {"cat", "head", "ls", "jq"}


def allowed_codes(line: Line) -> tuple[int, ...]:
    """The exit codes ``line`` may end with; none if it is not run here."""
    starts = [
        max((start for start in RUN if words[: len(start)] == start), key=len, default=()) for words in line.commands
    ]
    known = [codes for start in starts if (codes := RUN.get(start, ()))]
    harmless = sum(words[0] in HARMLESS for words in line.commands)
    return max(known, key=len) if known and len(known) + harmless == len(line.commands) else ()


@pytest.fixture(scope="module")
def traded(promoted: reduced.Checkout, tmp_path_factory: pytest.TempPathFactory) -> reduced.Checkout:
    """The promoted checkout after ``make paper``, with a home directory of its own."""
    user = tmp_path_factory.mktemp("user")
    cache = os.environ.get("PORTCULLIS_CACHE") or str(Path.home() / ".cache" / "portcullis")
    places = {"HOME": str(user), "PORTCULLIS_HOME": str(promoted.path / ".home"), "PORTCULLIS_CACHE": cache}
    checkout = replace(promoted, env={**promoted.env, **places})
    printed = checkout.run("make", "-o", ".venv/.ready", "paper")
    assert "REPLAY PARITY: TRUE" in printed and "LEDGER VERIFIED" in printed
    return checkout


def last_fold(checkout: reduced.Checkout) -> str:
    folds = (checkout.path / "artifacts" / "calibrated").glob("fold_*")
    return max(folds, key=lambda path: int(path.name.removeprefix("fold_"))).name


@pytest.mark.xdist_group("graph")
@pytest.mark.parametrize("line", {line.commands: line for line in ALL if allowed_codes(line)}.values(), ids=str)
def test_what_is_quick_runs(traded: reduced.Checkout, line: Line) -> None:
    (traded.path / "runner.yaml").write_text(runner_yaml())
    text = re.sub(r"\bfold_\d+", last_fold(traded), line.text).replace("make paper", "make -o .venv/.ready paper")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text], cwd=traded.path, env=traded.env, capture_output=True, text=True
    )
    (traded.path / "runner.yaml").unlink()
    assert done.returncode in allowed_codes(line), f"{line} ended with {done.returncode}:\n{done.stdout}{done.stderr}"


@pytest.mark.xdist_group("graph")
def test_every_file_of_a_stage_is_really_made(traded: reduced.Checkout) -> None:
    for line in ALL:
        for name in files(line):
            if under(name, OUTS):
                name = re.sub(r"\bfold_\d+", last_fold(traded), name)
                assert list(traded.path.glob(name)), f"{line}: no stage made {name}"


# Those of docs/data.md read artifacts: tests/docs/test_docs_data.py runs them.
PYTHON = [block for block in blocks() if block.language == "python" and block.document != "docs/data.md"]


@pytest.mark.xdist_group("graph")
@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_runs_in_a_runs_folder(traded: reduced.Checkout, block: Block) -> None:
    (journal,) = (traded.path / ".home" / "runs").glob("*/journal.db")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", block.text],
        cwd=journal.parent, env=traded.env, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
