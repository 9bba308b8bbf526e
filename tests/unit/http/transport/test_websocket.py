"""Messages over the limit are refused, and nothing of them is kept."""

import pytest
from hypercorn.protocol.ws_stream import FrameTooLargeError
from wsproto.events import BytesMessage, TextMessage

from cosyserve.http.transport.websocket import BoundedBuffer


def test_what_fits() -> None:
    buffer = BoundedBuffer(6)
    buffer.extend(TextMessage("abc"))
    buffer.extend(TextMessage("def"))
    assert buffer.to_message()["text"] == "abcdef"
    buffer.clear()
    buffer.extend(BytesMessage(b"123456"))
    assert buffer.to_message()["bytes"] == b"123456"


def test_what_does_not() -> None:
    buffer = BoundedBuffer(6)
    buffer.extend(TextMessage("abc"))
    with pytest.raises(FrameTooLargeError):
        buffer.extend(TextMessage("defg"))
    assert buffer.value is None
