"""Private keys, signatures and certificates.

A private key is read by the session process that signs with it and by nobody else; it is refused when others could
read it, and it never reaches a log, a message or a strategy. Signature: RSA-PSS, SHA-256, MGF1-SHA-256, salt of the
digest's length (venue.md section 2).
"""

import base64
import datetime as dt
import hashlib
import os
import stat
from collections.abc import Callable

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

from engine.errors import KeyFileError

_PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=hashes.SHA256.digest_size)
_BITS_MIN = 2048


def _read_private(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno())
            if not stat.S_ISREG(mode.st_mode):
                raise KeyFileError(f"{path}: is not a file; an RSA private key in PEM (PKCS#8) is needed")
            if mode.st_mode & 0o077:
                raise KeyFileError(
                    f"{path}: may be read or written by others (mode {stat.S_IMODE(mode.st_mode):04o}); make it yours alone: chmod 600 {path}"
                )
            return file.read(1 << 20)
    except FileNotFoundError:
        raise KeyFileError(
            f"{path}: there is no such key file; an RSA private key in PEM (PKCS#8) is needed"
        ) from None
    except OSError as error:
        raise KeyFileError(f"{path}: can't be read: {error.strerror}") from None


def load_private_key(path: str) -> rsa.RSAPrivateKey:
    """Read an RSA private key, at least 2048 bits, PEM, readable by its owner only.

    Raises:
        KeyFileError: missing, readable by others, not a key, not RSA, encrypted or too short.
    """
    data = _read_private(path)
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except TypeError:
        raise KeyFileError(
            f"{path}: the key is encrypted; give a key without a passphrase, mode 0600"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise KeyFileError(f"{path}: is not a private key in PEM (PKCS#8)") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise KeyFileError(f"{path}: is not an RSA key; the venue takes RSA of at least {_BITS_MIN} bits")
    if key.key_size < _BITS_MIN:
        raise KeyFileError(f"{path}: the RSA key has {key.key_size} bits; at least {_BITS_MIN} are needed")
    return key


def signer(path: str) -> Callable[[bytes], str]:
    """Return a function that signs bytes with the key at `path` and gives base64 text. Raises KeyFileError."""
    key = load_private_key(path)

    def sign(message: bytes) -> str:
        return base64.b64encode(key.sign(message, _PSS, hashes.SHA256())).decode("ascii")

    return sign


def load_public_key(path: str) -> rsa.RSAPublicKey:
    """Read an RSA public key in PEM. Raises KeyFileError."""
    try:
        with open(path, "rb") as file:
            key = serialization.load_pem_public_key(file.read(1 << 20))
    except OSError as error:
        raise KeyFileError(f"{path}: can't be read: {error.strerror}") from None
    except (ValueError, UnsupportedAlgorithm):
        raise KeyFileError(f"{path}: is not a public key in PEM") from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise KeyFileError(f"{path}: is not an RSA public key")
    return key


def verifier(keys: dict[str, rsa.RSAPublicKey]) -> Callable[[str, bytes, str], bool]:
    """Return a function (api_key, message, base64 signature) -> whether that key signed the message."""

    def verify(api_key: str, message: bytes, signature: str) -> bool:
        key = keys.get(api_key)
        if key is None:
            return False
        try:
            key.verify(base64.b64decode(signature, validate=True), message, _PSS, hashes.SHA256())
        except (InvalidSignature, ValueError):
            return False
        return True

    return verify


def write_private(path: str, data: bytes) -> None:
    """Write a file that only its owner may read, atomically."""
    temporary = f"{path}.{os.getpid()}.tmp"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    os.replace(temporary, path)


def make_rsa_key(private_path: str, public_path: str) -> None:
    """Make an RSA key pair of 2048 bits for the embedded venue."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=_BITS_MIN)
    write_private(
        private_path,
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    write_private(public_path, public)


def make_certificates(
    directory: str, names: list[str], *, now: dt.datetime | None = None, days: int = 825
) -> None:
    """Make a certificate authority (`ca.pem`) and a server certificate (`server.pem`, `server.key`) for `names`."""
    now = now or dt.datetime.now(dt.UTC)
    ca_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Embedded venue test authority")])
    begin, end = now - dt.timedelta(days=1), now + dt.timedelta(days=days)

    def builder(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca_name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
        )

    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    ca_ski = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    ca = (
        builder(ca_name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(ca_ski, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    alternatives: list[x509.GeneralName] = []
    for name in names:
        try:
            import ipaddress

            alternatives.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            alternatives.append(x509.DNSName(name))
    server = (
        builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])]), server_key.public_key())
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_ski), critical=False)
        .add_extension(x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    write_private(os.path.join(directory, "ca.pem"), ca.public_bytes(pem))
    write_private(os.path.join(directory, "server.pem"), server.public_bytes(pem))
    write_private(
        os.path.join(directory, "server.key"),
        server_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def public_key_sha256(certificate_der: bytes) -> str:
    """Return the pin of a certificate: SHA-256 of its SubjectPublicKeyInfo, hex."""
    spki = x509.load_der_x509_certificate(certificate_der).public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )  # fmt: skip
    return hashlib.sha256(spki).hexdigest()
