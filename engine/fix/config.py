"""Settings of one FIX session."""

from typing import Final

import msgspec

SECOND: Final = 1_000_000_000


class SessionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a session must know; the same for both roles.

    Attributes:
        sender_comp_id: our SenderCompID(49).
        target_comp_id: our TargetCompID(56); may be empty for an acceptor until `bind`.
        peer_comp_ids: accepted in 49 of what comes in; empty means target_comp_id only.
        own_comp_ids: accepted in 56 of what comes in, besides sender_comp_id.
        heart_bt_int_s: HeartBtInt(108).
        reset_on_logon: numbers start at 1 with every connection (141=Y); the initiator's Logon body must say so.
        retransmission: gaps are asked for and resends answered; without it a gap ends the session.
        logon_timeout_ns: wait for the answer to a Logon, or for the first Logon.
        logout_timeout_ns: wait for the answer to a Logout, or for the peer to close after its own.
        resend_timeout_ns: wait for progress of a resend before it is asked for again.
        resend_attempts_max: requests for one gap without progress before the session ends.
        max_message_bytes: longest message accepted; 1 MiB is a snapshot of some 20,000 levels.
        tolerance_ns: how far SendingTime(52) may be from our clock (venue.md section 2: 30 s).
        skew_every_ns: least time between two `Skew` events.
        held_max: messages held while a gap is open; what is over it is asked for again.
        sent_window_max: messages that an acceptor keeps for resends.
        resend_piece: numbers that an acceptor resends at once; the rest waits for `go_on_resending`. 0: all at once.
        strict: tags that a message does not define are rejected (acceptor); else ignored.
    """

    sender_comp_id: str
    target_comp_id: str = ""
    peer_comp_ids: tuple[str, ...] = ()
    own_comp_ids: tuple[str, ...] = ()
    heart_bt_int_s: int = 30
    reset_on_logon: bool = True
    retransmission: bool = False
    logon_timeout_ns: int = 10 * SECOND
    logout_timeout_ns: int = 5 * SECOND
    resend_timeout_ns: int = 15 * SECOND
    resend_attempts_max: int = 3
    max_message_bytes: int = 1 << 20
    tolerance_ns: int = 30 * SECOND
    skew_every_ns: int = SECOND
    held_max: int = 10_000
    sent_window_max: int = 100_000
    resend_piece: int = 0
    strict: bool = False
