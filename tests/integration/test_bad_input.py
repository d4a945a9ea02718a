"""What a user gets wrong: one clear message each, the documented exit code, and nothing left running."""

import os
import socket

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from integration.harness import DEMO, FAST, ROOT, command, overrides

from engine.net import keys

KALSHI_DEMO = os.path.join(ROOT, "configs", "kalshi-demo.toml")


@pytest.fixture(scope="module")
def demo_keys(tmp_path_factory):
    """Arguments for Kalshi's demo configuration, with every host on this machine and good keys, and where they lie."""
    directory = tmp_path_factory.mktemp("keys")
    changes = {}
    for number, session in enumerate(("order_entry", "market_data", "drop_copy")):
        path = str(directory / f"{session}.pem")
        keys.make_rsa_key(path, str(directory / f"{session}.pub"))
        changes[f"sessions.{session}.host"] = "127.0.0.1"
        changes[f"sessions.{session}.key_file"] = path
        changes[f"sessions.{session}.key_id"] = f"00000000-0000-4000-8000-00000000000{number}"
    return directory, changes


def refused(changes, *arguments, config=KALSHI_DEMO):
    """Launch with a mistake; return the one message."""
    done = command("launch", str(config), "--plain", *arguments, *overrides(changes))
    assert done.returncode == 4, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return done.stderr.strip()


def test_good_keys_pass_the_check(demo_keys):
    """`--check` of a filled-in configuration says that it is good and starts nothing."""
    _, changes = demo_keys
    done = command("launch", KALSHI_DEMO, "--check", *overrides(changes))
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("configuration, keys and strategies are good; nothing was started\n")


@pytest.mark.parametrize("arguments", [(), ("--check",)])
def test_a_missing_key_file_is_named(demo_keys, tmp_path, arguments):
    """The file, and what is needed."""
    _, changes = demo_keys
    path = str(tmp_path / "none.pem")
    text = refused(changes | {"sessions.drop_copy.key_file": path}, "--run", str(tmp_path / "r"), *arguments)
    assert f"{path}: there is no such key file; an RSA private key in PEM (PKCS#8) is needed" in text


def test_a_key_that_others_can_read_is_refused(demo_keys, tmp_path):
    """With the command that mends it."""
    directory, changes = demo_keys
    path = tmp_path / "open.pem"
    path.write_bytes((directory / "drop_copy.pem").read_bytes())
    path.chmod(0o644)
    text = refused(changes | {"sessions.drop_copy.key_file": str(path)}, "--run", str(tmp_path / "r"))
    assert (
        f"{path}: may be read or written by others (mode 0644); make it yours alone: chmod 600 {path}" in text
    )


def test_a_key_that_is_not_rsa_is_refused(demo_keys, tmp_path):
    """An elliptic-curve key is a key, but not one that the venue takes."""
    _, changes = demo_keys
    path = tmp_path / "ec.pem"
    keys.write_private(
        str(path),
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
    text = refused(changes | {"sessions.drop_copy.key_file": str(path)}, "--run", str(tmp_path / "r"))
    assert f"{path}: is not an RSA key; the venue takes RSA of at least 2048 bits" in text


def test_an_unknown_key_is_refused_with_a_suggestion():
    """File, key, value and what was probably meant."""
    text = refused({"engine.shutdwn_s": 3}, config=DEMO)
    assert text == f"error: {DEMO}: engine.shutdwn_s: unknown key (its value is 3); did you mean shutdown_s?"


def test_production_needs_its_own_word(demo_keys):
    """Environment production without --production is refused."""
    _, changes = demo_keys
    text = refused(changes | {"engine.environment": "production"})
    assert "production" in text and "--production" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strategies.quote_maker.strategy": "quote_maker:Nobody"}, "no class 'Nobody' there"),
        ({"strategies.quote_maker.strategy": "nothere:Nobody"}, "there is no module 'nothere'"),
        ({"strategies.quote_maker.config.qyt": 5}, "unknown key 'qyt' (value 5); did you mean 'qty'?"),
        ({"strategies.quote_maker.config.qty": "many"}, "qty"),
        (
            {"strategies.quote_maker.strategy": "faulty:Needs", "strategies.quote_maker.config": {}},
            "missing key 'edge'",
        ),
    ],
)
def test_the_check_loads_strategies_with_their_settings(changes, message):
    """Without starting anything."""
    text = refused(changes, "--check", config=DEMO)
    assert "strategies.quote_maker (" in text and message in text


def test_what_shows_only_at_the_start_ends_the_engine(launch):
    """A strategy that doesn't exist, a Config that doesn't fit, a port in use: said, exit code 4, nothing left running."""
    taken = socket.socket()
    with taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        cases = [
            (
                {"strategies.quote_maker.strategy": "quote_maker:Nobody"},
                "strategy.quote_maker: can't start: [strategies.quote_maker] strategy = 'quote_maker:Nobody': no class 'Nobody' there",
            ),
            (
                {"strategies.momentum_taker.config.qty": 0},
                "strategy.momentum_taker: can't start: [strategies.momentum_taker.config]: qty = 0: at least 1 contract",
            ),
            (
                {"venue.ports.KalshiNR": port},
                f"venue: can't start: venue.ports.KalshiNR = {port}: the embedded venue can't listen there on 127.0.0.1: Address already in use",
            ),
        ]
        engines = [(launch("--plain", changes=FAST | changes), message) for changes, message in cases]
        for engine, message in engines:
            assert engine.wait() == 4, engine.said
            assert message in engine.said
            assert "Traceback" not in engine.said
            assert "TRADING" not in engine.said
            assert engine.living() == {}
