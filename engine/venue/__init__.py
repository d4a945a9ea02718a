"""The embedded venue: matching, accounts and the four FIX gateways; nothing of it is the engine."""
