"""The strategy API, the worker that hosts a strategy, its loader, and a harness to test one."""
