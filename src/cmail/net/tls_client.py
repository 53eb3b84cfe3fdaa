"""TLS as a client: contexts that verify name and chain, and those that verify nothing (opportunistic)."""

import os
import ssl
from functools import lru_cache


def client_context(ca_file: str, *, is_verified: bool) -> ssl.SSLContext:
    """A context; `ca_file` "" means the system's authorities. OSError, ssl.SSLError: the file is no good.
    Contexts are kept: to load the system's authorities costs 20 ms and some MiB."""
    if not is_verified:
        return _unverified()
    changed_ns = os.stat(ca_file).st_mtime_ns if ca_file else 0
    return _verified(ca_file, changed_ns)


@lru_cache(maxsize=4)
def _verified(ca_file: str, changed_ns: int) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


@lru_cache(maxsize=1)
def _unverified() -> ssl.SSLContext:
    """Encrypts against who only listens (RFC 7435): no certificate is a reason to send in the clear."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
