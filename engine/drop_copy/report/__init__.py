"""The reconciliation report: built by pure functions from the journals, rendered by others."""
