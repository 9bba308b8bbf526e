"""Messages over the limit are refused, and nothing of them is kept."""

import pytest
from hypercorn.protocol.ws_stream import FrameTooLargeError
from wsproto.events import BytesMessage, TextMessage

from cosyserve.http.websocket_buffer import BoundedBuffer


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
    for text in ("defg", "h", ""):
        with pytest.raises(FrameTooLargeError):
            buffer.extend(TextMessage(text))
        assert buffer.value is None
