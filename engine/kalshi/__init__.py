"""The dialect of Kalshi's margin FIX gateway: tags, messages, codecs, limits and one client session; no I/O."""
