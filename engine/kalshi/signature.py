"""What a Logon's RawData(96) signs (venue.md section 2).

    SendingTime SOH MsgType SOH MsgSeqNum SOH SenderCompID SOH TargetCompID

with the exact text of the message's SendingTime(52). The RSA-PSS itself is the runtime's: cores get it as a callable.
"""

from engine.fix.fields import SOH


def string_to_sign(sending_time: str, msg_type: str, seq: int, sender: str, target: str) -> bytes:
    """Return the bytes to sign or to verify; values as they stand in the message."""
    return SOH.join((sending_time, msg_type, str(seq), sender, target)).encode("latin-1")
