"""The laws of approvals: what must hold of an order that the core sent, with all that is at work counted."""

from core.records import HOUR_NS, MINUTE_NS, PPM, Action, Reason, Side
from core.records import OrderState as S
from tests.properties.account import Account
from tests.properties.holding import SLOTS, Holding, Order, floor_div, hold


def approve(account: Account, order: Order) -> None:
    """Hold ``order``, which the core is about to be believed to have sent, against every law; its price is set."""
    holding = account.holdings[order.index]
    hold("order ids count up from 1", order.number == len(account.orders) + 1, order)
    hold("an order has a quantity", order.qty > 0, order)
    hold("a free slot", len(holding.live) < SLOTS, order)
    hold("the lot filter", order.qty >= holding.min_lots, order)
    hold("a price", order.price > 0, order)
    worth = floor_div(order.price * holding.num * order.qty, holding.den)
    hold("the notional filter", worth >= holding.min_notional, order)
    if account.is_spot and order.side == Side.SELL:
        hold("long only", order.qty + holding.pending_lots(Side.SELL) <= holding.lots, order, holding.units)
    if order.action == Action.REDUCE:
        against = holding.lots if order.side == Side.SELL else -holding.lots
        hold("a reduction reduces", order.qty + holding.pending_lots(order.side) <= against, order, holding.units)
    else:
        _may_open(account, order, holding)
        _may_carry(account, order, holding)
        _may_pay(account, order, holding)


def _may_open(account: Account, order: Order, holding: Holding) -> None:
    """Losses, failures and pace."""
    risk, circuit = account.trading.risk, account.circuit
    hold("HALT and FLATTEN open nothing", account.risk_state < 2, order)
    hold("the daily stop", not account.losses.stopped, order, account.equity, account.losses.day_equity)
    hold("the weekly stop", not account.losses.week_stopped, order, account.equity, account.losses.week_equity)
    hold("an open circuit", circuit.until_ns <= account.now_ns, order)
    waits = circuit.probe is not None and circuit.probe.live and circuit.probe.state not in (S.NEW, S.PARTIAL)
    hold("one probe of a circuit", not (circuit.has_tripped and waits), order, circuit.probe)
    cooled = holding.exit_ns == 0 or holding.exit_ns + risk.cooldown_ns <= account.now_ns
    hold("the cool-down", cooled, order, holding.exit_ns, account.now_ns)
    for said, most, sent in (
        ("orders per rolling hour", risk.max_orders_per_hour, account.submitted),
        ("signals per rolling hour", risk.max_signals_per_hour, account.entries),
    ):
        if order.reason == Reason.CHASE and sent is account.entries:
            continue  # of an entry that follows the market the first order was the signal
        paced = most == 0 or len(sent) < most or sent[-most] + HOUR_NS <= account.now_ns
        hold(said, paced, order, sent[-most:])


def _may_carry(account: Account, order: Order, holding: Holding) -> None:
    """Caps, margin and cash, with everything pending and this order."""
    risk, equity = account.trading.risk, max(0, account.equity)
    mine = holding.exposure(order.side) + holding.notional_up(order.price, order.qty)
    hold("the asset cap", mine <= equity * risk.asset_cap_ppm // PPM, order, mine, equity)
    worst = max(mine, holding.exposure(3 - order.side))
    for group in risk.groups:
        if holding.symbol in group.symbols:
            among = [it for it in account.holdings if it is not holding and it.symbol in group.symbols]
            held = worst + sum(it.worst for it in among)
            hold(f"the {group.kind} cap", held <= equity * group.cap_ppm // PPM, order, held, equity)
    total = worst + sum(it.worst for it in account.holdings if it is not holding)
    hold("margin", account.is_spot or total <= account.margin_allowed, order, total, equity)
    hold("the total cap", total <= equity * risk.total_cap_ppm // PPM, order, total, equity)
    if account.is_spot:
        slip = account.trading.execution.slippage_ppm
        owed = [it.buy_cost(o.price, o.left, slip) for it in account.holdings for o in it.live if o.side == Side.BUY]
        cost = holding.buy_cost(order.price, order.qty, slip)
        hold("cash is there, all pending buys paid", cost <= account.cash - sum(owed), order, cost, account.cash, owed)


def _may_pay(account: Account, order: Order, holding: Holding) -> None:
    """Turnover and fees, with everything pending and this order."""
    risk, value = account.trading.risk, holding.notional_up(order.price, order.qty)
    pending = [(it, it.pending_value(side)) for it in account.holdings for side in (Side.BUY, Side.SELL)]
    for said, rate, window_ns in (
        ("turnover of a minute", risk.turnover_minute_ppm, MINUTE_NS),
        ("turnover of an hour", risk.turnover_hour_ppm, HOUR_NS),
    ):
        done = sum(worth for when, worth in account.traded if when >= account.now_ns - window_ns)
        used = done + value + sum(amount for _, amount in pending)
        hold(said, rate == 0 or used <= max(0, account.equity) * rate // PPM, order, used)
    fee, guard, budget = holding.expected_fee(value), risk.fee_guard_ppm, risk.fee_budget_day_ppm
    hold("the fee guard", guard == 0 or fee <= value * guard // PPM, order, fee)
    spent = account.losses.day_fees + sum(it.expected_fee(amount) for it, amount in pending) + fee
    hold("the day's fees", budget == 0 or spent <= account.losses.day_equity * budget // PPM, order, spent)
