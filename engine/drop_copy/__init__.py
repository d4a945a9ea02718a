"""Drop copy: the second witness of everything that was executed, and the comparison with the first."""
