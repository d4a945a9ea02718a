"""Positions, exact: what was there at the opening plus every fill, for each strategy and for the account.

A position's cost is a total, never an average: closing a part takes its share of the total, and what integer division
leaves over stays in the cost until the position is flat, when all of it goes. So at every moment

    realised - cost = money received for sales - money paid for purchases        (fees apart)

holds to the last millionth of a dollar. The account's position is the sum over all strategies, where everything that
no strategy did (openings, liquidations, other sessions of the account) belongs to `foreign`, slot -1.
"""

from collections.abc import Callable, Mapping

from engine.common.fixed_point import notional
from engine.messages.commands import Side
from engine.messages.executions import EventKind, OrderEvent, PositionState
from engine.orders.saved import SavedPositions, SavedWord

ExecKey = tuple[int, ...]


class Position:
    """One position: quantity in 1/100 contract, signed; money in 1/1000000 dollar."""

    __slots__ = ("buy_qty", "collateral", "cost", "fees", "fills", "qty", "realised", "sell_qty", "volume")

    def __init__(self) -> None:
        self.qty = 0
        self.cost = 0
        self.realised = 0
        self.fees = 0
        self.volume = 0
        self.fills = 0
        self.buy_qty = 0
        self.sell_qty = 0
        self.collateral = 0  # what trades said that they changed of the account's collateral (1704)

    def fill(self, side: int, qty: int, price: int, fee: int, multiplier: int = 1) -> None:
        """Book a fill: `qty` is positive, `side` FIX's; `fee` is what the venue charged, negative for a rebate."""
        self.fees += fee
        self.fills += 1
        self.volume += notional(price, qty, multiplier)
        if side == Side.BUY:
            self.buy_qty += qty
            self._move(qty, price * multiplier)
        else:
            self.sell_qty += qty
            self._move(-qty, price * multiplier)

    def _move(self, signed: int, unit: int) -> None:
        held = self.qty
        if held and (held > 0) != (signed > 0):
            closed = min(abs(signed), abs(held))
            direction = 1 if held > 0 else -1
            share = direction * (abs(self.cost) * closed // abs(held)) if (self.cost > 0) == (held > 0) else 0
            if closed == abs(held):
                share = self.cost
            self.realised += direction * closed * unit - share
            self.cost -= share
            self.qty -= direction * closed
            signed += direction * closed
        if signed:
            self.qty += signed
            self.cost += signed * unit

    def totals(self) -> tuple[int, ...]:
        """Return every number, for digests and comparisons."""
        return (
            self.qty,
            self.cost,
            self.realised,
            self.fees,
            self.volume,
            self.fills,
            self.buy_qty,
            self.sell_qty,
            self.collateral,
        )

    @classmethod
    def restored(cls, totals: tuple[int, ...]) -> "Position":
        """Return the position that has these totals."""
        position = cls()
        (
            position.qty,
            position.cost,
            position.realised,
            position.fees,
            position.volume,
            position.fills,
            position.buy_qty,
            position.sell_qty,
            position.collateral,
        ) = totals
        return position

    def state(self, symbol: str, strategy: int | None, *, known: bool) -> PositionState:
        """Return it as the bus says it."""
        return PositionState(
            symbol=symbol,
            strategy=strategy,
            qty=self.qty,
            cost=self.cost,
            realised=self.realised,
            fees=self.fees,
            volume=self.volume,
            fills=self.fills,
            buy_qty=self.buy_qty,
            sell_qty=self.sell_qty,
            collateral=self.collateral,
            known=known,
        )


class VenueWord:
    """The newest LongQty(704) - ShortQty(705) that the venue said of a market, and the price of that trade."""

    __slots__ = ("key", "last_px", "position", "said")

    def __init__(self) -> None:
        self.key: ExecKey = ()
        self.position = 0
        self.said = False
        self.last_px = 0


class Positions:
    """All positions, moved by tape events only.

    Args:
        multipliers: dollars per contract per dollar of price, by symbol; a symbol without one counts as 1.
        exec_key: turns an ExecID into its comparable key.

    Attributes:
        known: markets with an opening position, and the quantity and cost that it was opened with.
    """

    def __init__(self, multipliers: Mapping[str, int], exec_key: Callable[[str], ExecKey]) -> None:
        self.account: dict[str, Position] = {}
        self.of: dict[tuple[int, str], Position] = {}
        self.known: dict[str, tuple[int, int]] = {}
        self.said: dict[str, VenueWord] = {}
        self._multipliers = multipliers
        self._exec_key = exec_key

    def qty(self, symbol: str) -> int:
        """Return the account's signed position in a market, 0 when nothing is known of it."""
        position = self.account.get(symbol)
        return position.qty if position is not None else 0

    def multiplier(self, symbol: str) -> int:
        """Return a market's dollars per contract per dollar of price."""
        return self._multipliers.get(symbol, 1)

    def apply(self, event: OrderEvent) -> None:
        """Book a TRADE or POSITION event."""
        symbol = event.symbol
        account = self.account.get(symbol)
        if account is None:
            account = self.account[symbol] = Position()
        key = (event.strategy, symbol)
        own = self.of.get(key)
        if own is None:
            own = self.of[key] = Position()
        if event.kind is EventKind.POSITION:
            change, cost = event.position - account.qty, event.cost - account.cost
            account.qty += change
            account.cost += cost
            own.qty += change
            own.cost += cost
            self.known.setdefault(symbol, (change, cost))
            return
        multiplier = self.multiplier(symbol)
        account.fill(event.side, event.last_qty, event.last_px, event.fee, multiplier)
        own.fill(event.side, event.last_qty, event.last_px, event.fee, multiplier)
        account.collateral += event.collateral
        own.collateral += event.collateral
        if event.exec_id:
            self._hear(event)

    def _hear(self, event: OrderEvent) -> None:
        word = self.said.get(event.symbol)
        if word is None:
            word = self.said[event.symbol] = VenueWord()
        key = self._exec_key(event.exec_id)
        if key > word.key:
            word.key = key
            word.last_px = event.last_px
            word.said = event.long_qty >= 0 and event.short_qty >= 0
            word.position = event.long_qty - event.short_qty if word.said else 0

    def is_newest(self, symbol: str, exec_id: str) -> bool:
        """Say whether a trade is newer than every trade of the market that was booked, so that its 704/705 is now."""
        word = self.said.get(symbol)
        return word is None or self._exec_key(exec_id) > word.key

    def broken(self) -> list[tuple[str, int, int]]:
        """Return (symbol, ours, the venue's) of each known market whose newest 704/705 disagrees with our sum."""
        return [
            (symbol, self.qty(symbol), word.position)
            for symbol, word in self.said.items()
            if word.said and symbol in self.known and word.position != self.qty(symbol)
        ]

    def cost_of(self, symbol: str, qty: int) -> int:
        """Return the cost to book when the position is set to `qty` without a price.

        What stays keeps its average cost; what is new counts at the last trade's price, so that no profit is made up.
        """
        account = self.account.get(symbol)
        held, cost = (account.qty, account.cost) if account is not None else (0, 0)
        word = self.said.get(symbol)
        unit = (word.last_px if word is not None else 0) * self.multiplier(symbol)
        if held == 0 or qty == 0 or (held > 0) != (qty > 0):
            return qty * unit
        if abs(qty) <= abs(held):
            return cost * qty // held
        return cost + (qty - held) * (unit or abs(cost) // abs(held))

    def states(self, strategy: int | None) -> list[PositionState]:
        """Return the positions of one strategy, or of all and of the account."""
        known = self.known
        states = [
            position.state(symbol, slot, known=symbol in known)
            for (slot, symbol), position in self.of.items()
            if strategy is None or slot == strategy
        ]
        if strategy is None:
            states += [
                position.state(symbol, None, known=symbol in known)
                for symbol, position in self.account.items()
            ]
        return states

    def save(self) -> SavedPositions:
        """Return everything, for a snapshot."""
        return SavedPositions(
            account=[(symbol, position.totals()) for symbol, position in self.account.items()],
            of=[(slot, symbol, position.totals()) for (slot, symbol), position in self.of.items()],
            known=[(symbol, qty, cost) for symbol, (qty, cost) in self.known.items()],
            said=[
                SavedWord(symbol, word.key, word.position, word.said, word.last_px)
                for symbol, word in self.said.items()
            ],
        )

    def restore(self, saved: SavedPositions) -> None:
        """Take a snapshot's content."""
        self.account = {symbol: Position.restored(totals) for symbol, totals in saved.account}
        self.of = {(slot, symbol): Position.restored(totals) for slot, symbol, totals in saved.of}
        self.known = {symbol: (qty, cost) for symbol, qty, cost in saved.known}
        for said in saved.said:
            word = self.said[said.symbol] = VenueWord()
            word.key, word.position, word.said = said.key, said.position, said.said
            word.last_px = said.last_px

    def content(self) -> list[object]:
        """Return everything, in a fixed order, for the digest."""
        return [
            sorted((symbol, position.totals()) for symbol, position in self.account.items()),
            sorted((key, position.totals()) for key, position in self.of.items()),
            list(self.known),
            sorted(
                (symbol, word.key, word.position, word.said, word.last_px)
                for symbol, word in self.said.items()
            ),
        ]
