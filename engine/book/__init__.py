"""The aggregated book, reconstructed from levels."""
