"""`scripts/venue` over real TLS, with a client that shares nothing with the engine."""

import json
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from integration.tiny_fix import TinyFix
from integration.venue_alone import ROOT


def order(cl_ord_id, side, qty, price, tif=1):
    return f"11={cl_ord_id}|38={qty}|40=2|44={price}|54={side}|55=BTC-PERP|59={tif}|"


def test_a_foreign_client_logs_on_over_tls_and_trades_and_sigterm_logs_it_out(alone):
    venue = alone()
    assert list(venue.places) == ["sessions", "ca", "keys"]
    assert list(venue.places["sessions"]) == ["KalshiNR", "KalshiRT", "KalshiDC", "KalshiMD"]
    assert list(venue.places["keys"][0]) == ["api_key", "private_key", "account", "sessions"]
    client = venue.client("KalshiNR")
    answer = client.logon()
    assert (answer[35], answer[34], answer[108], answer[141]) == ("A", "1", "30", "Y")
    client.send("D", order("a1", 1, 3, "25.0000", 3))  # far through the synthetic offer
    report = client.until(t35="8", t11="a1", t150="F")
    assert report[704] == report[14] and report[1057] == "Y" and report[138] == "USD"
    data = venue.client("KalshiMD")
    assert data.logon("")[35] == "A"
    data.send("V", "263=1|146=2|55=BTC-PERP|55=ETH-PERP|")
    assert data.until(t35="W")[55] == "BTC-PERP"
    assert int(data.until(t35="X")[268]) > 0
    copy = venue.client("KalshiDC")
    copy.logon("")
    copy.send("U1", f"21001={report[17]}|")
    assert copy.until(t35="8")[17] == report[17]
    copy.until(t35="U2")
    code, _, err = venue.end()
    assert (code, "Traceback" in err) == (0, False)
    assert client.until(t35="5")[58] == "the venue stops"
    for each in (client, data, copy):
        each.close()


def test_a_registered_key_logs_on_and_kalshi_rt_goes_on_after_the_venues_restart(alone, tmp_path):
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = serialization.Encoding.PEM
    (tmp_path / "mine.pub").write_bytes(
        private.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    mine = tmp_path / "mine.key"
    form = serialization.PrivateFormat.PKCS8
    mine.write_bytes(private.private_bytes(pem, form, serialization.NoEncryption()))
    venue = alone("--key", f"my-own-key={tmp_path / 'mine.pub'}")
    assert venue.places["keys"][-1] == {
        "api_key": "my-own-key",
        "private_key": "",
        "account": "main",
        "sessions": ["KalshiNR", "KalshiRT", "KalshiDC", "KalshiMD"],
    }

    def connect(venue):
        return TinyFix(
            venue.places["sessions"]["KalshiRT"], venue.places["ca"], "my-own-key", mine, "KalshiRT"
        )

    first = connect(venue)
    assert first.logon()[34] == "1"
    first.send("D", order("r1", 1, 3, "1.0000"))
    refused = first.until(t35="8", t11="r1")
    assert refused[58] == "INVALID_ORDER"  # outside the band
    first.send("D", order("r2", 1, 3, "19.0000"))
    assert first.until(t35="8", t11="r2")[34] == "3"
    first.close()
    venue.process.kill()
    venue.process.communicate()
    venue = alone()
    again = connect(venue)
    again.seq = first.seq
    assert again.logon(head="")[34] == "4"  # continued
    again.send("2", "7=2|16=0|")
    resent = again.until(t35="8", t34="2")
    assert (resent[43], resent[11], resent[122] <= resent[52]) == ("Y", "r1", True)
    assert again.until(t35="8", t34="3")[17] != ""
    fill = again.until(t35="4")
    assert (fill[123], fill[34], fill[36]) == ("Y", "4", "5")
    again.send("F", "11=r3|41=r2|54=1|55=BTC-PERP|")
    assert again.until(t35="8", t11="r3")[150] == "4"
    again.close()
    assert venue.end(signal.SIGINT)[0] == 0


def test_faults_come_by_a_command(alone):
    venue = alone()
    client = venue.client("KalshiNR")
    client.logon()
    done = venue.fault("internal_error")
    assert (done.returncode, done.stdout) == (0, "ok\n")
    client.send("D", order("f1", 1, 1, "19.0000"))
    assert client.until(t35="8", t11="f1")[58] == "INTERNAL_ERROR"
    wrong = venue.fault("split")
    assert (wrong.returncode, wrong.stdout) == (1, "split needs a session\n")
    client.close()


def test_mistakes_are_one_line(tmp_path):
    def said(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "engine", "venue", "--run", str(tmp_path / "r"), *arguments],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
        )
        assert "Traceback" not in done.stderr
        return done.returncode, done.stderr.strip().splitlines()[-1]

    assert said("--key", "x") == (2, "error: --key x: must be API_KEY=PUBLIC_KEY_FILE")
    assert said("--key", "x=/nowhere")[0] == 4
    assert said("--account", "nobody")[0] == 2
    assert said("--config", "/nowhere.toml")[0] == 4


def test_the_dictionary_is_quickfix_xml():
    done = subprocess.run(
        [sys.executable, "-m", "engine", "venue", "--dictionary"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    root = ET.fromstring(done.stdout)
    golden = ET.parse(os.path.join(ROOT, "tests", "golden", "kalshi-margin-dictionary.xml")).getroot()

    def shape(tree):
        return {
            message.get("msgtype"): sorted(
                (child.tag, child.get("name"), child.get("required"), len(child)) for child in message
            )
            for message in tree.find("messages")
        }

    def fields(tree):
        kinds = {"CURRENCY": "STRING"}
        return {
            (f.get("number"), f.get("name"), kinds.get(f.get("type"), f.get("type")))
            for f in tree.find("fields")
        }

    assert shape(root) == shape(golden)
    assert fields(root) == fields(golden)


def test_the_engine_trades_against_a_venue_that_it_did_not_start(alone, tmp_path):
    """Host, port, CA, key id and key path per session are configuration; so is the server's name."""
    venue = alone("--config", "configs/demo.toml")
    arguments = ["--set", "engine.environment=demo"]
    for name, session, number in (
        ("order_entry", "KalshiNR", 0),
        ("market_data", "KalshiMD", 0),
        ("drop_copy", "KalshiDC", 0),
    ):
        key, place = venue.key("main", session, number), venue.places["sessions"][session]
        for setting in (
            f"host={place['host']}",
            f"port={place['port']}",
            "server_name=localhost",
            f"ca_file={venue.places['ca']}",
            f"key_id={key['api_key']}",
            f"key_file={key['private_key']}",
        ):
            arguments += ["--set", f"sessions.{name}.{setting}"]
    done = subprocess.run(
        [sys.executable, "-m", "engine", "launch", "configs/demo.toml", "--for", "6s", "--plain", "--json",
         "--run", str(tmp_path / "engine"), *arguments],
        capture_output=True, text=True, cwd=ROOT, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    summary = json.loads(done.stdout.strip().splitlines()[-1])
    assert summary["fills"] > 0, summary
