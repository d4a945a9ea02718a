"""The engine and its venue on virtual time under drawn faults: settings, plans, invariants, comparison, one run."""
