"""Keys of the embedded venue: made once, per account and purpose; registered ones are copied in."""

import os
import stat

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from engine.errors import KeyFileError
from engine.net import keys
from engine.runtime import venue_keys


@pytest.fixture
def quick_keys(monkeypatch):
    """RSA keys take a while; what is asked here doesn't depend on them."""

    def make(private, public):
        for path in (private, public):
            keys.write_private(path, os.urandom(8))

    monkeypatch.setattr(keys, "make_rsa_key", make)


def test_each_account_has_a_key_for_each_purpose_and_keeps_it(tmp_path, quick_keys):
    directory = str(tmp_path / "venue")
    first = venue_keys.ensure(directory, "127.0.0.1", ["second"])
    assert [(r.account, r.purpose) for r in first] == [
        (account, purpose)
        for account in ("main", "second")
        for purpose in ("order_entry", "market_data", "drop_copy", "listener")
    ]
    assert venue_keys.ensure(directory, "127.0.0.1", ["second", "third"])[:8] == first
    assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(first[0].private_key).st_mode) == 0o600


def test_a_registered_key_replaces_itself_and_is_copied(tmp_path):
    directory = str(tmp_path / "venue")
    os.makedirs(directory)
    private, public = str(tmp_path / "a.key"), str(tmp_path / "a.pub")
    keys.make_rsa_key(private, public)
    for account in ("main", "second"):
        record = venue_keys.register(directory, "mine", public, account)
    assert venue_keys.load(directory) == [record]
    assert (record.account, record.private_key) == ("second", "")
    os.unlink(public)
    assert keys.load_public_key(record.public_key)


@pytest.mark.parametrize("api_key", ["", "a=b", "a\x01b", "é", "x" * 65])
def test_an_api_key_must_fit_into_a_fix_field(tmp_path, api_key):
    with pytest.raises(KeyFileError):
        venue_keys.register(str(tmp_path), api_key, "/nowhere")


def test_a_key_of_fewer_than_2048_bits_is_refused(tmp_path):
    """venue.md section 2: RSA of 2048 bits."""
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    (tmp_path / "short.pub").write_bytes(short.public_key().public_bytes(serialization.Encoding.PEM, form))
    with pytest.raises(
        KeyFileError, match=r"short.pub: has 1024 bits; the venue takes RSA keys of 2048 and more"
    ):
        venue_keys.register(str(tmp_path), "mine", str(tmp_path / "short.pub"))
    assert venue_keys.load(str(tmp_path)) == []
