"""May somebody else plant what root is going to run? Looked at before a root engine starts with workers of other users.

`run_as` keeps a hostile worker's user out of the engine's sockets and files. It would be in vain if that user could write a
file that root imports, executes or obeys: a strategy's directory that everybody may write is on root's import path. So
what root takes on trust must be root's and writable by root alone, and so must every directory on the way to it:

* code: the import path and everything in it, the engine itself, the directories of strategies, the Python that runs it;
* what tells root what to do: the configuration, keys, certificates, the alerts' command, the run directory.

A directory that everybody may write but only owners may clear (/tmp) is no harm on the way to something that is there
already. Writable by the group root counts as root's own: no worker is in it. But where there is an access list (ACL), the
mode's group is the most that any user named in it may do, so that writable by the group is then writable by others.
"""

import errno
import itertools
import os
import pwd
import shutil
import stat
import sys
from collections import deque
from collections.abc import Iterator
from typing import Final

from engine.config import Config, SessionsConfig
from engine.runtime.environment import ROOT, USERS_PATH, child_environment
from engine.strategy import loader

TOLD_MAX: Final = 10
_LINKS_MAX: Final = 40
_ROOT: Final = 0
_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH
_ACL: Final = "system.posix_acl_access"
_NO_ACL: Final = (errno.ENODATA, errno.ENOTSUP)
_CODE: Final = "root imports code from there"
_OBEYED: Final = "root goes by what it says"


def problems(config: Config, config_path: str, run_dir: str) -> list[str]:
    """Return what another user could change of what a root engine runs or obeys, one sentence each.

    Empty without `run_as`, and for an engine that root did not start. At most TOLD_MAX are told; a directory is told
    instead of what is in it.

    Args:
        config_path: of the configuration file. run_dir: the engine's directory, there already or not.
    """
    if os.geteuid() != _ROOT or not any(strategy.run_as for strategy in config.strategies.values()):
        return []
    found = dict.fromkeys(
        itertools.chain(
            *(tree(path) for path in code_paths(config)),
            *(way(path, _OBEYED, may_be_made=True) for path in obeyed_paths(config, config_path, run_dir)),
        )
    )
    said = list(found)
    if len(said) > TOLD_MAX:
        said[TOLD_MAX:] = [f"and {len(said) - TOLD_MAX} more that others can change"]
    return said


def code_paths(config: Config) -> list[str]:
    """Return every place that root, or a worker before it has become its user, imports from or executes."""
    environment = child_environment(config.engine.pass_environment)
    paths = [sys.executable, os.path.join(sys.prefix, "pyvenv.cfg"), ROOT]
    paths += [path or os.curdir for path in sys.path]
    paths += [loader.DIRECTORY, str(loader.INSTALLED)]
    for name in (USERS_PATH, "LD_LIBRARY_PATH"):
        paths += filter(None, environment.get(name, "").split(os.pathsep))
    if config.alerts.command:
        program = shutil.which(config.alerts.command[0], path=environment.get("PATH"))
        paths += [program] if program else []
    return list(dict.fromkeys(os.path.abspath(path) for path in paths))


def obeyed_paths(config: Config, config_path: str, run_dir: str) -> list[str]:
    """Return the files and directories that tell root what to do."""
    paths = [config_path, run_dir]
    for name in SessionsConfig.__struct_fields__:
        session = getattr(config.sessions, name)
        if session is not None:
            paths += filter(None, (session.key_file, session.ca_file))
    environment = child_environment()
    paths += [environment[name] for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if name in environment]
    return list(dict.fromkeys(os.path.abspath(os.path.expanduser(path)) for path in paths))


def way(path: str, why: str, *, may_be_made: bool = False) -> Iterator[str]:
    """Yield what is wrong with a path, or with the first bad step on the way to it, links followed.

    Args:
        why: what root does with it. may_be_made: its owner is looked at when it is made, so that it need not be there.
    """
    done, rest, links = "/", deque(_parts(path)), 0
    status = os.lstat(done)
    while True:
        shared = (
            status.st_mode & stat.S_ISVTX and status.st_mode & _OTHERS and _is_ours(status) and bool(rest)
        )
        if problem := "" if shared else _wrong(done, status, why):
            yield problem
            return
        if not rest:
            return
        part = rest.popleft()
        above, done = done, os.path.normpath(os.path.join(done, part))
        try:
            status = os.lstat(done)
        except OSError:
            if shared and not may_be_made:
                yield f"{done}: is not there, and everybody may make it ({above} has mode 1777): {why}; make it, or leave it out"
            return
        if stat.S_ISLNK(status.st_mode) and _is_ours(status) and links < _LINKS_MAX:
            links += 1
            target = os.readlink(done)
            rest.extendleft(reversed(_parts(target)))
            done = "/" if os.path.isabs(target) else above
            status = os.lstat(done)


def tree(path: str) -> Iterator[str]:
    """Yield what is wrong on the way to a path, and then what is wrong in it."""
    on_the_way = list(way(path, _CODE))
    if on_the_way or not os.path.isdir(path):
        yield from on_the_way
        return
    real = os.path.realpath(path)
    yield from _below(real, {real}, top=True)


def _below(directory: str, seen: set[str], *, top: bool = False) -> Iterator[str]:
    # Real paths only, so that a circle of links ends and a complaint names what must be changed.
    with os.scandir(directory) as entries:
        for entry in entries:
            if top and (entry.name.startswith(".") or entry.name == "site-packages"):
                continue  # no module; site-packages that count are on the import path themselves
            if entry.is_symlink():
                problem = next(way(entry.path, _CODE), "")
            else:
                problem = _wrong(entry.path, entry.stat(follow_symlinks=False), _CODE)
            if problem:
                yield problem
            elif os.path.isdir(entry.path) and (real := os.path.realpath(entry.path)) not in seen:
                seen.add(real)
                yield from _below(real, seen)


def _wrong(path: str, status: os.stat_result, why: str) -> str:
    mode, acl = status.st_mode, ""
    if _is_ours(status):
        if stat.S_ISLNK(mode) or not mode & _OTHERS:
            return ""
        if _has_acl(path):
            acl = " and an access list (ACL)"
        elif status.st_gid == _ROOT and not mode & stat.S_IWOTH:
            return ""
    return (
        f"{path}: belongs to {_name(status.st_uid)} and has mode {stat.S_IMODE(mode):04o}{acl}, but {why}, and workers run "
        f"as other users (run_as): it must be root's and writable by root alone: chown root {path}; chmod go-w {path}"
    )


def _has_acl(path: str) -> bool:
    try:
        os.getxattr(path, _ACL, follow_symlinks=False)
    except OSError as error:
        return error.errno not in _NO_ACL  # one that can't be read may allow anything
    return True


def _is_ours(status: os.stat_result) -> bool:
    return status.st_uid in (_ROOT, os.geteuid())


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]
