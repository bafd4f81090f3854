"""The laws: what every answer of the core, and its state between two inputs, must satisfy beside the plain model."""

from collections import Counter

import numpy as np

from core import exposure, rules
from core.records import INTENT, PPM, Action, Kind, OrderFlag, Reason, RiskState, Side, Verdict
from core.records import OrderState as S
from tests.properties.account import ENTERS, Account
from tests.properties.approvals import approve
from tests.properties.holding import SLOTS, Holding, Order, floor_div, hold

ACTION_MASK = 0xFF
CAUTION, HALT, FLATTEN = int(RiskState.CAUTION), int(RiskState.HALT), int(RiskState.FLATTEN)
Record = tuple[int, ...]  # a RECORD's fields: ts_event, ts_known, kind, side, instrument, reason, flags, body of five


class Judge:
    """Hears what the core answers to each input, tells it to the model, and raises Broken where a law does not hold.

    ``seen`` counts what happened, so that a run can show what it has tried.
    """

    def __init__(self, account: Account, config: np.ndarray):
        self.account, self.config = account, config
        self.trading = account.trading
        self.seen = Counter[str]()
        self.sent_short = set[int]()  # orders sent while margin is short, since all were last looked through

    def hear(self, row: np.ndarray, answers: list[Record]) -> None:
        """All answers to the input ``row``, in order."""
        checks: list[Record] = []
        decisions = 0
        if row["kind"][0] in (Kind.PREDICTION, Kind.COMMAND):  # other inputs may have changed nothing
            self.sent_short.clear()
        for made in answers:
            kind = made[2]
            if kind != Kind.DECISION and checks and checks[-1][6] == Verdict.REFUSED:
                checks = self._forced(checks)
            if kind == Kind.CHECK:
                checks.append(made)
                continue
            if kind == Kind.DECISION:
                decisions += 1
                checks = self._decision(made, checks)
                continue
            if kind == Kind.INTENT:
                self._intent(row, made, checks)
            elif kind == Kind.RISK:
                self._risk(made)
            checks = []
        if checks:
            self._forced(checks)
        if row["kind"][0] == Kind.PREDICTION:
            hold("a prediction is decided on once", decisions == 1, answers)

    def _forced(self, checks: list[Record]) -> list[Record]:
        """A refusal without a decision is a forced exit's; nothing but what the venue would refuse stops that."""
        hold("a forced exit's refusal is one rule's", len(checks) == 1 and checks[0][6] == Verdict.REFUSED, checks)
        may = [reason for reason, _, reduces, _ in rules.RULES if reduces]
        hold("limits never keep us in a position", checks[0][5] in may, checks)
        self.seen[f"forced exit refused {Reason(checks[0][5]).name}"] += 1
        return []

    def _decision(self, made: Record, checks: list[Record]) -> list[Record]:
        """The checks that still wait for their intent."""
        refused = [check for check in checks if check[6] == Verdict.REFUSED]
        if not refused:
            return checks
        self.seen[f"refused {Reason(made[5]).name}"] += 1
        hold("a refusal is one rule's, and its reason", len(checks) == 1 and refused[0][5] == made[5], checks, made)
        hold("a refusing rule is above its limit", refused[0][8] > refused[0][9], checks)
        hold("a refused order has no id", refused[0][7] == 0, checks)
        return []

    def _risk(self, made: Record) -> None:
        hold("risk states follow one another", made[7] == self.account.risk_state, made)
        self.account.risk_state = made[8]
        self.seen[f"risk {Reason(made[5]).name}"] += 1
        if made[5] == Reason.OPERATOR_RESUME and made[8] == RiskState.NORMAL:
            self.account.losses.peak = max(1, self.account.equity)

    def _intent(self, row: np.ndarray, made: Record, checks: list[Record]) -> None:
        action, number, index, side = made[6] & ACTION_MASK, made[7], made[4], made[3]
        rules.verify(self.config[0], np.array([made], INTENT)[0])
        hold("an intent is of now", made[0] == made[1] == self.account.now_ns, made)
        self.seen[f"sent {Action(action).name} {Reason(made[5]).name}"] += 1
        if action == Action.CANCEL:
            hold("what takes back or leaves needs no approval", not checks, checks)
            if made[6] & OrderFlag.STOP:
                hold("a stop is where it was planned", made[8] in (0, self.account.holdings[index].plan.stop), made)
                self.account.take_stop(index, number, made[8])
                return
            self._taken_back(made)
            self.account.take_cancel(index, number)
            return
        self._approved(made, checks)
        hold("a deadline is later than the decision", made[10] > made[1], made)
        holding = self.account.holdings[index]
        if row["kind"][0] == Kind.PREDICTION and made[5] in (*ENTERS, Reason.EXIT):
            self._signal(int(row["bar_ts"][0]), holding, made)
        self._purpose(holding, made)
        stop = made[8] if made[6] & OrderFlag.STOP else 0
        order = Order(number, index, side, action, made[9], made[8], 0, made[10], made[5], stop)
        order.price = order.limit or holding.price
        self.sent_short.add(number)
        approve(self.account, order)
        self.account.take_submit(order)

    def _purpose(self, holding: Holding, made: Record) -> None:
        """What an order is sent for says more of it than approval does."""
        side, reason, limit, qty, plan = made[3], made[5], made[8], made[9], holding.plan
        if reason == Reason.QUOTE:
            same = [other for other in holding.live if other.side == side]
            hold("a quote's side has no other order", not same, made, same)
        fixed = int(self.config[0]["markets"][0]["params"]["fixed_lots"])
        if reason in ENTERS and made[6] & ACTION_MASK == Action.OPEN and fixed:
            risk = self.trading.risk
            share = risk.caution_multiplier_ppm if self.account.risk_state == CAUTION else PPM
            share = min(share, PPM - risk.backoff_cut_ppm) if self.account.losses.backed_off else share
            hold("an entry is no larger than its size", qty <= fixed * share // PPM, made)
        if reason in (Reason.TAKE_PROFIT, Reason.STOP_LOSS):
            waiting = [other for other in holding.live if other.waits]
            hold("one order waits to leave, with all that is held", not waiting and qty == abs(holding.lots), made)
            hold("it leaves what was entered", side == 3 - plan.side, made, plan)
            planned = plan.take if reason == Reason.TAKE_PROFIT else plan.stop
            hold("it waits where it was planned", limit == planned > 0, made, plan)
        if reason in (Reason.POST, Reason.CHASE):
            hold("what posts never takes", made[6] & OrderFlag.POST_ONLY, made)
        if reason == Reason.CHASE:
            self._follows(holding, made)

    def _follows(self, holding: Holding, made: Record) -> None:
        """The next order of an entry that follows the market."""
        side, limit, qty, plan, sign = made[3], made[8], made[9], holding.plan, 1 if made[3] == Side.BUY else -1
        others = [other for other in holding.live if other.action == Action.OPEN]
        hold("one order follows the market", not others and side == plan.side, made, others)
        hold("it follows by a tick at most", sign * limit <= sign * plan.limit + 1, made, plan)
        hold("it asks for what is missing", holding.lots + sign * qty == plan.goal, made, plan, holding.lots)
        hold("it ends in time", made[1] < plan.until_ns == made[10], made, plan)
        plan.limit = limit

    def _approved(self, made: Record, checks: list[Record]) -> None:
        judged = [item[5] for item in checks]
        hold("rules are judged in order", judged == [rule for rule in rules.REASONS if rule in judged], made, checks)
        hold("the rules that always compare something did", set(judged) >= set(rules.ALWAYS_SAID), made, checks)
        order = (made[3], made[4], made[7], made[9], made[8])
        for check in checks:
            hold("an approved order passed every rule", check[6] != Verdict.REFUSED and check[8] <= check[9], check)
            judged = (check[3], check[4], check[7], check[10], check[11])
            hold("the rules judged this order", judged == order, check, made)

    def _signal(self, bar_ts: int, holding: Holding, made: Record) -> None:
        age = self.account.now_ns - bar_ts
        hold("a signal is fresh", age <= self.trading.risk.prediction_ttl_ns, made, age)
        hold("a signal is acted on once", bar_ts > holding.decided_ns, made, bar_ts)
        holding.decided_ns = bar_ts

    def _taken_back(self, made: Record) -> None:
        order = self.account.orders.get(made[7])
        if order is not None and self.account.risk_state == FLATTEN:
            selling_out = order.action == Action.REDUCE and order.limit == 0
            overdue = self.account.now_ns > order.deadline_ns
            hold("nothing takes back what FLATTEN sells", not selling_out or overdue, made, order)

    def compare(self, state: np.ndarray, kind: int) -> None:
        """The core's ``state``, shape (1,), against the model's, and the laws that hold after an input of ``kind``."""
        account, mine = self.account, state["account"][0].item()
        hold("time is the latest seen", mine[0] == account.now_ns, mine, account.now_ns)
        hold("cash is what fills moved", mine[1] == account.cash, mine, account.cash)
        positions = state[0]["positions"]
        for k, holding in enumerate(account.holdings):
            units, mark2 = int(positions[k]["base_units"]), int(positions[k]["mark2"])
            hold("positions are the sum of fills", units == holding.units, k, units, holding.units)
            hold("valued at the last price", mark2 == holding.mark2, k, mark2, holding.mark2)
            self._orders(state, k, holding)
            self._waits(state[0], k, holding, kind)
        values = [holding.value for holding in account.holdings]
        hold("value and exposure", mine[2:5] == (sum(values), sum(map(abs, values)), account.equity), mine, values)
        hold("the risk state", state["risk"]["state"][0] == account.risk_state, account.risk_state)
        hold("the peak", state["risk"]["peak_equity"][0] == account.losses.peak, account.losses.peak)
        hold("back-off", state["risk"]["backed_off"][0] == account.losses.backed_off, account.losses.lost_ns)
        self._tiers()
        if not account.is_spot:
            hold("margin is short", state["risk"]["deleveraging"][0] == (account.excess > 0), account.excess)
            if account.excess > 0 and account.risk_state < FLATTEN:
                self._deleverages()
        if account.excess <= 0:
            self.sent_short.clear()

    def _deleverages(self) -> None:
        """Short margin is on its way back: what rests or opens is taken back, and enough is sold or nothing is left."""
        account, excess = self.account, self.account.excess
        for order in [order for holding in account.holdings for order in holding.live]:
            if order.action == Action.REDUCE and order.limit == 0:
                excess -= account.holdings[order.index].notional_up(order.price, order.qty - order.filled)
            elif order.number not in self.sent_short:
                hold("short margin takes back what rests", order.state == S.PENDING_CANCEL, order)
        for holding in account.holdings:
            side = Side.SELL if holding.lots > 0 else Side.BUY
            left = abs(holding.lots) - holding.pending_lots(side)
            worth = floor_div(holding.price * holding.num * max(0, left), holding.den)
            can_sell = left >= max(1, holding.min_lots) and worth >= max(1, holding.min_notional)
            can_sell = can_sell and len(holding.live) < SLOTS
            hold("short margin reduces positions", excess <= 0 or not can_sell, excess, left, holding.live)

    def _orders(self, state: np.ndarray, k: int, holding: Holding) -> None:
        orders = state[0]["orders"][k]
        live = int(orders["live"])
        hold("as many live orders", live == len(holding.live), k, live, holding.live)
        rows = orders["slots"][:SLOTS].tolist()
        ended = [row for row in rows[live:] if row[0] > 0]  # as many as the core remembers
        hold("an order has one slot", len({row[0] for row in ended}) == len(ended), k, ended)
        old = [holding.orders[row[0]] for row in ended]
        for row, order in zip(rows[:live] + ended, holding.live + old, strict=True):
            known = (order.number, order.side, order.state, order.action, order.qty, order.filled, order.limit)
            hold("an order is where its reports and fills put it", row[:7] == known, row, order)
            hold(
                "what its exposure is counted at",
                row[7:] == (order.price, order.deadline_ns, order.reason, order.stop),
                row,
                order,
            )
            if order.live and order.action == Action.OPEN and self.account.risk_state >= HALT:
                hold("HALT cancels what opens", order.state == S.PENDING_CANCEL, order)
        for side in Side.BUY, Side.SELL:
            pending = exposure.pending_lots(state[0], k, side)
            hold("what may still fill is held", pending == holding.pending_lots(side), k, side, pending)

    def _waits(self, state: np.void, k: int, holding: Holding, kind: int) -> None:
        """A position with a plan keeps it, and an order waits to leave unless something else is under way."""
        position, plan, account = state["positions"][k], holding.plan, self.account
        prices = (int(position["take_profit"]), int(position["stop_loss"]))
        if holding.is_flat and not holding.live:
            plan.stands = False
        hold("where to leave is not forgotten", not plan.stands or any(prices), k, plan)
        if not any(prices):
            return
        hold("where to leave stays where it was planned", prices == (plan.take, plan.stop), k, prices, plan)
        is_closing = account.risk_state == FLATTEN or account.excess > 0
        is_due = kind == Kind.TIMER and not is_closing and account.circuit.until_ns <= account.now_ns
        entered = holding.lots > 0 if plan.side == Side.BUY else holding.lots < 0
        if is_due and entered and not holding.is_flat and not holding.live:
            hold("an order waits to leave", int(position["refused"]) >> 48, k, plan, holding.lots)

    def _tiers(self) -> None:
        risk, now, down = (
            self.trading.risk,
            self.account.risk_state,
            self.account.losses.drawdown_ppm(self.account.equity),
        )
        hold("the caution tier", down < risk.caution_drawdown_ppm or now >= CAUTION, down, now)
        hold("the halt tier", down < risk.halt_drawdown_ppm or now >= HALT, down, now)
        busy = [holding for holding in self.account.holdings if holding.live or not holding.is_flat]
        hold("the flatten tier", down < risk.flatten_drawdown_ppm or now == FLATTEN or not busy, down, now)
        if now == FLATTEN:
            idle = [holding for holding in busy if not holding.live]
            hold("FLATTEN sells what is held", not idle and bool(busy), idle)
