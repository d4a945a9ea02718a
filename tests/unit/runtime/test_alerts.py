"""Hooks get every alert once, and whatever they do harms nobody."""

import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time

import msgspec
import pytest

from engine import config_loader
from engine.config import AlertsConfig
from engine.runtime import webhook as webhooks
from engine.runtime.alerts import Alerts, filled
from engine.runtime.conditions import Condition
from engine.runtime.environment import child_environment
from engine.tools.docs_gen import ROOT

HALT = Condition("halt", "halt:all", "all halted by ann: $(touch /tmp/never) `news` '\"")


@pytest.fixture
def make():
    """Build Alerts with hooks of these settings; `said` are its complaints."""
    made = []

    def build(**settings):
        demo = config_loader.load(f"{ROOT}/configs/demo.toml", [])
        said = []
        alerts = Alerts(
            msgspec.structs.replace(demo, alerts=AlertsConfig(**settings)), lambda _, text: said.append(text)
        )
        made.append(alerts)
        return alerts, said

    yield build
    for alerts in made:
        alerts.close()


def wait(what, condition, seconds=10.0, alerts=None):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"no {what} within {seconds} s"
        if alerts is not None:
            alerts.poll()
        time.sleep(0.01)


def python(text):
    return [sys.executable, "-c", text]


def test_a_command_gets_the_alert_as_argument_as_json_and_in_its_environment(make, tmp_path):
    """No shell reads it: what looks like a command in a text stays text."""
    out = tmp_path / "out"
    text = f"import sys, os; d = sys.stdin.read(); open({str(out)!r}, 'w').write(sys.argv[1] + '\\n' + os.environ['ALERT_KIND'] + '\\n' + d)"
    alerts, said = make(command=python(text))
    alerts.tell(HALT, 1_790_000_000_000_000_000)
    wait("alert", lambda: out.exists() and out.read_text().endswith("}\n"), alerts=alerts)
    argument, kind, data = out.read_text().split("\n", 2)
    assert (argument, kind) == (HALT.text, "halt")
    found = json.loads(data)
    assert {k: found[k] for k in ("kind", "key", "text", "engine", "environment")} == {
        "kind": "halt", "key": "halt:all", "text": HALT.text, "engine": "demo", "environment": "embedded",
    }  # fmt: skip
    assert not said and not os.path.exists("/tmp/never")


def test_placeholders_are_filled_in():
    alert = {"kind": "halt", "key": "k", "text": "T {kind}", "engine": "demo"}
    assert filled(["x", "--{kind}={key}", "{engine}"], alert) == ["x", "--halt=k", "demo"]
    assert filled(["x"], alert) == ["x", "T {kind}"]


def test_a_hook_that_hangs_is_killed_with_its_children_and_holds_nobody_up(make, tmp_path):
    pids = tmp_path / "pids"
    text = (
        "import os, subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}} ')\n"
        "time.sleep(600)"
    )
    alerts, said = make(command=python(text), timeout_s=2)
    began = time.monotonic()
    alerts.tell(HALT, 1)
    assert time.monotonic() - began < 0.5
    wait("complaint", lambda: said, alerts=alerts)
    assert "did not end within 2 s and was killed" in said[0]
    for pid in pids.read_text().split():
        wait(f"end of {pid}", lambda pid=pid: not _lives(int(pid)))


def _lives(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        (["/no/such/program"], "can't be started"),
        (python("raise SystemExit(3)"), "ended with code 3"),
        (python("import os, signal; os.kill(os.getppid(), 0); os.close(0); print('x' * 10**7)"), ""),
    ],
)  # fmt: skip
def test_a_hook_that_fails_is_one_line(make, command, complaint):
    alerts, said = make(command=command)
    alerts.tell(HALT, 1)
    wait("end", lambda: not alerts._threads, alerts=alerts)
    alerts.poll()
    assert [complaint in line for line in said] == [True] * bool(complaint)


def test_more_alerts_than_hooks_wait_for_one_another_and_all_arrive(make, tmp_path):
    text = f"import os, time; time.sleep(0.02); open({str(tmp_path)!r} + f'/{{os.getpid()}}', 'w')"
    alerts, said = make(command=python(text))
    for number in range(24):
        alerts.tell(Condition("break", f"break:{number}", "x"), 1)
    assert len(alerts._threads) <= 16
    wait("24 alerts", lambda: len(list(tmp_path.iterdir())) == 24, 20, alerts)
    assert not said


class Hook(http.server.BaseHTTPRequestHandler):
    answers = []
    bodies = []

    def do_POST(self):
        self.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        code = self.answers.pop(0) if self.answers else 200
        self.send_response(code)
        if code == 301:
            self.send_header("Location", "/elsewhere")
        self.end_headers()

    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def webhook():
    Hook.answers, Hook.bodies = [], []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook?token=secret"
    server.shutdown()
    server.server_close()
    thread.join(5)


def test_a_webhook_gets_json_and_a_busy_one_gets_it_again(make, webhook):
    Hook.answers[:] = [503]
    alerts, said = make(webhook=webhook)
    alerts.tell(HALT, 1)
    wait("two posts", lambda: len(Hook.bodies) == 2, alerts=alerts)
    wait("end", lambda: not alerts._threads, alerts=alerts)
    assert Hook.bodies[0] == Hook.bodies[1] and Hook.bodies[0]["text"] == HALT.text
    assert not said


def test_a_webhook_that_refuses_is_one_line_without_its_address(make, webhook):
    Hook.answers[:] = [404]
    alerts, said = make(webhook=webhook)
    alerts.tell(HALT, 1)
    wait("complaint", lambda: said, alerts=alerts)
    assert said == ["the webhook ended with code 2"] and len(Hook.bodies) == 1


def test_a_webhook_that_redirects_has_not_taken_the_alert(make, webhook):
    """The other address would get a GET without the alert."""
    Hook.answers[:] = [301]
    alerts, said = make(webhook=webhook)
    alerts.tell(HALT, 1)
    wait("complaint", lambda: said, alerts=alerts)
    assert said == ["the webhook ended with code 2"] and len(Hook.bodies) == 1


def test_a_webhook_that_answers_garbage_is_tried_again():
    """What is no HTTP is no refusal."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=lambda: server.accept()[0].close(), daemon=True)
        thread.start()
        assert webhooks.post(f"http://127.0.0.1:{server.getsockname()[1]}/", b"{}", 5) == webhooks.NOT_TAKEN
        thread.join(5)


def test_controls_in_a_text_keep_no_program_from_being_started(make, tmp_path):
    """A venue's text with a NUL reaches the hook, made plain."""
    out = tmp_path / "out"
    alerts, said = make(command=python(f"import sys; open({str(out)!r}, 'w').write(sys.argv[1])"))
    alerts.tell(Condition("halt", "halt:all\0", "EXCHANGE\0PAUSED"), 1)
    wait("the hook", lambda: out.exists() and out.read_text(), alerts=alerts)
    assert out.read_text() == "EXCHANGE?PAUSED" and not said


def test_a_command_that_is_no_program_is_named_before_it_is_needed(make):
    assert "no/such" in make(command=["/no/such/program"])[0].problem()
    assert make(command=[sys.executable])[0].problem() == ""
    assert make()[0].problem() == "" and not make()[0].wanted


def test_children_get_little_of_the_environment(monkeypatch):
    """Secrets of the shell stay out; what certificates, paths and locale need goes in; the rest by name."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    monkeypatch.setenv("MY_SETTING", "1")
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/ca.pem")
    found = child_environment()
    assert (
        found["SSL_CERT_FILE"] == "/etc/ca.pem"
        and found["PYTHONPATH"] == str(ROOT)
        and found["PYTHONSAFEPATH"] == "1"
    )
    assert "PATH" in found and not {"AWS_SECRET_ACCESS_KEY", "MY_SETTING"} & set(found)
    assert child_environment(["MY_SETTING"])["MY_SETTING"] == "1"


def test_what_the_working_directory_or_pythonpath_hold_is_never_the_engines(monkeypatch, tmp_path):
    """A file named as one of the engine's libraries does not run in a process that holds keys; strategies find theirs."""
    seen = tmp_path / "seen"
    (tmp_path / "setproctitle.py").write_text(f"open({str(seen)!r}, 'w').write('ran')\n")
    (tmp_path / "mine_alone.py").write_text("VALUE = 7\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT), str(tmp_path))))
    text = "import setproctitle; from engine.runtime.environment import add_users_path as add; add(); import mine_alone; print(mine_alone.VALUE)"
    done = subprocess.run(python(text), cwd=tmp_path, env=child_environment(), capture_output=True, text=True, timeout=30, check=False)  # fmt: skip
    assert done.stdout == "7\n", done.stderr
    assert not seen.exists()
