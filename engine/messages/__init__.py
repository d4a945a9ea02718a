"""The bus contract: every message that processes exchange, and the one table of channels.

All messages are msgspec structs, frozen, keyword-only, without garbage-collector tracking, tagged by their type
(`type` on the wire), and written as msgpack maps, so that a subscriber in any language can read them. Defaults are
left out of the bytes: an absent field has the default that docs/bus.md lists. Fields are only ever appended, with
defaults. Prices are ints in 1/10000 dollar, quantities in 1/100 contract, money in 1/1000000 dollar, times in ns.
"""

from typing import Final

SCHEMA: Final = 1
"""Version of the bus contract; a hello with another one is refused."""
