"""TLS as a server: contexts from the settings' certificate or our own, and their renewal."""

import os
import ssl
from typing import Final, NoReturn

from cmail.net.settings import TlsSettings
from cmail.settings import SettingError, SettingProblem

# Where the certificate is that we make ourselves (storage/self_signed writes it).
OWN_CERTIFICATE: Final = os.path.join("tls", "certificate.pem")
OWN_KEY: Final = os.path.join("tls", "key.pem")

# For TLS 1.2; those of 1.3 are all good. Forward secrecy always. CBC at the end: a peer that has nothing
# better would otherwise send in the clear (RFC 7435 §3).
CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:ECDHE+AES:!aNULL:!eNULL:!PSK:!SRP"


def server_context(settings: TlsSettings, data_dir: str) -> ssl.SSLContext:
    """A context with the certificate that the settings name, else our own from the data folder.
    SettingError says what is wrong with it. Reads files: before rights are dropped, or in a thread."""
    certificate_file, key_file = _files(settings, data_dir)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # rule 20
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_SINGLE_ECDH_USE
    context.num_tickets = 1  # one more would only be octets: clients take the last
    _check_readable("tls.certificate_file", certificate_file, "the certificate")
    if key_file:
        _check_readable("tls.key_file", key_file, "the key")
    try:
        context.load_cert_chain(certificate_file, key_file or None, _no_password)
    except (ssl.SSLError, ValueError) as error:
        _refuse(error, certificate_file, key_file)
    return context


class ServerTls:
    """The context for new connections. It is replaced as a whole, so a renewal that fails changes
    nothing, and open connections go on with the old one."""

    def __init__(self, settings: TlsSettings, data_dir: str) -> None:
        self._data_dir = data_dir
        self.context = server_context(settings, data_dir)

    def reload(self, settings: TlsSettings) -> None:
        """The files were renewed, or the settings name others. SettingError: the old one stays."""
        self.context = server_context(settings, self._data_dir)


def _files(settings: TlsSettings, data_dir: str) -> tuple[str, str]:
    if settings.certificate_file:
        return settings.certificate_file, settings.key_file
    if settings.key_file:
        reason = "a key is named, but no certificate"
        example = 'certificate_file = "/etc/ssl/mail.example.org.pem"'
        raise SettingError((SettingProblem("tls.certificate_file", reason, example),))
    return os.path.join(data_dir, OWN_CERTIFICATE), os.path.join(data_dir, OWN_KEY)


def _check_readable(key: str, path: str, what: str) -> None:
    try:
        with open(path, "rb") as file:
            file.read(1)
    except OSError as error:
        reason = f"{what} {path!r} cannot be read: {error.strerror}"
        raise SettingError((SettingProblem(key, reason),)) from error


def _refuse(error: ssl.SSLError | ValueError, certificate_file: str, key_file: str) -> NoReturn:
    """What OpenSSL means."""
    name = getattr(error, "reason", None) or ""
    key = "tls.key_file"
    if name == "KEY_VALUES_MISMATCH":
        reason = f"the key in {key_file or certificate_file!r} is not that of {certificate_file!r}"
    elif isinstance(error, ValueError) and not isinstance(error, ssl.SSLError):
        reason = f"the key in {key_file or certificate_file!r} asks for a password; store it without one"
    elif not _has_pem(certificate_file, b"CERTIFICATE-----"):
        key, reason = "tls.certificate_file", f"there is no PEM certificate in {certificate_file!r}"
    elif not _has_pem(key_file or certificate_file, b"PRIVATE KEY-----"):
        reason = f"there is no PEM key in {key_file or certificate_file!r}"
    else:
        key = "tls.certificate_file"
        reason = f"{certificate_file!r} and its key cannot be used: {name or error}"
    raise SettingError((SettingProblem(key, reason),)) from error


def _has_pem(path: str, mark: bytes) -> bool:
    with open(path, "rb") as file:
        return mark in file.read(1 << 20)


def _no_password() -> str:
    raise ValueError("a key with a password")  # OpenSSL would ask at the terminal
