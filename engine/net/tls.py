"""TLS contexts: verification always on, TLS 1.2 or higher, and errors that say what is wrong."""

import ssl

from engine.errors import KeyFileError


def client_context(ca_file: str = "") -> ssl.SSLContext:
    """Return a context that verifies the server against `ca_file`, or the system's authorities. Raises KeyFileError."""
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except FileNotFoundError:
        raise KeyFileError(f"{ca_file}: there is no such file of certificate authorities") from None
    except (ssl.SSLError, OSError) as error:
        raise KeyFileError(f"{ca_file}: can't be used as certificate authorities (PEM): {error}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Whatever SSLKEYLOGFILE says: no session secret goes to a disk.
    context.keylog_filename = None  # type: ignore[assignment]
    return context


def server_context(certificate: str, key: str) -> ssl.SSLContext:
    """Return the embedded venue's context. Raises KeyFileError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.num_tickets = 0
    try:
        context.load_cert_chain(certificate, key)
    except (ssl.SSLError, OSError) as error:
        raise KeyFileError(f"{certificate}, {key}: can't be used as a server certificate: {error}") from None
    return context


def explain(error: OSError, host: str) -> str:
    """Say in one sentence why a TLS connection did not come about."""
    if isinstance(error, ssl.SSLCertVerificationError):
        code, message = error.verify_code, error.verify_message
        if code == 10:
            return "certificate has expired; the venue must renew it, or the clock here is wrong"
        if code == 9:
            return "certificate is not valid yet; the clock here is wrong, or the venue's certificate is"
        if code in {18, 19, 20, 21}:
            return f"certificate is not signed by a known authority ({message}); set ca_file to the right one"
        if code in {62, 64}:
            return f"certificate is not for {host} ({message}); set host or server_name to the certificate's name"
        return f"certificate was refused: {message}"
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | ConnectionResetError):
        return "the other end closed the connection before TLS was up; check host and port"
    if isinstance(error, ssl.SSLError):
        if error.reason and "PROTOCOL" in error.reason:  # alerts and refusals alike
            return "the other end does not speak TLS 1.2 or newer, and nothing older is used"
        if error.reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"}:
            return "the other end does not speak TLS (plain TCP?); check host and port"
        return f"TLS failed: {error.reason or error}"
    return error.strerror or str(error)
