"""The tearsheet's figures as plain Plotly JSON.

A colour is the name of a CSS variable ("--net"); the page resolves it, so the same figure serves a light and a dark
screen. Input is what ``results.read`` returns: tables of strings, metrics as JSON data.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

Figure = dict[str, Any]
Table = Sequence[Mapping[str, str]]

_LINES: Final = (  # column, name, colour, width
    ("hold", "buy and hold", "--hold", 1.2),
    ("mean_revert", "mean-revert rule", "--revert", 1.2),
    ("sma", "SMA rule", "--sma", 1.2),
    ("cost_2x", "model at 2× cost", "--cost", 1.4),
    ("net", "model, net of costs", "--net", 2.2),
)


def account(equity: Table, drawdown: Table) -> Figure:
    """Growth of one unit of cash, drawdown and exposure over one time axis."""
    time = [row["time"] for row in equity]
    traces = [
        _line(time, [float(row[column]) for row in equity], name, colour, width)
        for column, name, colour, width in _LINES
    ]
    depth = [-float(row["drawdown"]) for row in drawdown]
    exposed = [float(row["exposure"]) for row in equity]
    traces.append(_area([row["time"] for row in drawdown], depth, "drawdown", "--bad", "y2"))
    traces.append(_area(time, exposed, "exposure", "--net", "y3"))
    layout = _layout(legend=True) | {
        "hovermode": "x unified",
        "xaxis": _axis() | {"anchor": "y3", "type": "date"},
        "yaxis": _axis("growth of 1") | {"domain": [0.44, 1.0]},
        "yaxis2": _axis("drawdown", ".1%") | {"domain": [0.22, 0.4]},
        "yaxis3": _axis("exposure", ".0%") | {"domain": [0.0, 0.18], "rangemode": "tozero"},
    }
    return {"data": traces, "layout": layout}


def reliability(table: Table) -> Figure:
    """Observed frequency against stated confidence; the diagonal is honesty. A dot's area is its number of rows."""
    stated = [float(row["confidence"]) for row in table]
    observed = [float(row["hit_rate"]) for row in table]
    rows = [float(row["rows"]) for row in table]
    low, high = min([*stated, *observed, 0.3]) - 0.02, max([*stated, *observed, 0.6]) + 0.02
    most = max(rows, default=1.0)
    dots = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": stated,
        "y": observed,
        "name": "top label",
        "line": {"color": "--net", "width": 1.2},
        "marker": {"color": "--net", "size": [6 + 6 * (item / most) ** 0.5 for item in rows]},
        "text": [f"{item:,.0f} forecasts" for item in rows],
        "hovertemplate": "said %{x:.1%}, was %{y:.1%}<br>%{text}<extra></extra>",
    }
    diagonal = {
        "type": "scatter",
        "mode": "lines",
        "x": [low, high],
        "y": [low, high],
        "line": {"color": "--muted", "width": 1, "dash": "dot"},
        "hoverinfo": "skip",
    }
    layout = _layout() | {
        "xaxis": _axis("stated confidence", ".0%") | {"range": [low, high]},
        "yaxis": _axis("observed frequency", ".0%") | {"range": [low, high]},
    }
    return {"data": [diagonal, dots], "layout": layout}


def costs(amounts: Mapping[str, float]) -> Figure:
    """From gross to net in shares of initial cash: what fees and slippage took."""
    steps = [("gross", amounts["gross"], "relative"), ("fees", -amounts["fees"], "relative")]
    steps += [("slippage", -amounts["slippage"], "relative"), ("net", amounts["net"], "total")]
    waterfall = {
        "type": "waterfall",
        "x": [name for name, _, _ in steps],
        "y": [value for _, value, _ in steps],
        "measure": [measure for _, _, measure in steps],
        "text": [f"{value:+.1%}" for _, value, _ in steps],
        "textposition": "outside",
        "cliponaxis": False,
        "connector": {"line": {"color": "--muted", "width": 1}},
        "increasing": {"marker": {"color": "--good"}},
        "decreasing": {"marker": {"color": "--bad"}},
        "totals": {"marker": {"color": "--net"}},
        "hoverinfo": "skip",
    }
    layout = _layout() | {
        "xaxis": _axis(),
        "yaxis": _axis("share of initial cash, all folds", ".0%"),
    }
    return {"data": [waterfall], "layout": layout}


def fold_returns(folds: Sequence[Mapping[str, Any]]) -> Figure:
    """Net return of each fold's session."""
    return _bars([f"fold {row['fold']}" for row in folds], [row["return"] for row in folds], "return of the session")


def monthly_returns(equity: Table) -> Figure:
    """Net return of each calendar month, from the chained curve."""
    last: dict[str, float] = {}
    for row in equity:
        last[row["time"][:7]] = float(row["net"])
    growth = list(last.values())
    returns = [now / before - 1 for before, now in zip([1.0, *growth[:-1]], growth, strict=True)]
    return _bars(list(last), returns, "return of the month")


def _bars(names: list[str], returns: list[float], title: str) -> Figure:
    bars = {
        "type": "bar",
        "x": names,
        "y": returns,
        "text": [f"{value:+.1%}" for value in returns],
        "textposition": "outside",
        "cliponaxis": False,
        "marker": {"color": ["--good" if value >= 0 else "--bad" for value in returns]},
        "hoverinfo": "skip",
    }
    layout = _layout() | {"xaxis": _axis() | {"type": "category"}, "yaxis": _axis(title, ".0%")}
    return {"data": [bars], "layout": layout}


def _line(x: list[str], y: list[float], name: str, colour: str, width: float) -> Figure:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "y": y,
        "name": name,
        "line": {"color": colour, "width": width},
        "hovertemplate": "%{y:.4f}",
    }


def _area(x: list[str], y: list[float], name: str, colour: str, axis: str) -> Figure:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "y": y,
        "name": name,
        "yaxis": axis,
        "line": {"color": colour, "width": 1},
        "fill": "tozeroy",
        "fillcolor": colour + "-soft",
        "showlegend": False,
        "hovertemplate": "%{y:.1%}",
    }


def _layout(*, legend: bool = False) -> Figure:
    return {
        "margin": {"l": 64, "r": 16, "t": 28, "b": 40},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": "--ink-soft"},
        "hoverlabel": {"bgcolor": "--card", "bordercolor": "--line", "font": {"color": "--ink"}},
        "showlegend": legend,
        "legend": {"orientation": "h", "x": 0, "y": 1.08, "traceorder": "reversed"},
    }


def _axis(title: str = "", tickformat: str = "") -> Figure:
    return {
        "title": {"text": title, "standoff": 8},
        "tickformat": tickformat,
        "gridcolor": "--line",
        "linecolor": "--line",
        "zerolinecolor": "--muted",
        "automargin": True,
    }
