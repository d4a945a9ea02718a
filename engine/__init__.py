"""A multiprocess trading engine for Kalshi's margin FIX gateway. See docs/architecture.md."""

__version__ = "0.1.0"
