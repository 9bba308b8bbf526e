"""A client of the WebSocket session, for tests and benchmarks."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.serving import DEADLINE_S, Server

PATH = "/v1/audio/speech/stream"
Message = dict[str, Any]


@dataclass
class Heard:
    """What came until some message: the messages in order, and the audio by (utterance, clause)."""

    messages: list[Message] = field(default_factory=list)
    audio: dict[tuple[int, int], bytes] = field(default_factory=dict)

    @property
    def kinds(self) -> list[str]:
        """The messages' types."""
        return [message["type"] for message in self.messages]

    def of(self, kind: str) -> list[Message]:
        """The messages of one type."""
        return [message for message in self.messages if message["type"] == kind]


class Client:
    """Sends messages, and holds what comes against the rule that audio lies between audio.start and audio.done."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self._clause: tuple[int, int] | None = None

    def send(self, kind: str, **fields: object) -> None:
        """One message."""
        self.connection.send(json.dumps({"type": kind, **fields}))

    def say(self, *texts: str) -> None:
        """A whole utterance."""
        for text in texts:
            self.send("input.text", text=text)
        self.send("input.done")

    def receive(self) -> Message | bytes:
        """One frame."""
        frame = self.connection.recv(DEADLINE_S)
        return frame if isinstance(frame, bytes) else json.loads(frame)

    def take(self, heard: Heard | None = None) -> None:
        """One frame, which has to be in its place."""
        self._take(self.receive(), heard or Heard())

    def until(self, kind: str) -> Heard:
        """Everything up to the next message of a type."""
        heard = Heard()
        while kind not in heard.kinds:
            self._take(self.receive(), heard)
        return heard

    def until_audio(self) -> Heard:
        """Everything up to the next binary frame."""
        heard = Heard()
        while not any(heard.audio.values()):
            self._take(self.receive(), heard)
        return heard

    def _take(self, frame: Message | bytes, heard: Heard) -> None:
        if isinstance(frame, bytes):
            assert self._clause is not None, "audio outside of a clause"
            heard.audio[self._clause] = heard.audio.get(self._clause, b"") + frame
            return
        heard.messages.append(frame)
        if frame["type"] == "audio.start":
            assert self._clause is None, "a clause within a clause"
            self._clause = (frame["utterance"], frame["clause"])
        elif frame["type"] == "audio.done":
            assert self._clause == (frame["utterance"], frame["clause"])
            self._clause = None
        elif frame["type"] in {"input.cancelled", "session.done"} or frame.get("utterance") is not None:
            # An error that ends no utterance may come in the middle of a clause.
            self._clause = None


@contextmanager
def session(
    server: Server, query: str = "", headers: Mapping[str, str] | None = None, **options: Any
) -> Iterator[Client]:
    """A connection."""
    url = server.url.replace("http", "ws", 1) + PATH + query
    with connect(url, additional_headers=dict(headers or {}), max_size=None, proxy=None, **options) as connection:
        yield Client(connection)
