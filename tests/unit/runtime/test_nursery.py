"""Processes that a nursery forks: as if they had been started, and the supervisor's own."""

import os
import signal
import time

import pytest

from engine.runtime.environment import child_environment
from engine.runtime.nursery import Nursery


@pytest.fixture
def place(tmp_path):
    with open(tmp_path / "nursery.log", "ab") as log:
        nursery = Nursery(child_environment(), (), log)
        nursery.wait(30)
        yield nursery, tmp_path
        nursery.close()


def forked(place, *argv):
    nursery, directory = place
    with open(directory / "out", "ab") as log:
        process = nursery.start(list(argv), log)
    assert process is not None, (directory / "nursery.log").read_text()
    return process


def output(place, process):
    code = process.wait()
    return code, (place[1] / "out").read_text()


def until(what, done):
    deadline = time.monotonic() + 20
    while not (found := done()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.005)
    return found


def fields_of(pid):
    with open(f"/proc/{pid}/stat", encoding="latin-1") as file:
        return file.read().rpartition(")")[2].split()


def test_what_goes_wrong_is_in_its_log_and_its_exit_code(place):
    """As when `engine process` is started by hand: there is no run directory."""
    code, said = output(place, forked(place, "guard", "--run", "/nowhere"))
    assert code == 1
    assert "FileNotFoundError" in said


def test_arguments_are_judged_as_on_a_command_line(place):
    """argparse ends its process with 2, by SystemExit."""
    code, said = output(place, forked(place, "--nonsense"))
    assert code == 2
    assert "usage: python -m engine process" in said


def test_it_is_our_child_in_a_session_of_its_own(place, tmp_path):
    """Its parent is the supervisor from its first moment, not the nursery, and no terminal's signal reaches it."""
    nursery, _ = place
    os.mkfifo(tmp_path / "config.json")  # whoever reads its configuration from there waits
    process = forked(place, "guard", "--run", str(tmp_path))
    parent = int(fields_of(process.pid)[1])
    assert parent == os.getpid() != nursery.pid
    until("a session of its own", lambda: int(fields_of(process.pid)[3]) == process.pid)
    assert process.poll() is None
    process.kill()
    assert process.wait() == -signal.SIGKILL
    process.kill()  # nothing, as its pid may be another's now
    assert process.poll() == -signal.SIGKILL


def test_it_holds_nothing_of_the_nursery_s(place, tmp_path):
    """Its descriptors are its three streams, and what it opens itself."""
    os.mkfifo(tmp_path / "config.json")
    process = forked(place, "guard", "--run", str(tmp_path))
    until("its wait", lambda: fields_of(process.pid)[0] == "S")
    directory = f"/proc/{process.pid}/fd"
    assert {os.readlink(f"{directory}/{fd}") for fd in os.listdir(directory)} == {
        "/dev/null",
        str(tmp_path / "out"),
    }
    process.kill()
    process.wait()


def test_no_secret_of_the_shell_is_in_it(monkeypatch, tmp_path):
    """Its environment is what the nursery was given, in its memory and in what the system shows of it."""
    monkeypatch.setenv("CLOUD_TOKEN", "hush")
    os.mkfifo(tmp_path / "config.json")
    with open(tmp_path / "nursery.log", "ab") as log:
        nursery = Nursery(child_environment(), (), log)
        nursery.wait(30)
        process = forked((nursery, tmp_path), "guard", "--run", str(tmp_path))
        with open(f"/proc/{process.pid}/environ", "rb") as file:
            assert b"hush" not in file.read()
        process.kill()
        process.wait()
        nursery.close()


def test_a_nursery_that_is_gone_starts_nothing_and_is_replaced(place):
    """None says: start a program; the next one can fork again."""
    nursery, directory = place
    first = nursery.pid
    os.kill(first, signal.SIGKILL)
    with open(directory / "out", "ab") as log:
        until("a refusal", lambda: nursery.start(["guard", "--run", "/nowhere"], log) is None)
    nursery.wait(30)
    assert nursery.pid != first
    assert output(place, forked(place, "--nonsense"))[0] == 2


def test_a_nursery_that_stands_still_is_not_waited_for(place):
    """The supervisor has others to look after."""
    nursery, directory = place
    os.kill(nursery.pid, signal.SIGSTOP)
    with open(directory / "out", "ab") as log:
        assert nursery.start(["guard", "--run", "/nowhere"], log) is None
    nursery.wait(30)
    assert output(place, forked(place, "--nonsense"))[0] == 2


def test_one_that_ended_is_told_of_once(place):
    """The supervisor says so and goes on."""
    nursery, _ = place
    os.kill(nursery.pid, signal.SIGKILL)
    assert until("its end", nursery.look) == "killed by signal 9"
    assert nursery.look() == ""


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
