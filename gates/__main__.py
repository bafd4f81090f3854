"""``python -m gates``: check, explain, diff, promote, rollback, history, rule, keys. Run in the repository's root.

Exit codes: 0 PASS or done, 10 FAIL, 20 INSUFFICIENT, 30 bad input or an unmeasured metric, 32 bad configuration,
40 refused (altered log, registry or bundle; unsafe key).
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from core.settings import as_json
from feeds.tape import Tape
from gates import explain as words
from gates import keys
from gates.judge import as_json as verdict_json
from gates.promote import Result
from gates.promote import promote as promote_candidate
from gates.promote import rollback as roll_back
from gates.rule import make_bundle as make_rule_bundle
from gates.rule import read_trading
from gates.schema import BAR_MODEL
from gates.state import read_state
from gates.workspace import Workspace, open_case
from models import command

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Judge, promote and roll back models.")
key_app = typer.Typer(no_args_is_help=True, help="Signing keys: outside the checkout, never printed.")
app.add_typer(key_app, name="keys")

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
ProfileOption = Annotated[str, typer.Option(help="Which kind of model: a profile of gates/gates.yaml.")]


@app.command()
def check(profile: ProfileOption = BAR_MODEL, as_json_: JsonOption = False) -> None:
    """Judge the candidate with the trials counted now. Exit 0 PASS, 10 FAIL, 20 INSUFFICIENT, 30 not measured."""
    verdict = open_case(_here(), profile).verdict
    _show(verdict_json(verdict)) if as_json_ else words.print_table(verdict)
    raise typer.Exit(verdict.exit_code)


@app.command()
def explain(profile: ProfileOption = BAR_MODEL, as_json_: JsonOption = False) -> None:
    """Per gate: what was measured, why the gate exists, what would change the result."""
    verdict = open_case(_here(), profile).verdict
    if as_json_:
        _show({row.gate.name: words.what_would_change(row) for row in verdict.rows})
    else:
        typer.echo("\n\n".join("\n".join(words.sentences(row)) for row in verdict.rows))
        typer.echo(f"\n{words.headline(verdict)}")
    raise typer.Exit(verdict.exit_code)


@app.command()
def diff(as_json_: JsonOption = False) -> None:
    """The candidate beside the model in use: measured values and which hashes differ."""
    work = _here()
    case, active = open_case(work), read_state(work).active
    manifest, old = case.bundle.manifest, as_json(active) if active else {}
    new = {
        "bundle_id": case.bundle.id,
        "data_hash": manifest.data_hash,
        "hyperparameters_hash": manifest.params_hash,
        "feature_spec_hash": manifest.feature_spec_hash,
        "code_hash": manifest.code_hash,
    }
    values = {row.gate.name: None if row.metric is None else row.metric.value for row in case.verdict.rows}
    before: dict[str, str | None] = old.get("metrics", {})
    rows = {name: {"in_use": before.get(name), "candidate": value} for name, value in values.items()}
    same = {name: old.get(name) == value for name, value in new.items()}
    if as_json_:
        _show({"metrics": rows, "same": same})
        return
    table = Table("metric", "in use", "candidate", "change")
    for name, row in rows.items():
        was = None if row["in_use"] is None else float(row["in_use"])
        change = None if was is None or row["candidate"] is None else float(row["candidate"]) - was
        table.add_row(name, words.number(was), words.number(values[name]), words.number(change))
    words.console().print(table)
    typer.echo("  ".join(f"{name}: {'same' if equal else 'differs'}" for name, equal in same.items()))


@app.command()
def promote(as_json_: JsonOption = False) -> None:
    """Judge again and, on PASS, sign, store and put the candidate into use. Otherwise the previous model stays."""
    result = promote_candidate(_here(), _now())
    _report(result, as_json_)
    raise typer.Exit(result.verdict.exit_code if result.verdict else 0)


@app.command()
def rollback(
    tag: Annotated[str | None, typer.Argument(help="Version, such as v1.0.0; left out: the one before.")] = None,
    reason: Annotated[str, typer.Option(help="Kept in the registry as rollback_reason.")] = "operator",
    as_json_: JsonOption = False,
) -> None:
    """Put an earlier version back into use, verified."""
    _report(roll_back(_here(), tag, reason, _now()), as_json_)


@app.command()
def history(as_json_: JsonOption = False) -> None:
    """The decision log, verified, oldest first."""
    state = read_state(_here())
    if as_json_:
        _show({"active": state.registry.active, "decisions": [as_json(item) for item in state.decisions]})
        return
    table = Table()
    for name in ("no.", "when", "action", "tag", "verdict", "trials", "bundle", "reason"):
        table.add_column(name, no_wrap=name != "reason")
    for item in state.decisions:
        row = (item.number, item.at[:19], item.action, item.tag or "", item.verdict, item.trials, item.bundle_id[:8])
        table.add_row(*map(str, row), item.reason)
    words.console().print(table)
    typer.echo(f"in use: {state.registry.active or 'none'}")


@app.command()
def rule(
    tape: Annotated[Path, typer.Option(help="A tape of the market: its instruments and its bars or books.")],
    config: Annotated[Path, typer.Option(help="YAML with account, execution, strategy, risk.")],
    to: Annotated[Path, typer.Option(help="Folder for the bundle.")],
) -> None:
    """Make and sign the bundle of a rule strategy, for paper. No gate judges it: a release key is refused."""
    made = make_rule_bundle(Tape.open(tape), read_trading(config), to, keys.signing_key(), _now())
    typer.echo(f"{to}: bundle {made[:16]}, judged by no gate, signed for paper")


@key_app.command()
def export(to: Annotated[Path, typer.Option(help="A runner's trust folder, such as HOME/trust.")]) -> None:
    """Let the runner of that folder trust this machine's key. Makes a development key on first use."""
    path = keys.export_key(to)
    public = keys.signing_key().public
    typer.echo(f"{path}: key {public.id} is trusted there now (trust: {public.trust})")


@key_app.command()
def create(
    release: Annotated[bool, typer.Option("--release", help="Good for live, not only for paper.")] = False,
) -> None:
    """Make the signing key before first use; refused if there is one."""
    path = keys.create_key("release" if release else "dev")
    typer.echo(f"{path}: made, mode 0600 (trust: {'release' if release else 'dev'})")


def _report(result: Result, as_json_: bool) -> None:
    if as_json_:
        verdict = verdict_json(result.verdict) if result.verdict else None
        _show({"changed": result.changed, "active": result.active, "message": result.message, "verdict": verdict})
        return
    if result.verdict:
        words.print_table(result.verdict)
    typer.echo(result.message)


def _show(data: dict[str, Any]) -> None:
    typer.echo(json.dumps(data, indent=2))


def _here() -> Workspace:
    return Workspace(Path())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


if __name__ == "__main__":
    command.run(app)
