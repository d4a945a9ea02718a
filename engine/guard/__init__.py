"""The guard: pre-trade controls, exposure, token budget, kill switch and the gate."""
