"""How results look on a terminal. Everything here is a view of plain data that ``--json`` prints as it is."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.tree import Tree

PARITY_LOST = "not the configuration that was judged: parity with the backtest does not apply"


def console(*, stderr: bool = False) -> Console:
    """A console that never wraps words it did not write: lines stay greppable."""
    return Console(stderr=stderr, soft_wrap=True, highlight=False)


def time_text(ts_ns: int) -> str:
    """A UTC time to the second."""
    return datetime.fromtimestamp(ts_ns // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def summary_table(found: dict[str, Any]) -> Table:
    """A session's summary, as ``runner.summary.summary`` and the paper command make it."""
    table = Table(box=box.SIMPLE, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    quote = found["quote"]
    rows: list[tuple[str, str]] = [
        ("run", f"{found['run']}  ({found['mode']}, {'finished' if found['finished'] else 'interrupted'})"),
        ("bundle", _bundle(found)),
        ("configuration", "as judged" if found["parity"] else f"{', '.join(found['changed'])}: {PARITY_LOST}"),
        ("bars", f"{found['bars']:,} to {time_text(found['last_ts_ns'])}"),
        ("books", _counts(found["books"])),
        ("predictions", f"{found['predictions']:,}"),
        ("decisions", _counts(found["decisions"])),
        ("orders", f"{found['intents']:,} intents; {_counts(found['order_ends'])}"),
        ("fills", f"{found['fills']:,}; {_counts(found['fills_by_side'])}"),
        ("fees", _amounts(found["fees"])),
        ("net result", f"{found['net_result']} {quote}  ({found['opening']} -> {found['equity']})"),
        ("drawdown", f"{found['drawdown_max_ppm'] / 10_000:.2f} % at most"),
        ("risk state", found["risk_state"] + (", stopped for the day" if found["day_stopped"] else "")),
        ("holdings", _amounts(found["holdings"])),
        ("journal", f"{found['records']:,} records, head {found['head']}"),
        ("ledger", f"head {found['ledger_head']}"),
    ]
    for stage, figures in found.get("latency", {}).items():
        rows.append((f"{stage} latency", f"p50 {figures['p50_us']:.1f} µs, p99 {figures['p99_us']:.1f} µs a step"))
    if rows_of := found.get("market_state"):
        rows.append(("market_state", f"{rows_of['rows']:,} ready rows, sha256 {rows_of['sha256']}"))
    if "program" in found:
        rows.append(("program", found["program"]))
    if "seconds" in found:
        rows.append(("took", f"{found['seconds']:.1f} s"))
    for name, value in rows:
        table.add_row(name, value)
    return table


def _bundle(found: dict[str, Any]) -> str:
    verdict = found.get("verdict")
    return f"{found['bundle_id'][:16]}  {found['strategy']}" + (f"  {verdict}, key {found['trust']}" if verdict else "")


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "none"


def _amounts(amounts: dict[str, str]) -> str:
    return ", ".join(f"{amount} {asset}" for asset, amount in amounts.items()) or "none"


def rows_table(rows: list[dict[str, Any]], title: str) -> Table:
    """Rows of equal keys as a table."""
    table = Table(*(rows[0] if rows else ()), box=box.SIMPLE, title=title, title_justify="left", pad_edge=False)
    for row in rows:
        cells = (time_text(value) if name.endswith("_ns") else str(value) for name, value in row.items())
        table.add_row(*cells)
    return table


def explain_lines(found: dict[str, Any]) -> list[str]:
    """What ``runner.explain.explain`` found, in the order of cause and effect, as the lines of a tree."""
    return list(_lines(_explain_tree(found), "", ""))


def _lines(tree: Tree, first: str, rest: str) -> Iterator[str]:
    """Rich would cut lines to the terminal's width; these are whole, so that they can be searched."""
    yield f"{first}{tree.label}"
    for child in tree.children:
        is_last = child is tree.children[-1]
        yield from _lines(child, rest + ("└── " if is_last else "├── "), rest + ("    " if is_last else "│   "))


def _explain_tree(found: dict[str, Any]) -> Tree:
    fill, bundle = found["fill"], found["bundle"]
    tree = Tree(f"fill {fill['order_id']}:{fill['exec_id']} of run {found['run']}, record {fill['record']}")
    told = f"bundle {bundle['id'][:16]}  strategy {bundle['strategy']}  configuration {bundle['config_hash'][:16]}"
    if "verdict" in bundle:
        told += f"  {bundle['verdict']}, key {bundle['key_id']} ({bundle['trust']})"
    tree.add(told)
    for note in found["missing"]:
        tree.add(f"missing: {note}")
    for element in found["chain"]:
        _add_element(tree, element)
    _add_ledger(tree.add("ledger"), found["ledger"])
    return tree


def _add_element(tree: Tree, element: dict[str, Any]) -> None:
    if element["element"] == "features":
        branch = tree.add(f"features  {element['said']}")
        if "values" in element:
            branch.add(f"specification {element['spec'][:16]}  sha256 {element['sha256'][:16]}")
            branch.add("  ".join(f"{name} {value:.6g}" for name, value in element["values"].items()))
        return
    fields, reads = element["fields"], element["reads"]
    head = f"{element['element']}  record {element['record']}  sha256 {element['sha256'][:16]}"
    if element["element"] == "check":
        told = f"{reads['reason']} {reads['verdict']}  value {fields['value']}, at most {fields['limit']}"
        tree.add(f"{head}  {told}")
        return
    branch = tree.add(f"{head}  {time_text(fields['ts_known'])}")
    shown = {name: value for name, value in fields.items() if name not in ("ts_event", "ts_known", "kind")}
    branch.add("  ".join(f"{name} {reads.get(name, value)}" for name, value in shown.items()))


def _add_ledger(branch: Tree, ledger: dict[str, Any]) -> None:
    if "said" in ledger:
        branch.add(ledger["said"])
        return
    transaction = ledger["transaction"]
    branch.add(f"transaction {transaction['id']}  sha256 {transaction['sha256'][:16]}")
    for entry in ledger["entries"]:
        branch.add(
            f"entry {entry['id']}  {entry['account']} {entry['asset']}  {entry['delta']:+d}  "
            f"balance {entry['balance_after']}"
        )
    for lot in ledger["lots"]:
        branch.add(f"lot {lot['id']} opened: {lot['units']} units for {lot['cost']}")
    for trade in ledger["trades"]:
        branch.add(
            f"trade {trade['id']} of lot {trade['lot']}: {trade['units']} units, cost {trade['cost']}, "
            f"proceeds {trade['proceeds']}, realised {trade['realised']:+d}"
        )
