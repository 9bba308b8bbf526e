"""The listening socket."""

import socket

from cosyserve.settings.sections import Settings, SettingsError

BACKLOG = 1024
UNSENT_BYTES = 64 * 1024
"""What the kernel holds of an answer before it is sent; all else waits where it is counted."""
KERNELS_PATIENCE = 2
"""Times the stall timeout. The kernel's clock runs from the first byte that a peer does not take; the event loop, which
says why it gives up, waits for nothing until buffers are full, for which sound at the pace of speech takes seconds."""


def listen(settings: Settings, *, shared: bool = False) -> socket.socket:
    """Bind it; connections inherit its options. Raises SettingsError.

    shared: others of this user who say so too may listen there as well, and the kernel deals connections out to them.
    """
    host, port = settings.server.host, settings.server.port
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=shared)
    # A name that no resolver takes, with a null in it or a label of 64 letters, is a ValueError.
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"cannot listen on {host}:{port}: {getattr(error, 'strerror', None) or error}; "
            "choose another with --port, --host or [server] in config.toml"
        ) from error
    # Accepted sockets inherit these.
    # asyncio would see to it, were it not that sockets made so have no protocol number: a chunk must not wait for the
    # acknowledgement of the one before, which a client's kernel delays by 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    give_up_after(listener, settings.server.client_stall_timeout_s)
    # Else it takes megabytes, and no more before a third of them is gone: a player, which reads at the pace of speech,
    # would pass for one that reads nothing.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
    listener.setblocking(False)
    return listener


def give_up_after(listener: socket.socket, timeout_s: float) -> None:
    """The kernel, too, gives up on a peer of a connection to come, if later: KERNELS_PATIENCE times so long.

    A close waits for full buffers to empty, so nothing else would end that connection.
    """
    milliseconds = min(max(1, int(KERNELS_PATIENCE * timeout_s * 1000)), 2**31 - 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
