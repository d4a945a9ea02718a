"""The weights of one seed's faults: some kinds never, the others more or less often than usual (swarm testing).

With the same weights in every schedule each one is an average one. What takes one kind many times, or two kinds without a
third that ends the situation at once, then comes together only by chance; when every seed leaves out other kinds, and
dwells on others, it does so in some of a few dozen.
"""

import random
from collections.abc import Mapping
from typing import Final

_SHARES: Final = (15, 30, 50, 80, 100, 100)  # percent of the kinds that a seed has
_FACTORS: Final = (1, 2, 4, 8, 16)


def swarmed(weights: Mapping[str, int], rng: random.Random) -> dict[str, int]:
    """Return weights of which some are gone and others changed; never none at all."""
    share = rng.choice(_SHARES)
    kept = {
        kind: weight * rng.choice(_FACTORS) for kind, weight in weights.items() if rng.randrange(100) < share
    }
    return kept or dict(weights)
