"""The parts of `scripts/reconcile`: reading journals, an operator's words, comparing files."""
