"""A bound on what Hypercorn keeps of a WebSocket message that is too large.

Hypercorn 0.18 stores a piece before it looks at the limit, and goes on storing after it has said 1009: a client that
sends on, one message without end, would fill the memory.
"""

from typing import Any

from hypercorn.protocol import ws_stream
from wsproto.events import Message


class BoundedBuffer(ws_stream.WebsocketBuffer):
    """Keeps nothing over the limit, and nothing any more once it was passed."""

    def extend(self, event: Message[Any]) -> None:
        """Raises FrameTooLargeError."""
        if self.length + len(event.data) > self.max_length:
            self.clear()
            self.max_length = -1
            raise ws_stream.FrameTooLargeError
        super().extend(event)


def install() -> None:
    """Have Hypercorn use it."""
    ws_stream.WebsocketBuffer = BoundedBuffer  # type: ignore[misc]
