"""`scripts/venue` as a process of its own, for clients that share nothing with the engine."""

import json
import os
import signal
import subprocess
import sys

from integration.tiny_fix import TinyFix

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Alone:
    def __init__(self, run, *arguments):
        self.run = run
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "engine",
                "venue",
                "--run",
                str(run),
                "--json",
                "--for",
                "60s",
                *arguments,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        self.places = json.loads(line)

    def key(self, account, session, number=0):
        found = [k for k in self.places["keys"] if k["account"] == account and session in k["sessions"]]
        return found[number]

    def client(self, session, account="main", number=0):
        key = self.key(account, session, number)
        return TinyFix(
            self.places["sessions"][session], self.places["ca"], key["api_key"], key["private_key"], session
        )

    def fault(self, *arguments):
        return subprocess.run(
            [sys.executable, "-m", "engine", "venue", "fault", *arguments, "--run", str(self.run)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
        )

    def end(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        out, err = self.process.communicate(timeout=15)
        return self.process.returncode, out, err
