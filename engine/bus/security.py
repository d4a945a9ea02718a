"""Doors: how a worker that runs as another Unix user reaches the bus, and only as itself.

Under one Unix user whoever can open a socket of the bus can also claim another process's name on it: that guards
against faults, not against malice. A strategy with `run_as` runs as a Unix user of its own. The run directory stays
closed to it; of every channel that it may use there is a door, a socket that nobody but its user (and the engine's)
can connect to:

* on ROUTER channels the door is a socket of its own: whatever comes through it is that worker's, and what claims
  another name there is thrown away undecoded; on the engine's own sockets the worker's name has no say any more;
* on PUB channels the door is another address of the same socket; but where the workers' topics are their own (`oe.tape`), it is
  a socket that gives its owner's topics and nothing else, whatever that subscribes to.

The doors lie in a directory below /run, or the system's for temporary files, that others can pass but not list or write, named
by the engine's user and run directory, because a worker's user can't enter the run directory at all.
"""

import contextlib
import ctypes
import hashlib
import os
import pwd
import resource
import shutil
import stat
import tempfile
from typing import Final, NamedTuple

from engine.config import Config
from engine.errors import ConfigError, RunDirError
from engine.messages.topology import Channel

PROCESSES_MAX: Final = 128  # processes and threads of a worker's user
FILES_MAX: Final = 128  # of each of them
FILE_BYTES_MAX: Final = 256 << 20  # of each file that they write, the log too: the disk is everybody's
_PR_SET_NO_NEW_PRIVS: Final = 38
_OOM_FIRST: Final = 1000  # when memory is short, a worker that nobody trusts ends, not the guard


class Door(NamedTuple):
    """The way in of one worker: its process name and slot, its Unix user, and what its sockets' paths begin with."""

    name: str
    slot: str
    uid: int
    gid: int
    home: str
    prefix: str

    def path(self, channel: str) -> str:
        """Return the path of the socket of a channel."""
        return f"{self.prefix}.{channel}"

    def endpoint(self, channel: str) -> str:
        """Return its ZeroMQ address."""
        return f"ipc://{self.path(channel)}"

    def own_topics(self, channel: Channel) -> tuple[str, ...]:
        """Return the topics of a PUB channel of which its owner has ones of its own; empty where all are everybody's."""
        topics = channel.topics.get("strategy", ())
        if not any("{slot}" in topic for topic in topics):
            return ()
        return tuple(topic.format(slot=self.slot) for topic in topics)


def doors_directory(run_dir: str) -> str:
    """Return where the doors of a run directory lie."""
    digest = hashlib.sha256(os.fsencode(os.path.realpath(run_dir))).hexdigest()[:16]
    # root's own place, where it is there: in a directory for everybody another user could make ours first
    base = "/run" if os.geteuid() == 0 and os.access("/run", os.W_OK) else tempfile.gettempdir()
    return os.path.join(base, f"engine-{os.getuid()}-{digest}-doors")


def doors(config: Config, run_dir: str) -> dict[str, Door]:
    """Return the doors of an engine by process name; empty when every worker runs as the engine's own user."""
    directory = doors_directory(run_dir)
    found = {}
    for name, strategy in config.strategies.items():
        if strategy.run_as:
            user = pwd.getpwnam(strategy.run_as)
            slot = f"{strategy.slot:03x}"
            prefix = os.path.join(directory, slot)
            process = f"strategy.{name}"
            found[process] = Door(process, slot, user.pw_uid, user.pw_gid, user.pw_dir, prefix)
    return found


def problems(config: Config) -> list[str]:
    """Return what stands in the way of every `run_as`, one sentence each."""
    said = []
    users: dict[int, str] = {os.getuid(): "the engine itself"}
    for name, strategy in config.strategies.items():
        if not strategy.run_as:
            continue
        key = f"strategies.{name}.run_as"
        try:
            user = pwd.getpwnam(strategy.run_as)
        except KeyError:
            said.append(f"{key}: there is no Unix user {strategy.run_as!r} on this machine")
            continue
        if user.pw_uid == 0:
            said.append(
                f"{key}: {strategy.run_as!r} is root, who may do everything; name a user with no rights"
            )
        elif user.pw_gid == 0:
            said.append(
                f"{key}: {strategy.run_as!r} is of root's group, which may read and write what is root's; name a user of another"
            )
        elif user.pw_uid in users:
            other = users[user.pw_uid]
            said.append(
                f"{key}: {strategy.run_as!r} is the user of {other} too; each worker needs one of its own"
            )
        users.setdefault(user.pw_uid, f"strategies.{name}")
        if os.geteuid() != 0:
            said.append(
                f"{key}: only root can start a process as another user; start the engine as root, or leave it out"
            )
    return said


def make_doors_directory(run_dir: str) -> None:
    """Make the directory of the doors: ours, no link, passed through by others and nothing else.

    Raises:
        RunDirError: another's directory stands in its place.
    """
    path = doors_directory(run_dir)
    os.makedirs(path, mode=0o711, exist_ok=True)
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise RunDirError(f"{path}: is not a directory of yours; the workers' sockets can't be put there")
    os.chmod(path, 0o711)  # noqa: S103 - others pass through to a socket of theirs, and see no names


def remove_doors(run_dir: str) -> None:
    """Take the doors away at the end of an engine, so that /run does not fill up with those of engines that are no more."""
    with contextlib.suppress(OSError):
        shutil.rmtree(doors_directory(run_dir))


def give(door: Door, channel: str) -> None:
    """Let the door's user connect to a socket that was just bound, and nobody else."""
    path = door.path(channel)
    os.chown(path, door.uid, -1, follow_symlinks=False)
    os.chmod(path, 0o600)


def become(door: Door) -> None:
    """Turn this process into the door's user, for good.

    Raises:
        ConfigError: the system does not let us.
    """
    # Nothing that it starts may gain rights (setuid programs); a fork bomb is its own user's trouble; and all that it can
    # start can't open as many connections to the guard as that may hold.
    ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write(str(_OOM_FIRST))  # it can't take that back, nor what it starts
    try:
        resource.setrlimit(resource.RLIMIT_NPROC, (PROCESSES_MAX, PROCESSES_MAX))
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES_MAX, FILES_MAX))
        resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES_MAX, FILE_BYTES_MAX))
        os.setgroups([])
        os.setgid(door.gid)
        os.setuid(door.uid)
    except OSError as error:
        raise ConfigError(f"{door.name}: can't run as user {door.uid}: {error.strerror}") from None
    assert os.getresuid() == (door.uid,) * 3, "nothing of the old user is left"
    assert os.getresgid() == (door.gid,) * 3, "nothing of the old group is left"
