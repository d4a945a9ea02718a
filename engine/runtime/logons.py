"""When each session last logged on, kept over the lives of its process.

A Logon costs tokens and the venue must not be hammered: at most 3 in any 10 s (`engine.kalshi.reconnect`). A session
holds to that while it lives; a process that dies and is started again and again would not, so the times of the last
Logons are in `<run>/state/LINK.logons`. Times are of the system's monotonic clock, which all processes share; what is
ahead of it is of before a reboot, and counts no more. A disk that takes nothing costs this memory, never a session.
"""

import contextlib
import os

from engine.kalshi.reconnect import LOGONS_MAX, LOGONS_WINDOW_NS


class LogonTimes:
    """The last Logons of the links of one process.

    Args:
        directory: where the files are.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._times: dict[str, list[int]] = {}

    def _path(self, link: str) -> str:
        return os.path.join(self._directory, f"{link}.logons")

    def _of(self, link: str) -> list[int]:
        times = self._times.get(link)
        if times is None:
            times = []
            with contextlib.suppress(OSError, ValueError), open(self._path(link), encoding="ascii") as file:
                times = [int(line) for line in file.read(1000).split()]
            self._times[link] = times
        return times

    def wait_ns(self, link: str, mono_ns: int) -> int:
        """Return how long the link must wait before its next Logon, 0 when it need not."""
        times = [at for at in self._of(link) if at <= mono_ns]
        if len(times) < LOGONS_MAX:
            return 0
        return max(0, times[-LOGONS_MAX] + LOGONS_WINDOW_NS - mono_ns)

    def note(self, link: str, mono_ns: int) -> None:
        """Note that the link is up, which its Logon follows at once."""
        times = [*(at for at in self._of(link) if at <= mono_ns), mono_ns][-LOGONS_MAX:]
        self._times[link] = times
        path = self._path(link)
        with contextlib.suppress(OSError):
            handle = os.open(f"{path}.tmp", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write("\n".join(map(str, times)))
            os.replace(f"{path}.tmp", path)
