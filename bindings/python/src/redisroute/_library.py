"""The shared library, opened when it is first needed."""

from __future__ import annotations

import functools
import os
from typing import Any

import cffi

ffi = cffi.FFI()
ffi.cdef("""
    typedef struct redisRouteSession redisRouteSession;
    typedef struct {
        size_t size; int connect_timeout_ms; const char *read_policy;
        int tls; const char *tls_ca; const char *tls_certificate; const char *tls_key;
        const char *tls_server_name; int tls_no_verify;
    } redisRouteOptions;
    const char *redisRouteVersion(void);
    redisRouteSession *redisRouteOpen(const char *host, int port, const redisRouteOptions *options);
    int redisRouteConnected(redisRouteSession *session);
    int redisRouteFd(const redisRouteSession *session);
    int redisRouteWrite(redisRouteSession *session, const char *bytes, size_t length);
    int redisRouteWriteReading(redisRouteSession *session, const char *bytes, size_t length, int policy);
    size_t redisRouteKept(const redisRouteSession *session);
    ssize_t redisRouteRead(redisRouteSession *session, char *to, size_t size);
    ssize_t redisRouteReadWait(redisRouteSession *session, char *to, size_t size, int timeout_ms);
    int redisRouteWait(redisRouteSession *session, int timeout_ms);
    void redisRouteInterrupt(redisRouteSession *session);
    void redisRouteClose(redisRouteSession *session);
    const char *redisRouteErrorText(const redisRouteSession *session);
    int redisRouteCheckConfig(const char *files, char *why, size_t size);
    void redisRouteSetCommandStats(int on);
    size_t redisRouteStatsText(char *to, size_t size);
    typedef void (*redisRouteEventFn)(void *data, int event, int fd, const char *text);
    int redisRouteSetEventFn(redisRouteEventFn each, void *data);
    """)


@functools.lru_cache(maxsize=None)
def library() -> Any:
    """The library that REDISROUTE_LIBRARY names, else the one that the loader finds."""
    name = os.environ.get("REDISROUTE_LIBRARY") or "libredisroute.so.0"
    try:
        return ffi.dlopen(name)
    except OSError as error:
        raise ImportError(
            f"redisroute: {error}. Install libredisroute, or set REDISROUTE_LIBRARY to its path."
        ) from None


def text(chars: Any) -> str:
    """A C string of the library's."""
    return str(ffi.string(chars).decode("utf-8", "replace"))


def version() -> str:
    """The version of the shared library."""
    return text(library().redisRouteVersion())
