"""The Actor interface and small values; knows no protocol."""
