"""What docs/journal.md shows runs as it stands there, in a run's folder."""

import shutil
from pathlib import Path

import pytest

from runner.home import Run
from tests.docs.commands import Block, blocks

SHOWN = [block for block in blocks() if block.document == "docs/journal.md" and block.language == "python"]


def test_the_document_shows_every_way_to_read() -> None:
    text = "".join(block.text for block in SHOWN)
    assert all(call in text for call in ("np.frombuffer(", "load(", "np.memmap("))


@pytest.mark.parametrize("block", SHOWN, ids=str)
def test_a_block_runs(block: Block, played: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(played.folder, tmp_path / "run")
    monkeypatch.chdir(tmp_path / "run")
    names: dict = {}
    exec(compile(block.text, str(block), "exec"), names)
    assert len(names["records" if "records" in names else "bars"]) > 800
