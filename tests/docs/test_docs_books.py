"""The commands of docs/operating.md that play order books on paper, run in their order in a folder of their own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from feeds.tape import Tape, write_tape
from pipelines.featurize import featurize_events
from tests.docs.commands import ROOT, blocks
from tests.runner.book_tapes import MARKET, META, builtin_rows
from training.event_labels import EventLabelParams

OPERATING = [block for block in blocks() if block.document == "docs/operating.md"]
(CONFIG,) = (block.text for block in OPERATING if block.language == "yml")
(COMMANDS,) = (
    block.text for block in OPERATING if block.language == "text" and "gates rule --tape artifacts" in block.text
)


def test_the_commands_run_and_say_what_the_text_says(tmp_path: Path) -> None:
    (tmp_path / "book.yaml").write_text(CONFIG)
    tape = tmp_path / "artifacts/data/market.tape"
    write_tape(tape, [builtin_rows(rows=6_000)], instruments=MARKET.instruments(), interval_ns=0, meta=META)
    featurize_events(Tape.open(tape), tmp_path / "artifacts/features", EventLabelParams())
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PORTCULLIS_H")}
    environment |= {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "PORTCULLIS_KEYS": str(tmp_path / "keys")}
    environment.setdefault("PORTCULLIS_CACHE", str(Path.home() / ".cache/portcullis"))
    printed = {}
    for line in COMMANDS.splitlines():
        words = line.replace("~", str(tmp_path)).split()
        if words[0] == "jq" and shutil.which("jq") is None:
            continue
        start = {"python": [sys.executable], "runner": [sys.executable, "-m", "runner.cli"]}.get(words[0], words[:1])
        done = subprocess.run([*start, *words[1:]], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}:\n{done.stdout}{done.stderr}"
        printed[" ".join(words[:2])] = done.stdout
    assert "REPLAY PARITY: TRUE" in printed["runner replay"]
    assert "LEDGER VERIFIED" in printed["runner ledger"]
    assert "timer  record" in printed["runner explain"]
    research = json.loads((tmp_path / "artifacts/features/spec.json").read_bytes())["market_state"]
    assert json.loads(printed.get("jq .market_state", json.dumps(research))) == research
    shown = "".join(printed["runner paper"].split())  # the table folds long lines
    assert f"{research['rows']:,}readyrows,sha256{research['sha256']}" in shown
