"""The run directory of an engine: ours alone, used by one engine at a time.

    <run>/lock           held while the engine or any of its processes lives
    <run>/config.json    the effective configuration
    <run>/bus/           the sockets
    <run>/state/         journals
    <run>/logs/          one log a process, raw FIX a session
    <run>/venue/         the embedded venue's keys, certificates and ports

The lock is inherited by every process, so that a supervisor's death does not let a second engine in while the first
one's processes are still cancelling orders. API keys of a real venue are locked for the whole machine.
"""

import contextlib
import fcntl
import hashlib
import os
import stat

from engine.errors import RunDirError


def prepare(run_dir: str) -> None:
    """Make the directory and its parts, 0700. Raises RunDirError when it isn't ours or can't be written."""
    try:
        for path in (run_dir, *(os.path.join(run_dir, part) for part in ("state", "logs"))):
            os.makedirs(path, mode=0o700, exist_ok=True)
        status = os.stat(run_dir)
        if status.st_uid != os.getuid():
            raise RunDirError(f"{run_dir}: belongs to another user; give a directory of your own with --run")
        if stat.S_IMODE(status.st_mode) & 0o077:
            os.chmod(run_dir, 0o700)
    except OSError as error:
        raise RunDirError(
            f"{error.filename or run_dir}: can't be used as a run directory: {error.strerror}"
        ) from None
    if not os.access(os.path.join(run_dir, "state"), os.W_OK | os.X_OK):
        raise RunDirError(f"{run_dir}/state: can't be written; the journals must be")


def _make_private(directory: str) -> None:
    """Make a directory of ours that nobody else can write. Raises RunDirError when another's stands in its place."""
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        status = os.lstat(directory)
    except OSError as error:
        raise RunDirError(f"{directory}: can't be used for the locks of API keys: {error.strerror}") from None
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise RunDirError(
            f"{directory}: must be a directory of yours alone (0700): the locks of API keys are kept there; remove it"
        )


def _take(path: str, refusal: str) -> int:
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise RunDirError(f"{path}: can't be locked: {error.strerror}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "?"
        os.close(handle)
        raise RunDirError(refusal.format(holder=holder)) from None
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    os.set_inheritable(handle, True)
    return handle


class RunDirLock:
    """Holds a run directory, and the API keys of a real venue, for this engine and its processes.

    Attributes:
        descriptors: to be handed to every process.
        stale_pid: of an engine that ended without saying so, else 0.

    Raises:
        RunDirError: another engine holds it, or processes of a dead one have not ended yet.
    """

    def __init__(self, run_dir: str, key_ids: tuple[str, ...] = ()) -> None:
        path = os.path.join(run_dir, "lock")
        self.stale_pid = 0
        with contextlib.suppress(OSError, ValueError), open(path, encoding="ascii") as file:
            self.stale_pid = int(file.read().strip() or 0)
        text = f"{run_dir}: an engine runs here already (or its processes have not ended yet), pid {{holder}}; stop it with scripts/ctl stop, or use another directory with --run"
        self.descriptors = [_take(path, text)]
        directory = (
            f"/tmp/engine-{os.getuid()}-keys"  # one place whatever TMPDIR says, or two engines would not meet  # noqa: S108
        )
        for key_id in key_ids:
            _make_private(directory)
            name = hashlib.sha256(key_id.encode()).hexdigest()[:16]
            refusal = f"API key {key_id[:4]}***: an engine with this key runs already on this machine, pid {{holder}}; a second connection would be refused by the venue"
            try:
                self.descriptors.append(_take(os.path.join(directory, name), refusal))
            except RunDirError:
                self.release()
                raise

    def release(self) -> None:
        """Say that the engine ended properly and let go."""
        for number, handle in enumerate(self.descriptors):
            if number == 0:
                os.ftruncate(handle, 0)
            os.close(handle)
        self.descriptors.clear()
