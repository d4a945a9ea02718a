"""Keys and certificates of the embedded venue: made on first start in `<run>/venue`, kept from then on."""

import hashlib
import json
import os
import uuid
from collections.abc import Iterable
from typing import Final

import msgspec

from engine.errors import KeyFileError, RunDirError
from engine.net import keys

SESSIONS: Final = ("KalshiNR", "KalshiRT", "KalshiDC", "KalshiMD")
MAIN_ACCOUNT: Final = "main"
KEYS_FILE: Final = "keys.json"
KEY_BITS_MIN: Final = 2048  # venue.md section 2


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One API key of the embedded venue.

    Attributes:
        purpose: what the engine uses it for (`order_entry`, `market_data`, `drop_copy`, `listener`) or a user's own word.
        sessions: session types that it may open; empty means all.
        private_key: path, empty for a key that was registered from outside.
    """

    api_key: str
    account: str
    purpose: str
    sessions: list[str] = []
    private_key: str = ""
    public_key: str = ""


PURPOSES: Final = {
    "order_entry": ["KalshiNR", "KalshiRT"],
    "market_data": ["KalshiMD"],
    "drop_copy": ["KalshiDC"],
    "listener": ["KalshiNR", "KalshiRT"],
}


def load(directory: str) -> list[KeyRecord]:
    """Return the keys that were made, empty before. Raises RunDirError when the list is damaged."""
    path = os.path.join(directory, KEYS_FILE)
    try:
        with open(path, "rb") as file:
            return msgspec.json.decode(file.read(), type=list[KeyRecord])
    except FileNotFoundError:
        return []
    except (OSError, msgspec.MsgspecError) as error:
        raise RunDirError(
            f"{path}: can't be read: {error}; remove the directory to have new keys made"
        ) from None


def ensure(directory: str, host: str, accounts: Iterable[str] = ()) -> list[KeyRecord]:
    """Make what isn't there yet: a certificate authority, a server certificate, and a key pair for each purpose.

    Args:
        directory: of the venue, made 0700. host: that it listens on, for the certificate.
        accounts: besides the engine's own, each with keys of its own for every purpose.
    """
    os.makedirs(directory, mode=0o700, exist_ok=True)
    if not all(
        os.path.exists(os.path.join(directory, name)) for name in ("ca.pem", "server.pem", "server.key")
    ):
        keys.make_certificates(directory, list(dict.fromkeys((host, "localhost", "127.0.0.1"))))
    records = load(directory)
    known = {(record.account, record.purpose) for record in records}
    missing = [
        (account, purpose)
        for account in dict.fromkeys((MAIN_ACCOUNT, *accounts))
        for purpose in PURPOSES
        if (account, purpose) not in known
    ]
    for account, purpose in missing:
        stem = purpose if account == MAIN_ACCOUNT else f"{account}.{purpose}"
        private, public = os.path.join(directory, f"{stem}.key"), os.path.join(directory, f"{stem}.pub")
        keys.make_rsa_key(private, public)
        records.append(
            KeyRecord(
                api_key=str(uuid.uuid4()),
                account=account,
                purpose=purpose,
                sessions=PURPOSES[purpose],
                private_key=os.path.abspath(private),
                public_key=os.path.abspath(public),
            )
        )
    if missing:
        save(directory, records)
    return records


def register(directory: str, api_key: str, public_key: str, account: str = MAIN_ACCOUNT) -> KeyRecord:
    """Let a key in whose private half stays outside; the file is copied, so that it may go.

    Args:
        directory: of the venue. api_key: SenderCompID(49). public_key: path of an RSA public key, PEM.

    Raises:
        KeyFileError: the file is no RSA public key, or the API key can't stand in a FIX message.
    """
    if not api_key.isascii() or not api_key.isprintable() or "=" in api_key or not 0 < len(api_key) <= 64:
        raise KeyFileError(f"{api_key!r}: an API key is 1 to 64 printable ASCII characters without '='")
    bits = keys.load_public_key(public_key).key_size
    if bits < KEY_BITS_MIN:
        raise KeyFileError(
            f"{public_key}: has {bits} bits; the venue takes RSA keys of {KEY_BITS_MIN} and more"
        )
    with open(public_key, "rb") as file:
        data = file.read()
    records = [record for record in load(directory) if record.api_key != api_key]
    copy = os.path.join(directory, f"registered-{hashlib.sha256(api_key.encode()).hexdigest()[:16]}.pub")
    keys.write_private(copy, data)
    record = KeyRecord(
        api_key=api_key, account=account, purpose="registered", sessions=list(SESSIONS), public_key=copy
    )
    save(directory, [*records, record])
    return record


def save(directory: str, records: list[KeyRecord]) -> None:
    """Write the list of keys down, readable by its owner only."""
    text = json.dumps(msgspec.to_builtins(records), indent=1)
    keys.write_private(os.path.join(directory, KEYS_FILE), text.encode())
