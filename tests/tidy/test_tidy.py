"""Rules of this code base that no linter has: what may not appear, how large a piece may grow, what needs a word."""

import ast
import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PACKAGES = ("core", "feeds", "features", "data", "models", "evaluation", "training", "gates", "pipelines", "runner")
LINES_PER_FILE, LINES_PER_FUNCTION, METHODS_PER_CLASS = 450, 75, 16


def tracked(*suffixes: str) -> list[Path]:
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    return [ROOT / name for name in names if name.endswith(suffixes) and (ROOT / name).is_file()]


def product() -> list[Path]:
    return [path for path in tracked(".py") if path.relative_to(ROOT).parts[0] in PACKAGES]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


FORBIDDEN = {
    r"\bpickle\b(?!\.)": "pickle runs code when it loads",
    r"\b(TODO|FIXME|XXX)\b": "finish it or write an issue",
    r"^\s*assert\s": "`assert` vanishes under -O: use core.errors.require",
    r"except(\s+Exception)?\s*:": "a broad except hides faults",
    r"(?<![.\w])print\(": "results go through rich or typer.echo",
    r"torch\.load\(": "weights are .npz",
}


@pytest.mark.parametrize("path", product(), ids=relative)
def test_nothing_forbidden_in_the_product(path: Path) -> None:
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        for pattern, why in FORBIDDEN.items():
            code = line.split("#")[0] if "assert" in pattern or "print" in pattern else line
            if '"' in code or "``" in code or "no pickle" in code.lower():
                continue  # prose in strings and docstrings
            assert not re.search(pattern, code), f"{relative(path)}:{number}: {why}: {line.strip()}"


@pytest.mark.parametrize("path", product(), ids=relative)
def test_pieces_stay_small_and_explained(path: Path) -> None:
    source = path.read_text()
    assert len(source.splitlines()) <= LINES_PER_FILE, (
        f"{relative(path)} has {len(source.splitlines())} lines: split it"
    )
    tree = ast.parse(source)
    if source.strip():
        assert ast.get_docstring(tree), f"{relative(path)} has no module docstring"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            assert lines <= LINES_PER_FUNCTION, f"{relative(path)}:{node.lineno} {node.name} has {lines} lines"
        if isinstance(node, ast.ClassDef):
            methods = sum(isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) for item in node.body)
            assert methods <= METHODS_PER_CLASS, f"{relative(path)}:{node.lineno} {node.name} has {methods} methods"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{relative(path)}:{node.lineno} public {node.name} has no docstring"


def test_no_path_of_a_machine_is_committed() -> None:
    pattern = re.compile(r"(?<![\w.~}])/(work|root|home|Users|farm)/[\w.]")
    for path in tracked(".py", ".md", ".yaml", ".yml", ".toml", ".txt", "Makefile", ".ci/run", ".sh"):
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            assert not pattern.search(line), f"{relative(path)}:{number}: {line.strip()[:100]}"


def test_every_parameter_a_stage_declares_exists() -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for name, stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].items():
        for key in stage.get("params", []):
            value = params
            for part in key.split("."):
                assert part in value, f"stage {name} declares the parameter {key}, params.yaml has no {part}"
                value = value[part]


def test_every_parameter_reaches_a_stage() -> None:
    declared = {
        key.split(".")[0]
        for stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].values()
        for key in stage.get("params", [])
    }
    assert set(yaml.safe_load((ROOT / "params.yaml").read_text())) - declared == {"workers"}  # changes no result


def test_every_make_target_is_listed_by_help() -> None:
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in re.findall(r"^\.PHONY: (\S+)", (ROOT / "Makefile").read_text(), re.MULTILINE):
        assert f"make {target} " in listed, f"`make {target}` has no `## ` line"


@pytest.mark.parametrize("path", tracked(".md"), ids=relative)
def test_links_in_documents_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)\)", path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{relative(path)} links to {target}, which is missing"
