"""`python -m engine ...`: see `engine.cli`."""

import os
import sys

from engine.cli import main


def open_streams() -> None:
    """Open the standard streams that whoever started us has closed: a lock or a socket would take their place."""
    while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(opened, True)
    os.close(opened)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - for life


if __name__ == "__main__":
    open_streams()
    sys.exit(main(sys.argv[1:]))
