"""One order, all orders, positions: pure state, moved by tape events alone; knows no venue."""
