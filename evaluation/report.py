"""The tearsheet: one HTML file that opens anywhere, without a network.

``render`` is pure: metrics and tables in, HTML out. The backtest renders it without a verdict; the gate renders it
again with one. Plotly's script is embedded once, and the page's own policy forbids it to load anything.
"""

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from string import Template
from typing import Any, Final

from plotly.offline import get_plotlyjs

from evaluation import figures

Table = Sequence[Mapping[str, str]]
Row = Sequence[str]

_PAGE: Final = Path(__file__).with_name("page")
_TILES: Final = (  # metric, name
    ("return_total", "Total return, net"),
    ("sharpe_annual", "Sharpe ratio, annual"),
    ("max_drawdown", "Largest drawdown"),
    ("expectancy_bps", "Expectancy per trade"),
    ("win_rate", "Win rate"),
    ("directional_accuracy", "Directional accuracy"),
    ("skill_over_climatology", "Skill over climatology"),
    ("ece_debiased", "Calibration error, debiased"),
)
_VERDICTS: Final = {
    "PASS": "Every gate held. The candidate may be promoted.",
    "FAIL": "At least one gate was not met. The candidate is not promoted.",
    "INSUFFICIENT": "Nothing speaks against the candidate, but there is too little evidence for it.",
    "ERROR": "A gate could not be judged. The candidate is not promoted.",
}


def render(metrics: Mapping[str, Any], tables: Mapping[str, Table], verdict: Mapping[str, Any] | None) -> str:
    """The tearsheet as HTML.

    ``metrics``: the content of ``metrics.json``; ``tables``: ``results.read``'s; ``verdict``: the content of
    ``verdict.json``, or None before the gate has judged. The same input gives the same bytes.
    """
    drawn = {
        "account": figures.account(tables["equity"], tables["drawdown"]),
        "reliability": figures.reliability(tables["reliability"]),
        "costs": figures.costs(metrics["costs"]),
        "folds": figures.fold_returns(metrics["folds"]),
        "months": figures.monthly_returns(tables["equity"]),
    }
    body = [
        _head(metrics),
        _banner(verdict),
        _tiles(metrics["metrics"]),
        _section("The account", _ACCOUNT_NOTE, _figure("account", 560)),
        _pair(
            _section("Reliability", "Does 45 % mean 45 %? Top label, bins of equal size.", _figure("reliability", 330)),
            _section("Costs", "Gross is what the same fills would have earned free of cost.", _figure("costs", 330)),
        ),
        _pair(
            _section("Returns by month", "", _figure("months", 280)),
            _section("Returns by fold", "Each fold is a session of its own, starting flat.", _figure("folds", 280)),
        ),
        _section("Folds", "", _folds(metrics["folds"])),
        _section("Baselines", _BASELINE_NOTE, _comparison(metrics)),
        _section("Cost stress", _STRESS_NOTE, _stress(metrics["stress"])),
        _pair(
            _section("Sessions at entry", "Sessions overlap: a trade may count twice.", _sessions(metrics["sessions"])),
            _section("Decisions by reason", "Every prediction ends in exactly one.", _reasons(metrics["decisions"])),
        ),
        _section("All measures", _sample_note(metrics["sample"]), _measures(metrics["metrics"])),
    ]
    return Template((_PAGE / "tearsheet.html").read_text(encoding="utf-8")).substitute(
        title="Portcullis backtest",
        css=(_PAGE / "tearsheet.css").read_text(encoding="utf-8"),
        js=(_PAGE / "tearsheet.js").read_text(encoding="utf-8"),
        plotly=get_plotlyjs(),
        figures=json.dumps(drawn, allow_nan=False, separators=(",", ":")).replace("</", "<\\/"),
        body="\n".join(body),
    )


_ACCOUNT_NOTE: Final = (
    "Growth of one unit of cash over all test folds, hourly, out of sample throughout. Every line went through the "
    "same core, except buying and holding, which is arithmetic. At 2× cost the strategy still believes the modelled "
    "cost."
)
_BASELINE_NOTE: Final = (
    "Forecasts are compared on the same rows at full coverage; rules and holding on the same bars. Persistence repeats "
    "the direction of the last horizon, climatology always says the direction that was more frequent in training."
)
_STRESS_NOTE: Final = "Fees and slippage turn out that many times as high as the strategy believes."


def _sample_note(sample: Mapping[str, Any]) -> str:
    return (
        f"Intervals hold {float(sample['confidence']):.0%}: stationary bootstrap over {sample['days']} days, blocks of "
        f"{sample['bootstrap_block_days']} days on average, {sample['bootstrap_draws']:,} draws; Wilson's for the win "
        "rate. n of a forecast score is the effective number of labels after overlap."
    )


def _head(metrics: Mapping[str, Any]) -> str:
    folds, sample = metrics["folds"], metrics["sample"]
    span = f"{_day(folds[0]['test_start_ns'])} to {_day(folds[-1]['test_end_ns'])}"
    trades = metrics["metrics"]["n_trades"]["value"]
    return (
        "<h1>Portcullis backtest</h1>"
        f'<p class="sub">{span} · {sample["days"]} test days in {len(folds)} walk-forward folds · '
        f"{trades:,} round trips · {metrics['metrics']['n_predictions']['value']:,} forecasts</p>"
    )


def _banner(verdict: Mapping[str, Any] | None) -> str:
    if verdict is None:
        remedy = "The gate has not seen these figures: run <code>dvc repro gate</code>."
        return f'<section class="banner"><strong>NOT JUDGED YET</strong><p>{remedy}</p></section>'
    name = str(verdict["verdict"])
    trials = f"{verdict['trials']} trial{'s' if verdict['trials'] != 1 else ''} counted"
    text = (
        f"<strong>{_text(name)}</strong><p>{_VERDICTS.get(name, '')} Profile {_text(verdict['profile'])}, {trials}.</p>"
    )
    header = ("gate", "result", "measured", "interval", "n", "limit", "reason")
    rows = [(gate["result"], _gate_row(title, gate)) for title, gate in verdict["gates"].items()]
    return f'<section class="banner {_text(name)}">{text}{_table(header, rows, words=(1, 6))}</section>'


def _gate_row(title: str, gate: Mapping[str, Any]) -> Row:
    side = "at least" if "_min" in title else "at most"
    limit = "" if gate["limit"] is None else f"{gate['bound']} {side} {gate['limit']:g}"
    return (title, gate["result"], value(gate), interval(gate), f"{gate['n']:,}", limit, gate["reason"])


def _tiles(table: Mapping[str, Any]) -> str:
    tiles = []
    for name, title in _TILES:
        entry = table[name]
        tiles.append(
            f'<div class="tile"><div class="name">{title}</div><div class="value">{value(entry)}</div>'
            f'<div class="range">{interval(entry)} · n {entry["n"]:,}</div></div>'
        )
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _folds(folds: Sequence[Mapping[str, Any]]) -> str:
    header = ("fold", "from", "to", "forecasts", "skill", "accuracy", "trades", "expectancy", "return", "drawdown")
    rows = [
        (
            str(row["fold"]),
            _day(row["test_start_ns"]),
            _day(row["test_end_ns"]),
            f"{row['n_predictions']:,}",
            _format(row["skill_over_climatology"], "share"),
            _format(row["directional_accuracy"], "share"),
            f"{row['n_trades']:,}",
            _format(row["expectancy_bps"], "bps"),
            _format(row["return"], "share"),
            _format(row["max_drawdown"], "share"),
        )
        for row in folds
    ]
    return _table(header, [("", row) for row in rows])


def _comparison(metrics: Mapping[str, Any]) -> str:
    names = ("directional_accuracy", "skill_over_climatology", "return_total", "sharpe_annual", "max_drawdown")
    header = ("", "accuracy", "skill", "return", "Sharpe, annual", "drawdown", "expectancy", "trades")
    rows = []
    for title, table in {"model": metrics["metrics"], **metrics["baselines"]}.items():
        cells = [_cell(table.get(name)) for name in (*names, "expectancy_bps")]
        trades = table.get("n_trades")
        rows.append(("", (title.replace("_", " "), *cells, f"{trades['value']:,}" if trades else "")))
    return _table(header, rows)


def _stress(stress: Mapping[str, Any]) -> str:
    header = ("cost", "return", "Sharpe, annual", "drawdown", "expectancy", "trades")
    names = ("return_total", "sharpe_annual", "max_drawdown", "expectancy_bps", "n_trades")
    return _table(
        header, [("", (f"{factor}×", *(_cell(row[name]) for name in names))) for factor, row in stress.items()]
    )


def _sessions(sessions: Mapping[str, Any]) -> str:
    header = ("session", "expectancy", "win rate", "trades")
    names = ("expectancy_bps", "win_rate", "n_trades")
    rows = [(title.replace("_", " "), *(_cell(row[name]) for name in names)) for title, row in sessions.items()]
    return _table(header, [("", row) for row in rows])


def _reasons(decisions: Mapping[str, int]) -> str:
    total = sum(decisions.values())
    ordered = sorted(decisions.items(), key=lambda item: (-item[1], item[0]))
    rows = [(name.lower().replace("_", " "), f"{times:,}", f"{times / total:.1%}") for name, times in ordered]
    return _table(("reason", "decisions", "share"), [("", row) for row in rows])


def _measures(table: Mapping[str, Any]) -> str:
    rows = [(name, value(entry), interval(entry), f"{entry['n']:,}", entry["unit"]) for name, entry in table.items()]
    return _table(("measure", "value", "interval", "n", "unit"), [("", row) for row in rows])


def value(entry: Mapping[str, Any]) -> str:
    """The value of a metric entry in words fit for its unit."""
    return _format(entry["value"], entry["unit"])


def interval(entry: Mapping[str, Any]) -> str:
    """The interval of a metric entry, "no interval" where it has none."""
    if entry["lower"] is None or entry["upper"] is None:
        return "no interval"
    lower, upper = (_format(entry[bound], entry["unit"]) for bound in ("lower", "upper"))
    return f"{lower.removesuffix(' ' + entry['unit'])} to {upper}"


def _cell(entry: Mapping[str, Any] | None) -> str:
    """The value and, on a second line, its interval."""
    if entry is None:
        return ""
    return value(entry) if entry["lower"] is None else f"{value(entry)}\n{interval(entry)}"


def _format(number: float | None, unit: str) -> str:
    if number is None:
        return "undefined"
    if unit == "share":
        return f"{number:.2%}"
    if unit in ("count", "flag"):
        return f"{number:,.0f}"
    return f"{number:.3g} {unit}" if unit in ("bps", "ms", "hours") else f"{number:.4g}"


def _day(ts_ns: int) -> str:
    return datetime.fromtimestamp(ts_ns // 10**9, UTC).strftime("%Y-%m-%d")


def _text(item: object) -> str:
    return html.escape(str(item))


def _figure(name: str, height_px: int) -> str:
    return f'<div id="{name}" style="height:{height_px}px"></div>'


def _section(title: str, note: str, content: str) -> str:
    explained = f'<p class="note">{note}</p>' if note else ""
    return f"<section><h2>{title}</h2>{explained}{content}</section>"


def _pair(left: str, right: str) -> str:
    return f'<div class="pair">{left}{right}</div>'


def _table(header: Row, rows: Iterable[tuple[str, Row]], words: tuple[int, ...] = ()) -> str:
    """``rows``: (class of the row, cells); columns ``words`` hold words and wrap."""

    def cell(tag: str, column: int, content: str) -> str:
        kind = "text result" if column in words and header[column] == "result" else "text" if column in words else ""
        return f'<{tag} class="{kind}">{_text(content)}</{tag}>' if kind else f"<{tag}>{_text(content)}</{tag}>"

    top = "".join(cell("th", column, title) for column, title in enumerate(header))
    lines = [
        f'<tr class="{_text(kind)}">{"".join(cell("td", column, item) for column, item in enumerate(row))}</tr>'
        for kind, row in rows
    ]
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
