"""Which duty each control serves, and which accident it is meant against: the table of docs/guard.md.

The duties are those of SEC Rule 15c3-5 (17 CFR 240.15c3-5), of MiFID II's RTS 6 (Commission Delegated Regulation (EU)
2017/589) and of FIA's Guide to the Development and Operation of Automated Trading Systems (March 2015). Paragraphs are
named where the control does what they ask for, or the part of it that a trading engine can do. The accidents are as
regulators, exchanges and the press of the time told them; it is not said that a control like it was missing there, or would
have been enough. Whether the rules bind somebody who trades here is for that somebody's lawyer.
"""

from typing import Final

import msgspec

from engine.guard import breakers, doubts, groups, intake, limits, losses, pauses, workers
from engine.guard.margin import Margin


class Duty(msgspec.Struct, frozen=True):
    """One row.

    Attributes:
        control: its name in a refusal, an alert or a latch. source: the class or module whose docstring describes it.
        scopes: where it applies. soft: how it warns before it stops; hard: what it does.
        sec, rts6, fia: paragraphs and topics. accident: what it is meant against.
    """

    control: str
    source: object
    scopes: str
    unit: str
    soft: str
    hard: str
    sec: str
    rts6: str
    fia: str
    accident: str


_ALL = "strategy, market, account"
_SOFT = "`risk.warn_percent`"
_REFUSES = "refuses"
_KNIGHT = "Knight Capital 2012: 45 minutes of unwanted orders, more than 4 million of them, 460 million dollars lost"
_MIZUHO = "Mizuho and J-Com 2005: 610,000 shares at 1 yen instead of 1 share at 610,000"
_CITI = "Citigroup London 2022: a basket of 444 billion dollars meant as 58 million"
_EVERBRIGHT = (
    "Everbright Securities 2013: 23.4 billion yuan of orders by mistake, 7.27 billion of them filled"
)
_HANMAG = "HanMag Securities 2013: 36,100 trades at absurd prices within minutes, and bankrupt"
_GOLDMAN = "Goldman Sachs options 2013: 16,000 orders at 1 dollar each, by a configuration error"
_MFGLOBAL = "MF Global 2008: one trader's wheat position, 141 million dollars, limits switched off"
_INFINIUM = "Infinium Capital 2010: an algorithm on its first live day sent 6,767 orders for oil futures in three seconds"
_BARINGS = "Barings 1995: losses in an account, 88888, that nobody reconciled"
_ARCHEGOS = "Archegos 2021: margin found short when it was too late to reduce"
_FLASH = "Flash crash of 6 May 2010: trades at a cent and at 100,000 dollars"

DUTIES: Final = (
    Duty("halted", limits.Halted, _ALL, "-", "-", "refuses, cancels", "(c)(1), (d)", "Art. 12", "kill switch", _KNIGHT),
    Duty("gate", limits.Trading, "account", "ns", "`clock_skew`, `unreconciled` at `risk.warn_percent`", _REFUSES, "(c)(1)(ii), (c)(2)(iv)", "Art. 16, 17(3)", "heartbeats, trading pauses, drop-copy reconciliation", "Facebook's opening at Nasdaq 2012: market makers who did not know their positions for hours"),
    Duty("silent", limits.Trading, "strategy", "ns", "-", "refuses, cancels", "(c)(1)(ii)", "Art. 12, 14", "heartbeats, cancel on disconnect", "quotes of a dead process, picked off while nobody watches them"),
    Duty("market", limits.Fresh, "market", "ns", "`feed_staleness` at `risk.warn_percent`", _REFUSES, "(c)(1)(ii)", "Art. 15(1)(a)", "market data reasonability", "quotes from a frozen feed: the commonest loss of market makers"),
    Duty("symbol", intake, "strategy", "-", "-", _REFUSES, "(c)(2)(ii)", "Art. 15(5)", "product permissions", "orders in a product that nobody meant to trade"),
    Duty("slot", intake, "strategy", "-", "alert", _REFUSES, "(c)(2)(iii), (d)", "Art. 15(5), 18", "access control", _BARINGS),
    Duty("form", limits.Form, "strategy", "1/100 contract, 1/10000 dollar", "-", _REFUSES, "(c)(1)(ii)", "Art. 15(1)", "fat-finger limits", _HANMAG),
    Duty("age", limits.IntentAge, "strategy", "ns", "-", _REFUSES, "(c)(1)(ii)", "Art. 15(1)", "market data reasonability", "orders that waited in a queue while the market moved"),
    Duty("reduce_only", limits.ReduceOnly, "strategy", "1/100 contract", "-", _REFUSES, "(c)(1)(ii)", "Art. 15(1)", "maximum position", "a stop that is sent twice and opens the opposite position"),
    Duty("max_qty", limits.MaxQty, _ALL, "1/100 contract", _SOFT, _REFUSES, "(c)(1)(ii)", "Art. 15(1)(c)", "maximum order size", _MIZUHO),
    Duty("max_notional", limits.MaxNotional, _ALL, "1/1000000 dollar", _SOFT, _REFUSES, "(c)(1)(ii)", "Art. 15(1)(b)", "maximum order size", _CITI),
    Duty("collar", limits.Collar, "market", "1/10000 dollar", "-", _REFUSES, "(c)(1)(ii)", "Art. 15(1)(a)", "price collars", _GOLDMAN),
    Duty("band", limits.Band, "market", "1/10000 dollar", "-", _REFUSES, "(c)(1)(ii), (c)(2)(i)", "Art. 15(1)(a)", "price collars", _FLASH),
    Duty("self_cross", limits.SelfCross, "account", "1/10000 dollar", "-", _REFUSES, "(c)(2)(i)", "Art. 13", "self-match prevention", "wash trades between two algorithms of one firm, fined again and again"),
    Duty("duplicate", limits.Duplicate, "strategy", "ns", "-", _REFUSES, "(c)(1)(ii): duplicative orders", "Art. 15(1)(d)", "repeated automated execution", _KNIGHT),
    Duty("repeats", limits.Repeats, "strategy", "orders", "-", "latches", "(c)(1)(ii): duplicative orders", "Art. 15(3)", "repeated automated execution", _KNIGHT),
    Duty("open_orders", limits.OpenOrders, _ALL, "orders", _SOFT, _REFUSES, "(c)(1)(i)", "Art. 12, 15(2)", "kill switch", "a halt that takes minutes, because so much rests"),
    Duty("unacknowledged", limits.Unacknowledged, _ALL, "requests", _SOFT, _REFUSES, "(c)(1)(i)", "Art. 15(1)(d), 15(2)", "outbound message rates", _KNIGHT),
    Duty("max_position", limits.MaxPosition, _ALL, "1/100 contract", _SOFT, _REFUSES, "(c)(1)(i)", "Art. 15(4)", "maximum intraday position", _MFGLOBAL),
    Duty("max_gross", limits.MaxGross, _ALL, "1/1000000 dollar", _SOFT, _REFUSES, "(c)(1)(i)", "Art. 15(4)", "credit controls", _EVERBRIGHT),
    Duty("max_loss", limits.MaxLoss, _ALL, "1/1000000 dollar", _SOFT, "latches", "(c)(1)(i)", "Art. 15(4), 15(5)", "credit controls", _KNIGHT),
    Duty("max_drawdown", losses, _ALL, "1/1000000 dollar", _SOFT, "latches", "(c)(1)(i)", "Art. 15(4), 15(5)", "credit controls", "a strategy that gives back for days what it made: each day within its limit"),
    Duty("margin", Margin, "account", "1/1000000 dollar", "`margin.warn_percent`", "refuses what increases", "(c)(1)(i)", "Art. 15(4)", "credit controls", _ARCHEGOS),
    Duty("tokens", limits.Tokens, "account", "tokens", "-", "refuses or queues", "(c)(1)(ii)", "Art. 15(1)(d)", "outbound message rates", _INFINIUM),
    Duty("message_rate", workers, "strategy", "messages in 1 s", "-", "latches; the rest is dropped undecoded", "(c)(1)(ii)", "Art. 15(1)(d)", "outbound message rates", _INFINIUM),
    Duty("order_group", groups, "strategy", "contracts in 15 s", "at 70 %", "refuses; latches when triggered", "(c)(1)(i)", "Art. 15(3), 15(4)", "repeated automated execution", "quotes of every level taken at once in a sudden move, again and again"),
    Duty("exchange_pause", pauses, "account", "-", "alert", "cancels wait", "(c)(2)(i)", "Art. 14", "trading pauses", "a storm of refused cancels that delays those that count"),
    Duty("reject_rate", breakers, "strategy", "per cent", "`reject_warn_percent`", "latches", "(c)(1)(ii)", "Art. 16", "repeated automated execution", "algorithms that answer each refusal with the next order"),
    Duty("cancel_to_fill", breakers, "strategy", "cancels per fill", "`cancels_per_fill_warn`", "latches", "(c)(2)(i)", "Art. 13, 15(1)(d)", "outbound message rates", "quote stuffing, and the fines for it"),
    Duty("liquidation", breakers, "account or market", "-", "`alert`", "latches", "(c)(1)(i), (c)(2)(iv)", "Art. 16, 17", "credit controls", _ARCHEGOS),
    Duty("foreign_fill", breakers, "account or market", "-", "`alert`", "latches", "(c)(2)(iii), (c)(2)(iv)", "Art. 17(3), 18", "drop-copy reconciliation", _BARINGS),
    Duty("position break", doubts, "market", "1/100 contract", "refuses at once", "latches", "(c)(2)(iv)", "Art. 17(3)", "drop-copy reconciliation", _BARINGS),
)  # fmt: skip
