"""Application messages as both of drop copy's sessions read them."""

from typing import Any

from engine.common.actor import Outbox
from engine.fix.events import App
from engine.fix.message import FixMessage
from engine.kalshi.codec import BadField, decode


def message_of(event: App, session: str, out: Outbox) -> Any:
    """Return an application message decoded; None for one that can't be read, which is alerted, naming the session."""
    message = event.message
    if not isinstance(message, FixMessage):
        return message
    try:
        return decode(message)
    except BadField as error:
        out.log("alert", f"{session}: a message of type {event.msg_type} can't be read: {error}")
        return None
