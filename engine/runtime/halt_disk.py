"""The halt file on disk: noticed when anybody changes it, written whole by the guard alone.

A file that can't be read halts everything, as one that can't be understood does: somebody put it there.
"""

import contextlib
import os
from collections.abc import Callable
from typing import Final

from engine.common import halt_file

UNREADABLE: Final = "all: the halt file is there and can't be read\n"


class HaltDisk:
    """`<run>/halt` as one process sees it.

    Args:
        run_dir: the engine's directory.
    """

    def __init__(self, run_dir: str) -> None:
        self.path = os.path.join(run_dir, halt_file.NAME)
        self._seen: tuple[int, ...] | None = None
        self._text: str | None = None
        self._unwritten: str | None = None

    def changed(self) -> bool:
        """Look whether the file came, went or was written since the last look; then `text` is what it says now."""
        mark = self._mark()
        if mark == self._seen:
            return False
        self._seen = mark
        text = self._read() if mark is not None else None
        differs = text != self._text
        self._text = text
        return differs

    @property
    def text(self) -> str | None:
        """What the file said at the last look; None: there is none."""
        return self._text

    def write(self, text: str) -> str:
        """Make the file say this (empty: take it away); return why that failed, or empty. It is tried again by `retry`."""
        self._unwritten = text
        try:
            if text:
                self._replace(text)
            else:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.path)
        except OSError as error:
            return f"{self.path}: can't be written: {error.strerror}"
        self._unwritten = None
        self._seen, self._text = self._mark(), text or None
        return ""

    def retry(self) -> None:
        """Write what could not be written before."""
        if self._unwritten is not None:
            self.write(self._unwritten)

    def _replace(self, text: str) -> None:
        new = f"{self.path}.new"
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        try:
            os.write(handle, text.encode())
        finally:
            os.close(handle)
        os.replace(new, self.path)

    def _mark(self) -> tuple[int, ...] | None:
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            return None
        except OSError:
            return (0,)
        return (status.st_ino, status.st_mtime_ns, status.st_size, status.st_ctime_ns)

    def _read(self) -> str:
        try:
            with open(self.path, "rb") as file:
                return file.read(halt_file.SIZE_MAX).decode("utf-8", "replace")
        except OSError:
            return UNREADABLE


class HaltWatch:
    """Shows the halt file to an actor, and lets the guard write it.

    Args:
        run_dir: the engine's directory. tell: is told what the file says. log: says something to the operator.
    """

    def __init__(
        self, run_dir: str, tell: Callable[[str | None], None], log: Callable[[str, str], None]
    ) -> None:
        self._disk = HaltDisk(run_dir)
        self._tell = tell
        self._log = log
        self._is_looking = False
        self._kept = 0

    def begin(self) -> None:
        """Tell what the file says at the start, or that there is none."""
        self._disk.changed()
        self._tell(self._disk.text)

    def look(self) -> None:
        """Tell what the file says when that has changed; write what could not be written before."""
        if self._is_looking:
            return
        self._is_looking = True
        try:
            if self._disk.changed():
                self._tell(self._disk.text)
            self._disk.retry()
        finally:
            self._is_looking = False

    def keep(self, text: str) -> None:
        """Make the file say this, at once: whoever starts while we are busy shall see it."""
        kept = self._kept
        self.look()  # what somebody just wrote there must not be overwritten unseen
        if self._kept != kept:
            return  # the actor has taken that in, and kept what is halted by now
        self._kept += 1
        problem = self._disk.write(text)
        if problem:
            self._log("alert", problem)
