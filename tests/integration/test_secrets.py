"""No secret is in any file, log or output of a whole run: private keys in any form, signatures, API keys.

The keys of the run are the plants: their numbers, their DER and PEM in raw bytes, hex, base64 and decimal are looked for everywhere.
"""

import base64
import os
import re

import pytest
from cryptography.hazmat.primitives import serialization
from integration.harness import FAST, command, wait_for

from engine.runtime import venue_keys

RT = {"sessions.order_entry.target_comp_id": "KalshiRT", "sessions.listener.target_comp_id": "KalshiNR"}
# A signature of a key of 2048 bits in base64: what RawData(96) of a Logon is.
SIGNATURE = re.compile(rb"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{342}==")


def forms(secret):
    """Every way in which 30 bytes of a secret may stand in a text: any alignment of base64, hex, raw."""
    needles = set()
    for at in range(0, len(secret) - 40, 30):
        part = secret[at : at + 30]
        needles |= {part, part.hex().encode(), part.hex().upper().encode()}
        for shift in range(3):
            needles.add(base64.b64encode(secret[at + shift : at + shift + 30]))
    return needles


def planted(run):
    """Return name to needles of every private key of the run, and the API keys."""
    found, api_keys = {}, []
    for record in venue_keys.load(os.path.join(run, "venue")):
        api_keys.append(record.api_key.encode())
        with open(record.private_key, "rb") as file:
            key = serialization.load_pem_private_key(file.read(), None)
        numbers = key.private_numbers()
        needles = set()
        for value in (numbers.d, numbers.p, numbers.q, numbers.dmp1, numbers.dmq1, numbers.iqmp):
            needles |= forms(value.to_bytes((value.bit_length() + 7) // 8, "big"))
            needles |= {str(value).encode(), f"{value:x}".encode()}
        found[record.purpose] = needles
    return found, api_keys


def files(run):
    """Return path to content of every file of a run, but the key store itself."""
    contents = {}
    for directory, _, names in os.walk(run):
        for name in names:
            path = os.path.join(directory, name)
            if not os.path.isfile(path) or (directory.endswith("venue") and name.endswith(".key")):
                continue
            with open(path, "rb") as file:
                contents[os.path.relpath(path, run)] = file.read()
    return contents


@pytest.fixture(scope="module")
def run(launch_shared):
    """A whole run on KalshiRT with a killed order entry, a debug look at everything, and what the tools print of it."""
    engine = launch_shared("--plain", "--json", changes=FAST | RT)
    engine.until_trading()
    engine.until_fills()
    engine.until_reconciled()
    engine.kill("order_entry")
    wait_for(
        "a second Logon", lambda: (c := engine.child("order_entry")) and c.restarts == 1, seen=engine._seen
    )
    engine.until_trading(30)
    tools = [engine.ctl("status"), engine.ctl("fault", "drop", "KalshiNR")]
    engine.interrupt()
    engine.wait(40)
    tools += [
        command("journal", "export", "--run", engine.run),
        command("journal", "export", "--actor", "drop_copy", "--run", engine.run),
        command("reconcile", "report", "--run", engine.run),
    ]
    contents = files(engine.run)
    contents["what the tools printed"] = "".join(tool.stdout + tool.stderr for tool in tools).encode()
    return engine, contents


def test_what_is_searched_is_there(run):
    """Raw FIX logs of all sessions with their Logons, journals, process logs, the run's own output."""
    _, contents = run
    for name in ("order_entry", "market_data", "drop_copy"):
        log = contents[f"logs/{name}.fix"]
        assert b"|35=A|" in log and b"|96=***|" in log
        assert contents[f"logs/{name}.log"]
    assert len(contents["state/order_entry.sqlite"]) > 10_000 and contents["out.0"]


def test_no_private_key_in_any_form_is_anywhere(run):
    engine, contents = run
    for purpose, needles in planted(engine.run)[0].items():
        for path, content in contents.items():
            hits = [needle for needle in needles if needle in content]
            assert not hits, f"{path} holds a part of the key of {purpose}: {hits[:1]}"


def test_no_private_key_is_in_pem_outside_the_key_store(run):
    _, contents = run
    assert [path for path, content in contents.items() if b"PRIVATE KEY-----" in content] == []


def test_no_signature_is_anywhere(run):
    """RawData(96) is a bearer of nothing once 30 s have passed, and is masked all the same."""
    _, contents = run
    for path, content in contents.items():
        if not path.startswith("venue/"):
            assert SIGNATURE.search(content) is None, path


def test_no_api_key_is_in_a_log_a_journal_or_an_output(run):
    """The configuration and the embedded venue's own records name them; nothing of the engine's does."""
    engine, contents = run
    for api_key in planted(engine.run)[1]:
        for path, content in contents.items():
            if path != "config.json" and not path.startswith(("venue/", "state/venue.")):
                assert api_key not in content, path


def test_every_file_is_its_owners_alone(run):
    """S1, S12: 0600 files in 0700 directories."""
    engine, _ = run
    for directory, names, found in os.walk(engine.run):
        for name in found:
            path = os.path.join(directory, name)
            if name.startswith(("out.", "err.")):
                continue  # the shell's, not the engine's
            assert os.lstat(path).st_mode & 0o077 == 0, path
        for name in names:
            assert os.lstat(os.path.join(directory, name)).st_mode & 0o077 == 0, name
