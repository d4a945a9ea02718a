"""Processes that a nursery forks: as if they had been started, and the supervisor's own."""

import contextlib
import functools
import json
import os
import signal
import socket
import subprocess
import sys

import pytest
from integration.harness import stat_of, wait_for

from engine.runtime import nursery as module
from engine.runtime.environment import child_environment
from engine.runtime.nursery import Nursery

BEGUN = "/nowhere"  # a run directory that isn't there: whoever begins says so
until = functools.partial(wait_for, timeout=20)


@contextlib.contextmanager
def made(directory, environment=None, descriptors=()):
    with open(directory / "nursery.log", "ab") as log:
        nursery = Nursery(environment or child_environment(), descriptors, log)
        try:
            yield nursery
        finally:
            nursery.close()


@pytest.fixture
def place(tmp_path):
    with made(tmp_path) as nursery:
        assert nursery.wait(30)
        yield nursery, tmp_path


@pytest.fixture
def waiting(place, tmp_path):
    """A forked process that waits for ever: for its configuration, from a pipe."""
    os.mkfifo(tmp_path / "config.json")
    process = forked(place, "guard", "--run", str(tmp_path))
    yield process
    process.kill()
    process.wait()


def forked(place, *argv):
    nursery, directory = place
    with open(directory / "out", "ab") as log:
        process = nursery.start(list(argv), log)
    assert process is not None, (directory / "nursery.log").read_text()
    return process


def said(place):
    return (place[1] / "out").read_text()


def descriptors_of(pid):
    return [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]


def test_what_goes_wrong_is_in_its_log_and_its_exit_code(place):
    """As when `engine process` is started by hand: there is no run directory."""
    assert forked(place, "guard", "--run", BEGUN).wait() == 1
    assert "Traceback" in said(place) and "FileNotFoundError" in said(place)


def test_arguments_are_judged_as_on_a_command_line(place):
    """argparse ends its process with 2, by SystemExit."""
    assert forked(place, "--nonsense").wait() == 2
    assert "usage: python -m engine process" in said(place)


def test_it_ends_as_an_interpreter_does(tmp_path):
    """What a strategy registered for its end is done, what it wrote is written."""
    program = (
        "import atexit, sys; from engine.runtime import nursery\n"
        "def run(argv):\n"
        f"    left = open({str(tmp_path / 'left')!r}, 'w'); left.write('buffered')\n"
        "    atexit.register(print, 'the end of', *sys.argv[1:], flush=True); return 7\n"
        "sys.exit(nursery.serve(run))"
    )
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen([sys.executable, "-c", program], stdin=theirs, env=child_environment())
    theirs.close()
    assert ours.recv(64) == b"ready"
    pid = ask(ours, ["x"], tmp_path / "out", known=True)
    until("its end", lambda: (tmp_path / "out").read_text())
    until("its last word", lambda: not os.path.exists(f"/proc/{pid}"))
    assert (tmp_path / "out").read_text() == "the end of process x\n"
    assert (tmp_path / "left").read_text() == "buffered"
    ours.close()
    assert process.wait(20) == 0


def ask(requests, argv, out, *, known):
    """Ask as a supervisor does, which says that it knows the process, or does not live to say so."""
    reader, writer = os.pipe()
    with open(out, "ab") as log:
        socket.send_fds(requests, [json.dumps(argv).encode()], [log.fileno(), reader])
    os.close(reader)
    pid = int(requests.recv(64))
    if known:
        os.write(writer, b".")
    os.close(writer)
    return pid


def test_one_that_nobody_knows_never_begins(place):
    """Its supervisor gave it up, and something else may run in its name by now."""
    nursery, directory = place
    pid = ask(nursery._socket, ["guard", "--run", BEGUN], directory / "out", known=False)
    until("its end", lambda: not os.path.exists(f"/proc/{pid}"))
    assert said(place) == ""
    pid = ask(nursery._socket, ["guard", "--run", BEGUN], directory / "out", known=True)
    until("its words", lambda: said(place))


def test_it_is_our_child_in_a_session_of_its_own(place, waiting):
    """Its parent is the supervisor from its first moment, not the nursery, and no terminal's signal reaches it."""
    parent = int(stat_of(waiting.pid)[1])
    assert parent == os.getpid() != place[0].pid
    until("a session of its own", lambda: int(stat_of(waiting.pid)[3]) == waiting.pid)
    assert waiting.poll() is None
    waiting.kill()
    assert waiting.wait() == -signal.SIGKILL
    waiting.kill()  # nothing, as its pid may be another's now
    assert waiting.poll() == -signal.SIGKILL


def test_orphans_of_others_are_not_ours(place, tmp_path):
    """What a strategy leaves behind is not collected by a supervisor that never waits for it."""
    forked(place, "--nonsense").wait()
    subprocess.run(["sh", "-c", f"sleep 60 & echo $! > {tmp_path / 'pid'}"], check=True)
    pid = int((tmp_path / "pid").read_text())
    assert int(stat_of(pid)[1]) != os.getpid()
    os.kill(pid, signal.SIGKILL)


def test_it_holds_nothing_but_what_it_was_given(tmp_path):
    """Its descriptors are its three streams, and the locks that all processes hold; the nursery holds none of these."""
    os.mkfifo(tmp_path / "config.json")
    with open(tmp_path / "lock", "w") as lock, made(tmp_path, descriptors=(lock.fileno(),)) as nursery:
        assert nursery.wait(30)
        before = sorted(descriptors_of(nursery.pid))
        process = forked((nursery, tmp_path), "guard", "--run", str(tmp_path))
        until("its wait", lambda: stat_of(process.pid)[0] == "S")
        wanted = {"/dev/null", str(tmp_path / "out"), str(tmp_path / "lock")}
        until("its streams", lambda: set(descriptors_of(process.pid)) == wanted)
        assert sorted(descriptors_of(nursery.pid)) == before
        assert str(tmp_path / "lock") not in before
        process.kill()
        process.wait()


def test_no_secret_of_the_shell_is_in_it(monkeypatch, tmp_path):
    """Neither in its environment nor anywhere in its memory."""
    monkeypatch.setenv("CLOUD_TOKEN", "hush-hush")
    os.mkfifo(tmp_path / "config.json")
    for environment, there in (
        (child_environment(), False),
        ({**child_environment(), "A": "hush-hush"}, True),
    ):
        with made(tmp_path, environment) as nursery:
            assert nursery.wait(30)
            process = forked((nursery, tmp_path), "guard", "--run", str(tmp_path))
            assert holds(process.pid, b"hush-hush") is there
            process.kill()
            process.wait()


def holds(pid, secret):
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            addresses, rights = line.split()[:2]
            if "r" not in rights or "[v" in line:
                continue
            begin, end = (int(number, 16) for number in addresses.split("-"))
            memory.seek(begin)
            if secret in memory.read(end - begin):
                return True
    return False


def test_a_start_imports_nothing(place):
    """All that processes need is there, so that no start waits for a disk."""
    with open(f"/proc/{place[0].pid}/maps", encoding="ascii") as maps:
        loaded = maps.read()
    assert all(library in loaded for library in ("zmq", "msgspec", "_sqlite3", "_ssl", "setproctitle"))


def test_a_nursery_that_is_gone_starts_nothing_and_is_replaced(place):
    """None says: start a program; the next one can fork again."""
    nursery, directory = place
    first = nursery.pid
    os.kill(first, signal.SIGKILL)
    with open(directory / "out", "ab") as log:
        until("a refusal", lambda: nursery.start(["guard", "--run", BEGUN], log) is None)
    assert until("its end", lambda: nursery.look(0)) == "killed by signal 9"
    assert nursery.look(0) == ""
    until("another one", lambda: nursery.look(10**12) == "" and nursery.pid)
    assert nursery.pid != first and nursery.wait(30)
    assert forked(place, "--nonsense").wait() == 2


def test_a_nursery_that_stands_still_is_not_waited_for(place):
    """The supervisor has others to look after; what it asked for in vain does not come later."""
    nursery, directory = place
    os.kill(nursery.pid, signal.SIGSTOP)
    with open(directory / "out", "ab") as log:
        assert nursery.start(["guard", "--run", BEGUN], log) is None
    assert until("its end", lambda: nursery.look(0)) == "killed by signal 9"
    nursery.look(10**12)
    assert nursery.wait(30)
    assert forked(place, "--nonsense").wait() == 2
    assert "FileNotFoundError" not in said(place)


def test_one_that_ends_again_and_again_is_replaced_ever_more_seldom(tmp_path):
    """A broken installation must not cost an import twice a second."""
    with made(
        tmp_path, {**child_environment(), "PYTHONPATH": str(tmp_path)}
    ) as nursery:  # there is no engine
        now, told = 0, 0
        begun = set()
        while now < 60 * 10**9:
            begun.add(nursery.pid)
            if nursery.pid:
                nursery._process.wait(20)
            told += nursery.look(now) != ""
            now += 250_000_000
        assert 3 <= told <= 6
        assert not nursery._is_ready
    assert "No module named engine" in (tmp_path / "nursery.log").read_text()


@pytest.mark.parametrize("what", ["socketpair", "Popen"])
def test_no_nursery_for_want_of_memory_or_descriptors_is_no_end(monkeypatch, tmp_path, what):
    """Programs are started meanwhile, and a nursery when there is room again."""

    def refused(*_, **__):
        raise OSError(11, "Resource temporarily unavailable")

    with contextlib.ExitStack() as stack:
        with monkeypatch.context() as scarce, open(tmp_path / "out", "ab") as log:
            scarce.setattr(socket if what == "socketpair" else subprocess, what, refused)
            nursery = stack.enter_context(made(tmp_path))
            assert nursery.wait(0) and nursery.start(["--nonsense"], log) is None
            assert nursery.look(0) == "" and nursery.pid == 0
        assert nursery.look(10**12) == "" and nursery.wait(30)
        assert forked((nursery, tmp_path), "--nonsense").wait() == 2


def test_where_orphans_can_not_be_adopted_there_is_no_nursery(monkeypatch, tmp_path):
    """As under some sandboxes: a process that is not our child could not be waited for."""
    monkeypatch.setattr(module, "_adopt", lambda **_: False)
    with made(tmp_path) as nursery, open(tmp_path / "out", "ab") as log:
        assert nursery.pid == 0 and nursery.wait(0) and nursery.start(["--nonsense"], log) is None
        assert nursery.look(10**12) == "" and nursery.pid == 0


def test_who_launches_us_may_ignore_the_ends_of_children(tmp_path):
    """An ignored SIGCHLD is inherited by programs, and would take every exit code."""
    program = (
        "import signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "from engine.runtime.environment import child_environment; from engine.runtime.nursery import Nursery\n"
        f"log = open({str(tmp_path / 'log')!r}, 'ab'); nursery = Nursery(child_environment(), (), log)\n"
        "assert nursery.wait(30)\n"
        "for _ in range(3):\n"
        "    process = nursery.start(['--nonsense'], log)\n"
        "    assert process is not None and process.wait() == 0  # its code is lost, its end is seen\n"
        "nursery.close()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=child_environment(), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "log").read_text().count("usage: python -m engine process") == 3


def test_descriptors_may_have_high_numbers(tmp_path):
    """Whoever launches us may have left us a thousand open ones."""
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        with made(tmp_path) as nursery:
            assert nursery._socket.fileno() > 1023 and nursery.wait(30)
            assert forked((nursery, tmp_path), "--nonsense").wait() == 2
    finally:
        for descriptor in held:
            os.close(descriptor)


def test_one_that_was_forked_too_late_is_no_zombie(monkeypatch, place):
    """It ends by itself, and is waited for."""
    nursery, directory = place
    monkeypatch.setattr(nursery, "_has_said", lambda _seconds: until("the answer", answered) and False)

    def answered():
        with contextlib.suppress(BlockingIOError):
            return nursery._socket.recv(64, socket.MSG_DONTWAIT | socket.MSG_PEEK)
        return b""

    with open(directory / "out", "ab") as log:
        nursery._is_ready = True
        assert nursery.start(["guard", "--run", BEGUN], log) is None
    (late,) = nursery._late
    until("its end", lambda: nursery.look(0) is not None and not nursery._late)
    assert late.returncode == 0 and said(place) == ""


def test_it_has_one_thread(place):
    """What is forked while another thread holds a lock finds it held for ever."""
    nursery, _ = place
    assert len(os.listdir(f"/proc/{nursery.pid}/task")) == 1


def test_it_ends_with_its_supervisor(place):
    """Its only reason is that somebody can ask it."""
    nursery, _ = place
    nursery._socket.close()
    assert nursery._process.wait(20) == 0
    nursery._socket = None
