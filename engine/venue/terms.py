"""What the exchange is told beside requests: its configuration, and what is to go wrong on command."""

from typing import NamedTuple

import msgspec

from engine.venue.order import Refusal


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """The exchange's configuration: fees in hundredths of a basis point of notional; the rest is [?] in venue.md.

    closed_ids_again: the ClOrdID of a closed order may come again.
    amend_keeps_flags: post only, group and pause flag stay with an order that is amended.
    group_subaccounts: a group made with AllocAccount(79) takes only orders with the same.
    stale_code: OrdRejReason(103) of a stale order.
    """

    maker_fee: int = 100
    taker_fee: int = 300
    closed_ids_again: bool = False
    amend_keeps_flags: bool = True
    group_subaccounts: bool = True
    stale_code: int = 5


class Fault(NamedTuple):
    """What becomes of a request, on command.

    kind: `refuse` and `unavailable` (nothing is applied), `unavailable_applied` (applied, but its owner is told that
        nobody knows), `cancel` (a new order is accepted and cancelled with the refusal's text).
    owner_key: whose; its beginning is enough. of: `new`, `replace` or `cancel`.
    """

    kind: str
    refusal: Refusal
    owner_key: str = ""
    of: str = "new"

    @property
    def outright(self) -> Refusal | None:
        """The refusal, when nothing is applied."""
        return self.refusal if self.kind in {"refuse", "unavailable"} else None
