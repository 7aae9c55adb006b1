"""Where a server listens, and which names may mean it."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from danlu.errors import InputError

LOCAL = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Address:
    """A host of this machine and a port; 0 takes a free one."""

    host: str
    port: int
    names: tuple[str, ...] = ()
    """What else it is called, as by a proxy."""

    @property
    def local(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in LOCAL

    def resolved(self) -> tuple[socket.AddressFamily, str]:
        """The family, and the address as a number.

        Raises:
            OSError: there is no such host.
        """
        family, _, _, _, address = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0]
        return family, str(address[0])

    @contextmanager
    def listening(self) -> Iterator[socket.socket]:
        """A socket that listens there, for as long as it lasts.

        Raises:
            InputError: the host is not one of this machine's, or the port is in use or not allowed.
        """
        with self.refusing():
            family, address = self.resolved()
            listener = socket.socket(family, socket.SOCK_STREAM)
            try:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind((address, self.port))
                listener.listen(128)
            except BaseException:
                listener.close()
                raise
        with listener:
            yield listener

    def check(self) -> None:
        """Refuse an address that a server could not have, before anything is written for it.

        Raises:
            InputError: as :meth:`listening`.
        """
        with self.listening():
            pass

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """One line for a port or a host that cannot be had."""
        host, port = self.host, self.port
        if not 0 <= port <= 65535:
            raise InputError(f"--port must be from 0 to 65535; got {port}")
        try:
            yield
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise InputError(f"port {port} of {host} is in use; --port 0 takes a free one") from None
            if error.errno == errno.EACCES:
                raise InputError(
                    f"port {port} may not be used; --port must be at least 1024, or 0 for a free one"
                ) from None
            raise InputError(f"cannot listen at --host {host} --port {port}: {error.strerror or error}") from None
        except UnicodeError:
            raise InputError(f"--host {host!r} is no name that a machine can have") from None

    def is_ours(self, host: str) -> bool:
        """Whether a Host header may mean it: an address, or a name that nobody else can give to this machine."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        known = {"localhost", self.host.lower(), socket.gethostname().lower(), *map(str.lower, self.names)}
        return name in known or _is_number(name)

    @staticmethod
    def url(listener: socket.socket) -> str:
        """Where a browser on this machine finds what listens there."""
        host, port = str(listener.getsockname()[0]), int(listener.getsockname()[1])
        if host in ("0.0.0.0", "::"):
            host = "localhost"
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
