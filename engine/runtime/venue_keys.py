"""Keys and certificates of the embedded venue: made on first start in `<run>/venue`, kept from then on."""

import json
import os
import uuid
from typing import Final

import msgspec

from engine.errors import RunDirError
from engine.net import keys

SESSIONS: Final = ("KalshiNR", "KalshiRT", "KalshiDC", "KalshiMD")
MAIN_ACCOUNT: Final = "main"
KEYS_FILE: Final = "keys.json"


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


def ensure(directory: str, host: str) -> list[KeyRecord]:
    """Make what isn't there yet: a certificate authority, a server certificate, and a key pair for each purpose."""
    os.makedirs(directory, mode=0o700, exist_ok=True)
    if not all(
        os.path.exists(os.path.join(directory, name)) for name in ("ca.pem", "server.pem", "server.key")
    ):
        keys.make_certificates(directory, list(dict.fromkeys((host, "localhost", "127.0.0.1"))))
    records = load(directory)
    known = {record.purpose for record in records}
    missing = [purpose for purpose in PURPOSES if purpose not in known]
    for purpose in missing:
        private, public = os.path.join(directory, f"{purpose}.key"), os.path.join(directory, f"{purpose}.pub")
        keys.make_rsa_key(private, public)
        records.append(
            KeyRecord(
                api_key=str(uuid.uuid4()),
                account=MAIN_ACCOUNT,
                purpose=purpose,
                sessions=PURPOSES[purpose],
                private_key=os.path.abspath(private),
                public_key=os.path.abspath(public),
            )
        )
    if missing:
        save(directory, records)
    return records


def save(directory: str, records: list[KeyRecord]) -> None:
    """Write the list of keys down, readable by its owner only."""
    text = json.dumps(msgspec.to_builtins(records), indent=1)
    keys.write_private(os.path.join(directory, KEYS_FILE), text.encode())
