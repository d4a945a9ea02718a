"""The errors that a user can cause, and their exit codes.

    EngineError
    ├── ConfigError        a file, key or value of the configuration is wrong (exit code 4)
    ├── KeyFileError       a private key or certificate can't be used (exit code 4)
    ├── RunDirError        the run directory is in use, unsafe or unusable (exit code 1)
    ├── NotRunningError    a tool found no engine to talk to (exit code 3)
    ├── JournalError       a journal is damaged or can't be written (exit code 8)
    │   └── JournalUnwritableError  it can't be written now: disk full, read-only, an I/O error; nothing of it is damaged
    └── UsageError         the command line is wrong (exit code 2)

The text of each names the file, key or tag, the value and what would be right; the command line prints it without
a traceback. Anything else that escapes is a bug.
"""


class EngineError(Exception):
    """Base of all errors that are reported to a user as one clear message."""

    exit_code = 1


class ConfigError(EngineError):
    """Configuration is wrong; nothing was started."""

    exit_code = 4


class KeyFileError(ConfigError):
    """A key or certificate file is missing, unreadable, unsafe or of the wrong kind."""


class RunDirError(EngineError):
    """The run directory can't be used."""


class NotRunningError(EngineError):
    """No engine answers on the run directory."""

    exit_code = 3


class JournalError(EngineError):
    """A journal is damaged or can't be written."""

    exit_code = 8


class JournalUnwritableError(JournalError):
    """A journal can't be written now, for a reason that may pass: there is no space, or the file system is read-only."""


class UsageError(EngineError):
    """The command line is wrong."""

    exit_code = 2


EXIT_OK = 0
EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_NOT_RUNNING = 3
EXIT_CONFIG = 4
EXIT_TIMEOUT = 5
EXIT_BREAKS = 6
EXIT_RISK_LATCH = 7
EXIT_JOURNAL = 8
EXIT_LATER = 75
EXIT_FORCED = 130
