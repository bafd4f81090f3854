"""Why a fill happened: every element of the chain, in causal order, with its record's number and hash."""

import hashlib
import json
import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.errors import BadInput, BadTape, PortcullisError
from core.records import BAR, FILL, INTENT, ORDER, PREDICTION, Kind
from core.rules import ALWAYS_SAID, RULES
from features import bars as kernel
from runner import show
from runner.explain import _bundle, explain
from runner.home import Run
from runner.ledger import LedgerBroken
from runner.reader import open_run
from runner.schema import OBJECTS
from tests.runner.bundles import SPEC


def explained(run: Run, which: str, **more: object) -> dict:
    with open_run(run) as reader:
        return explain(reader, which, run.folder.parent.parent / "trust", **more)


def elements(found: dict, name: str) -> list[dict]:
    return [item for item in found["chain"] if item["element"] == name]


def test_the_chain_is_whole_and_in_causal_order(played: Run, records: np.ndarray) -> None:
    found = explained(played, "1")
    numbers = [item["record"] for item in found["chain"] if "record" in item]
    assert numbers == sorted(numbers)
    names = [item["element"] for item in found["chain"]]
    assert names[:3] == ["bar", "features", "prediction"]
    judged = names.count("check")
    assert len(ALWAYS_SAID) < judged < len(RULES)
    assert names[3:-2] == ["check"] * judged + ["decision", "intent"]
    assert names[-2:] == ["report", "fill"]
    row = int(np.flatnonzero(records["kind"] == Kind.FILL)[0])
    assert found["fill"]["record"] == row
    assert found["missing"] == [] and found["bundle"]["verdict"] == "PASS"


def test_every_element_carries_the_hash_of_its_bytes(played: Run, records: np.ndarray) -> None:
    for item in explained(played, "3")["chain"]:
        if item["element"] != "features":
            assert item["sha256"] == hashlib.sha256(records[item["record"]].tobytes()).hexdigest()
            assert item["kind"] == Kind(int(records[item["record"]]["kind"])).name


def test_the_parts_belong_together(played: Run) -> None:
    for which in ("1", "9", "40"):
        found = explained(played, which)
        fill, intent = elements(found, "fill")[0]["fields"], elements(found, "intent")[0]["fields"]
        decision, prediction = elements(found, "decision")[0]["fields"], elements(found, "prediction")[0]["fields"]
        assert intent["order_id"] == fill["order_id"] and intent["instrument"] == fill["instrument"]
        assert decision["size_lots"] == intent["qty"] and decision["bar_ts"] == prediction["bar_ts"]
        assert elements(found, "bar")[0]["fields"]["ts_event"] == prediction["bar_ts"]
        checks = elements(found, "check")
        assert {item["fields"]["order_id"] for item in checks} == {fill["order_id"]}
        assert {item["reads"]["verdict"] for item in checks} == {"PASS"}
        assert {item["reads"]["reason"] for item in checks} >= {reason.name for reason in ALWAYS_SAID}
        assert all(item["fields"]["order_id"] == fill["order_id"] for item in elements(found, "report"))


def test_the_ledger_rows_are_those_of_the_fill(played: Run, records: np.ndarray) -> None:
    found = explained(played, "1")
    ledger, fill = found["ledger"], elements(found, "fill")[0]["fields"]
    assert ledger["transaction"]["seq"] == found["fill"]["record"]
    sums: dict[str, int] = {}
    for entry in ledger["entries"]:
        sums[entry["asset"]] = sums.get(entry["asset"], 0) + entry["delta"]
    assert ledger["entries"] and set(sums.values()) == {0}
    assert [item["order_id"] for item in ledger["approval"]] == [fill["order_id"]]
    assert ledger["lots"] or ledger["trades"]


def test_the_features_are_the_kernels(played: Run, records: np.ndarray) -> None:
    found = explained(played, "5")
    made, bar = elements(found, "features")[0], elements(found, "bar")[0]
    assert made["ready"] and made["spec"] == SPEC.hash
    state, out = kernel.new_state(SPEC, 3), np.zeros((1, SPEC.n_features), np.float32)
    for row in np.flatnonzero(records["kind"][: bar["record"] + 1] == Kind.BAR).tolist():
        one = records[row : row + 1].view(BAR).copy()
        if one["instrument"][0] == bar["fields"]["instrument"]:
            kernel.update(state, one, out)
    assert made["values"] == dict(zip(SPEC.names, map(float, out[0]), strict=True))


def test_without_the_bundle_it_says_so(played: Run, tmp_path: Path) -> None:
    made = elements(explained(played, "1", bundle=tmp_path), "features")[0]
    assert made["said"].startswith("not recomputed:") and "values" not in made


def test_a_fill_by_order_and_execution(played: Run, records: np.ndarray) -> None:
    fills = records[records["kind"] == Kind.FILL].view(FILL)
    last = fills[-1]
    found = explained(played, f"{last['order_id']}:{last['exec_id']}")
    assert found["fill"]["record"] == int(np.flatnonzero(records["kind"] == Kind.FILL)[-1])
    assert found["chain"] == explained(played, str(len(fills)))["chain"]


@pytest.mark.parametrize("which", ["0", "100000", "7:x", "x", "", "1:-99", "-1", "1:--1", "\u00b2", "1:"])
def test_no_such_fill(played: Run, which: str) -> None:
    with pytest.raises(BadInput, match="fill"):
        explained(played, which)


def test_as_lines_and_as_json(played: Run) -> None:
    found = explained(played, "5")
    lines = show.explain_lines(found)
    assert json.loads(json.dumps(found)) == found
    for item in found["chain"]:
        if "record" in item:
            assert any(f"{item['element']}  record {item['record']}  sha256 {item['sha256'][:16]}" in x for x in lines)
    assert sum("check  record" in line for line in lines) > len(ALWAYS_SAID)
    assert any("entry" in line and "holdings USDT" in line for line in lines)


def test_an_order_that_took_from_risk_alone_has_its_cause(played: Run, records: np.ndarray) -> None:
    """Every fill of the session has an intent and an input before it, whatever sent the order."""
    orders = records[records["kind"] == Kind.ORDER].view(ORDER)
    intents = records[records["kind"] == Kind.INTENT].view(INTENT)
    assert len(orders) and len(intents)
    for which in range(1, 60, 7):
        found = explained(played, str(which))
        first = found["chain"][0]
        assert first["record"] < elements(found, "intent")[0]["record"] < found["fill"]["record"]
        assert records[first["record"] : first["record"] + 1].view(PREDICTION)["kind"][0] < 32


def test_several_strategies_are_all_named(played: Run) -> None:
    with open_run(played) as reader:
        last = reader.segments[-1]
        several = [{"kind": "edge"}, {"kind": "quotes"}, {"kind": "edge"}]
        header = last.header | {"trading": last.header["trading"] | {"strategies": several}}
        changed = replace(reader, segments=(*reader.segments[:-1], replace(last, header=header)))
        assert _bundle(changed)["strategy"] == "edge+quotes"


@pytest.fixture
def copy(played: Run, tmp_path: Path) -> Run:
    run = Run(tmp_path / "runs" / "copy")
    shutil.copytree(played.folder, run.folder)
    return run


def refused(run: Run, kind: type[PortcullisError]) -> str:
    """What ``explain`` says to the run's first fill, which an error of ``kind`` refuses to explain."""
    with pytest.raises(kind) as raised:
        explained(run, "1")
    return str(raised.value)


def test_a_changed_byte_is_told_by_segment_and_record(copy: Run) -> None:
    """Even one in a record that the chain of this fill does not touch."""
    with closing(sqlite3.connect(copy.journal)) as connection, connection:
        first, data = connection.execute("SELECT first, records FROM block ORDER BY first DESC LIMIT 1").fetchone()
        connection.execute("DROP TRIGGER block_no_update")
        altered = data[:40] + bytes([data[40] ^ 1]) + data[41:]
        connection.execute("UPDATE block SET records = ? WHERE first = ?", (altered, first))
        connection.execute(OBJECTS["block_no_update"])
    said = refused(copy, BadTape)
    assert f"journal.db: segment 0: batch of records {first} to " in said and "altered" in said


def test_a_changed_ledger_is_told(copy: Run) -> None:
    with closing(sqlite3.connect(copy.journal)) as connection, connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("DROP TRIGGER entry_no_update")
        connection.execute("UPDATE entry SET delta = delta + 1 WHERE id = (SELECT MAX(id) FROM entry)")
        connection.execute(OBJECTS["entry_no_update"])
    assert "entry" in refused(copy, LedgerBroken)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_truncated_database_is_told_with_its_file_and_the_remedy(copy: Run, share: float) -> None:
    os.truncate(copy.journal, int(copy.journal.stat().st_size * share))
    said = refused(copy, BadTape)
    assert str(copy.journal) in said and "restore the run's folder" in said
