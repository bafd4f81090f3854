"""The build stamp: what counts as the commit, what makes it dirty, and where nobody knows."""

import subprocess
from pathlib import Path

import pytest

from models.lineage import STAMP, UNTRACED, Build, build, code_hash, write_stamp

UNKNOWN = Build(UNTRACED, dirty=True)


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with one commit of a package, a decision log and a registry."""
    for name in ("models/bundle.py", "models/registry.json", "gates/decisions.jsonl", "dvc.lock", "trials/a.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "one")
    return tmp_path


def test_a_clean_checkout_is_its_commit(checkout: Path) -> None:
    assert build(checkout) == Build(git(checkout, "rev-parse", "HEAD"), dirty=False)


@pytest.mark.parametrize("name", ["models/registry.json", "gates/decisions.jsonl", "dvc.lock", "trials/b.json"])
def test_what_runs_and_promotions_write_makes_no_tree_dirty(checkout: Path, name: str) -> None:
    (checkout / name).write_text("2\n")
    assert not build(checkout).dirty


@pytest.mark.parametrize("name", ["models/bundle.py", "models/new.py", "gates/trials.py", "params.yaml"])
def test_any_other_change_does(checkout: Path, name: str) -> None:
    (checkout / name).write_text("2\n")
    assert build(checkout).dirty
    assert build(checkout).commit == git(checkout, "rev-parse", "HEAD")


def test_a_removed_or_staged_file_counts_too(checkout: Path) -> None:
    git(checkout, "rm", "-q", "models/bundle.py")
    assert build(checkout).dirty


def test_an_environment_inside_a_repository_is_not_that_repository(checkout: Path) -> None:
    site_packages = checkout / "env" / "site-packages"
    (site_packages / "models").mkdir(parents=True)
    assert build(site_packages) == UNKNOWN
    write_stamp(site_packages, Build("a" * 40, dirty=False))
    assert build(site_packages) == Build("a" * 40, dirty=False)


def test_the_checkout_is_believed_before_a_stamp_left_in_it(checkout: Path) -> None:
    write_stamp(checkout, Build("a" * 40, dirty=False))
    assert build(checkout).commit == git(checkout, "rev-parse", "HEAD")


@pytest.mark.parametrize("stamp", ["", "{", "[]", "{}", '{"commit": "a"}', '"a"'])
def test_a_stamp_that_says_nothing_is_no_stamp(tmp_path: Path, stamp: str) -> None:
    (tmp_path / STAMP).parent.mkdir()
    (tmp_path / STAMP).write_text(stamp)
    assert build(tmp_path) == UNKNOWN


def test_only_a_plain_false_is_clean(tmp_path: Path) -> None:
    (tmp_path / STAMP).parent.mkdir()
    (tmp_path / STAMP).write_text('{"commit": "a", "dirty": 0}')
    assert build(tmp_path) == Build("a", dirty=True)


def test_a_repository_without_a_commit_or_without_git_is_unknown(
    checkout: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path_factory.mktemp("empty")
    git(empty, "init", "-q")
    assert build(empty) == UNKNOWN
    monkeypatch.setenv("PATH", str(empty))
    assert build(checkout) == UNKNOWN


def test_the_stamp_is_in_no_code_hash(checkout: Path) -> None:
    before = code_hash(("models",), root=checkout)
    write_stamp(checkout, Build("a" * 40, dirty=True))
    assert code_hash(("models",), root=checkout) == before
    (checkout / "models" / "bundle.py").write_text("2\n")
    assert code_hash(("models",), root=checkout) != before


def test_the_text_tells_dirty_from_clean() -> None:
    assert str(Build("0123456789abcdef", dirty=False)) == "commit 0123456789ab"
    assert str(UNKNOWN) == "commit unknown, dirty"
