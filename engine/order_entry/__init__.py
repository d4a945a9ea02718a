"""The actor that owns the order-entry session and the order journal."""
