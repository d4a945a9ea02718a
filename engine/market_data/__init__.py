"""The KalshiMD session, the aggregated books, and their feed on the bus."""
