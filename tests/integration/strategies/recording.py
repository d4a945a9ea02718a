"""A strategy that writes down when it was told of order entry, for tests of how long that takes."""

import os
import time

from engine.strategy.api import Strategy, StrategyConfigBase


class RecordingConfig(StrategyConfigBase, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Attributes:
    path: of the file; a line each: wall clock in ns, whether order entry is there, why not.
    """

    path: str


class Recording(Strategy):
    """Trades nothing."""

    Config = RecordingConfig

    def on_order_entry(self, up, why):
        handle = os.open(self.config.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(handle, f"{time.time_ns()} {up} {why}\n".encode())
        os.close(handle)
