"""Strategies of this clone: found by the file's name, `module:Class` in the configuration."""
