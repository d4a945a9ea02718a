"""What processes that the engine starts are given of its environment: little, by name, and nothing by accident.

A shell's environment often holds what is nobody's business: keys of clouds, tokens of registries, passwords. Strategy
code and alert hooks see none of it unless the configuration names it (`[engine] pass_environment`).
"""

import os
from collections.abc import Iterable
from typing import Final

ROOT: Final = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
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
    paths = [ROOT, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    found["PYTHONPATH"] = os.pathsep.join(paths)
    return found
