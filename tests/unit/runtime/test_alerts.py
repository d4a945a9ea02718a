"""Hooks get every alert once, and whatever they do harms nobody."""

import http.server
import json
import os
import sys
import threading
import time

import msgspec
import pytest

from engine import config_loader
from engine.config import AlertsConfig
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
        self.send_response(self.answers.pop(0) if self.answers else 200)
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
    assert found["SSL_CERT_FILE"] == "/etc/ca.pem" and found["PYTHONPATH"].startswith(ROOT)
    assert "PATH" in found and not {"AWS_SECRET_ACCESS_KEY", "MY_SETTING"} & set(found)
    assert child_environment(["MY_SETTING"])["MY_SETTING"] == "1"
