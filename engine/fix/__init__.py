"""The FIX core: framing, messages as data, the session protocol for both roles. Knows FIX, not the engine; no I/O."""
