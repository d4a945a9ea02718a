"""The venue's gateways: hosts and ports as published, and the client of one of them (venue.md section 1).

The hosts have changed before; the configuration may say another for each session (PrivateLink, stunnel, a pinned
name). Never plain TCP: TLS 1.2 or higher on every port.
"""

from typing import Final

from engine.kalshi.gateway_client import GatewayClient
from engine.kalshi.reconnect import ReconnectPolicy

__all__ = ["AS_OF", "HOSTS", "PORTS", "GatewayClient", "ReconnectPolicy", "endpoint"]

AS_OF: Final = "2026-08"  # when these were read on the venue's connectivity page

ORDER_ENTRY: Final = "KalshiNR"
DROP_COPY: Final = "KalshiDC"
ORDER_ENTRY_RT: Final = "KalshiRT"
MARKET_DATA: Final = "KalshiMD"

PORTS: Final = {
    ORDER_ENTRY: 8228,
    DROP_COPY: 8229,
    ORDER_ENTRY_RT: 8230,
    MARKET_DATA: 8233,
}

# environment -> (host of order entry and drop copy, host of market data)
HOSTS: Final = {
    "production": ("margin-mm.fix.elections.kalshi.com", "margin-marketdata.fix.elections.kalshi.com"),
    "demo": ("margin-fix.demo.kalshi.co", "margin-marketdata.fix.demo.kalshi.co"),
}


def endpoint(environment: str, session: str) -> tuple[str, int]:
    """Return host and port of a session (its TargetCompID) at the venue itself.

    Raises:
        KeyError: no such environment (`production`, `demo`) or session.
    """
    order_entry, market_data = HOSTS[environment]
    return (market_data if session == MARKET_DATA else order_entry), PORTS[session]
