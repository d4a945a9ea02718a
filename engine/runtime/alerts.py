"""Alerts: each is handed to the user's command, to the user's webhook, or to both.

A hook is a process of its own in a session of its own, started and waited for by a thread of its own, without any of
the engine's descriptors and with little of its environment; after `timeout_s` it is killed with all that it started.
So whatever a hook does, hangs, floods or dies, costs the supervisor nothing but a line that says so, and the processes
that trade nothing at all. More alerts than HOOKS_MAX at once wait for one another.
"""

import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from engine.common.clock import iso_time
from engine.config import Config
from engine.runtime.conditions import Condition
from engine.runtime.environment import child_environment
from engine.runtime.plain_text import plain

HOOKS_MAX: Final = 16
WAITING_MAX: Final = 1000
CLOSE_S: Final = 3.0
TEXT_MAX: Final = 2000
FIELDS: Final = ("kind", "key", "text", "engine")


class Alerts:
    """Hands alerts to hooks.

    Args:
        config: with `[alerts]`. say: tells the operator that a hook failed (level, text).
    """

    def __init__(self, config: Config, say: Callable[[str, str], None]) -> None:
        self._alerts = config.alerts
        self._name = config.engine.name
        self._environment_name = config.engine.environment
        self._environment = child_environment(config.engine.pass_environment)
        self._say = say
        self._waiting: deque[tuple[list[str], bytes, dict[str, str]]] = deque()
        self._failures: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._threads: set[threading.Thread] = set()
        self.told = 0
        self.failed = 0

    @property
    def wanted(self) -> bool:
        """Whether there is anybody to alert."""
        return bool(self._alerts.command or self._alerts.webhook)

    def problem(self) -> str:
        """Return what is wrong with the command, before it is needed; empty when it can be started."""
        command = self._alerts.command
        if not command or shutil.which(command[0], path=self._environment.get("PATH")):
            return ""
        return f"alerts.command: {command[0]!r} is no program that can be started"

    def tell(self, condition: Condition, wall_ns: int) -> None:
        """Alert the user; returns at once."""
        self.told += 1
        alert = {
            "engine": self._name,
            "environment": self._environment_name,
            "kind": condition.kind,
            "key": plain(condition.key, TEXT_MAX),
            "text": plain(
                condition.text, TEXT_MAX
            ),  # a NUL of the venue's would keep the program from being started
            "time": iso_time(wall_ns),
        }
        variables = {f"ALERT_{field.upper()}": alert[field] for field in FIELDS}
        if self._alerts.command:
            command = filled(self._alerts.command, alert)
            self._waiting.append((command, json.dumps(alert).encode() + b"\n", variables))
        if self._alerts.webhook:
            command = [sys.executable, "-m", "engine.runtime.webhook"]
            # by standard input: the address is often a secret, and arguments can be read by everybody on the machine
            posted = {"url": self._alerts.webhook, "timeout_s": self._alerts.timeout_s, "alert": alert}
            self._waiting.append((command, json.dumps(posted).encode(), {}))
        while len(self._waiting) > WAITING_MAX:
            self._waiting.popleft()
            self._failures.put("too many alerts wait for hooks that don't end; the oldest is dropped")
        self.poll()

    def poll(self) -> None:
        """Start what waits, and say what failed; call it often."""
        self._threads = {thread for thread in self._threads if thread.is_alive()}
        while self._waiting and len(self._threads) < HOOKS_MAX:
            hook = self._waiting.popleft()
            thread = threading.Thread(target=self._run, args=hook, name="alert", daemon=True)
            self._threads.add(thread)
            try:
                thread.start()
            except RuntimeError as error:  # no more threads on this machine
                self._threads.discard(thread)
                self._failures.put(f"an alert's hook can't be started: {error}")
        with contextlib.suppress(queue.Empty):
            while True:
                problem = self._failures.get_nowait()
                self.failed += 1
                self._say("warning", problem)

    def close(self) -> None:
        """Give what runs a moment to end."""
        deadline = time.monotonic() + CLOSE_S
        while (self._threads or self._waiting) and time.monotonic() < deadline:
            self.poll()
            time.sleep(0.02)
        self.poll()

    # -- in a thread of its own

    def _run(self, command: list[str], data: bytes, variables: dict[str, str]) -> None:
        environment = {**self._environment, **variables}
        if variables:  # the user's own program
            environment.pop("PYTHONPATH", None)
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env=environment,
            )
        except (OSError, ValueError) as error:
            self._failures.put(f"the alert hook {command[0]!r} can't be started: {error}")
            return
        timeout_s = self._alerts.timeout_s
        name = (
            "the webhook"
            if command[0] == sys.executable and not variables
            else f"the alert hook {command[0]!r}"
        )
        try:
            process.communicate(data, timeout_s)
        except subprocess.TimeoutExpired:
            self._failures.put(f"{name} did not end within {timeout_s} s and was killed")
        except OSError as error:
            self._failures.put(f"{name}: {error}")
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)  # whatever it started
        process.wait()
        if process.returncode > 0:
            self._failures.put(f"{name} ended with code {process.returncode}")


def filled(command: list[str], alert: dict[str, str]) -> list[str]:
    """Return a command with `{kind}`, `{key}`, `{text}` and `{engine}` filled in; without any, the text is added last."""
    found = []
    for argument in command:
        text = argument
        for field in FIELDS:
            text = text.replace("{" + field + "}", alert[field])
        found.append(text)
    return found if found != command else [*command, alert["text"]]
