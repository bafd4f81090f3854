"""Balances in whole units of each asset, free and locked, and the law that nothing is made or lost between them."""

from collections import defaultdict


class Accounts:
    """Every account's balances; what trades with them, charges fees and rounds is the outside."""

    def __init__(self) -> None:
        self.free: defaultdict[tuple[str, str], int] = defaultdict(int)  # (account, asset): units
        self.locked: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.outside: defaultdict[str, int] = defaultdict(int)  # may be negative: the market's side of all trades
        self.issued: defaultdict[str, int] = defaultdict(int)  # deposits less withdrawals
        self.touched: dict[tuple[str, str], None] = {}  # in order, since it was last emptied

    def issue(self, account: str, asset: str, units: int) -> None:
        """A deposit, or a withdrawal of at most what is free."""
        self._change(self.free, account, asset, units)
        self.issued[asset] += units

    def lock(self, account: str, asset: str, units: int) -> None:
        """Move free units to locked; a negative number moves them back."""
        self._change(self.free, account, asset, -units)
        self._change(self.locked, account, asset, units)

    def pay(self, account: str, asset: str, units: int) -> None:
        """From free to the outside."""
        self._change(self.free, account, asset, -units)
        self.outside[asset] += units

    def receive(self, account: str, asset: str, units: int) -> None:
        """From the outside to free."""
        self._change(self.free, account, asset, units)
        self.outside[asset] -= units

    def assets(self, account: str) -> list[str]:
        """Assets the account has ever held."""
        return list(dict.fromkeys(asset for holder, asset in self.free if holder == account))

    def check(self) -> None:
        """Nothing is negative, and all of an asset together is what was issued."""
        sums: defaultdict[str, int] = defaultdict(int, self.outside)
        for balances in (self.free, self.locked):
            for (account, asset), units in balances.items():
                if units < 0:
                    raise AssertionError(f"{account} has {units} units of {asset}")
                sums[asset] += units
        if unequal := {asset: (sums[asset], self.issued[asset]) for asset in sums if sums[asset] != self.issued[asset]}:
            raise AssertionError(f"asset: (held, issued) differ: {unequal}")

    def _change(self, balances: defaultdict[tuple[str, str], int], account: str, asset: str, units: int) -> None:
        if balances[account, asset] + units < 0:
            raise AssertionError(f"{account} lacks {asset}: has {balances[account, asset]} units, {-units} are to go")
        balances[account, asset] += units
        self.touched[account, asset] = None
