"""TLS on the connections to the servers."""

from __future__ import annotations

from typing import Any, NamedTuple, Optional


class Tls(NamedTuple):
    """How servers are spoken to. `ca`: a file of PEM certificates, or a folder; None: the system's.
    `certificate` and `key`: files of what the client shows. `server_name`: what certificates have to
    be for; None: the host that was given, or the node's own address or name. `verify=False`: servers
    are not asked who they are."""

    ca: Optional[str] = None
    certificate: Optional[str] = None
    key: Optional[str] = None
    server_name: Optional[str] = None
    verify: bool = True


# Arguments of redis-py's (ssl_…, as attributes) that the library has nothing for.
_NOT_SUPPORTED = {
    "ca_data": "ssl_ca_data",
    "certificate_password": "ssl_password",
    "password": "ssl_password",
    "ssl_min_version": "ssl_min_version",
    "min_version": "ssl_min_version",
    "ssl_ciphers": "ssl_ciphers",
    "ciphers": "ssl_ciphers",
    "ssl_include_verify_flags": "ssl_include_verify_flags",
    "include_verify_flags": "ssl_include_verify_flags",
    "ssl_exclude_verify_flags": "ssl_exclude_verify_flags",
    "exclude_verify_flags": "ssl_exclude_verify_flags",
    "ssl_validate_ocsp": "ssl_validate_ocsp",
    "ssl_validate_ocsp_stapled": "ssl_validate_ocsp_stapled",
}


def _refuse(argument: str, why: str = "is not supported") -> None:
    raise ValueError(f"redisroute: {argument} {why}")


def tls_of(connection: Any) -> Optional[Tls]:
    """What redis-py's arguments of a connection say; None: no TLS. ValueError for what cannot be.
    Where certificates are looked at, so are the names in them, whatever ssl_check_hostname says."""
    settings = getattr(connection, "ssl_context", connection)
    if not hasattr(settings, "cert_reqs"):
        return None
    for attribute, argument in _NOT_SUPPORTED.items():
        if settings is connection and attribute == "password":
            continue  # that of AUTH
        if getattr(settings, attribute, None):
            _refuse(argument)
    ca_path = getattr(settings, "ca_path", None)
    if settings.ca_certs and ca_path:
        _refuse("ssl_ca_path", "and ssl_ca_certs are not supported together")
    return Tls(
        settings.ca_certs or ca_path,
        settings.certfile,
        settings.keyfile,
        getattr(connection, "tls_server_name", None),
        int(settings.cert_reqs) != 0,
    )
