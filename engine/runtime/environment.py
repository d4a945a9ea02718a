"""What processes that the engine starts are given of its environment: little, by name, and nothing by accident.

A shell's environment often holds what is nobody's business: keys of clouds, tokens of registries, passwords. Strategy
code and alert hooks see none of it unless the configuration names it (`[engine] pass_environment`).

Nor is anything of the working directory or the user's PYTHONPATH importable in a process that may hold a key, or before
a worker has become its own user: a file there named as one of the engine's libraries would run as the engine.
"""

import os
import sys
from collections.abc import Iterable
from typing import Final

ROOT: Final = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
USERS_PATH: Final = "ENGINE_STRATEGY_PATH"
PASSED: Final = (
    # where programs, libraries and files are
    "PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV",
    # language and time
    "LANG", "LC_ALL", "LC_CTYPE", "TZ",
    # certificate authorities, for OpenSSL
    "SSL_CERT_FILE", "SSL_CERT_DIR",
    # how Python runs; none of them holds a secret
    "PYTHONHASHSEED", "PYTHONFAULTHANDLER", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONWARNINGS",
)  # fmt: skip


def child_environment(names: Iterable[str] = ()) -> dict[str, str]:
    """Return the environment of a process of the engine.

    Args:
        names: variables that the configuration passes besides.
    """
    found = {name: os.environ[name] for name in (*PASSED, *names) if name in os.environ}
    found["PYTHONPATH"] = ROOT
    found["PYTHONSAFEPATH"] = "1"
    users = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != ROOT]
    users += filter(None, os.environ.get(USERS_PATH, "").split(os.pathsep))
    if users:
        found[USERS_PATH] = os.pathsep.join(dict.fromkeys(users))
    return found


def add_users_path() -> None:
    """Make importable what the user's PYTHONPATH named: last, and only where strategy code is to be loaded."""
    sys.path += [p for p in os.environ.get(USERS_PATH, "").split(os.pathsep) if p and p not in sys.path]
