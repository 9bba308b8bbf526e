"""One WebSocket connection: what the client says goes into the session, what the session wants is done."""

import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import anyio
import anyio.lowlevel
from starlette.websockets import WebSocket

from cosyserve.errors import (
    ListenerGone,
    ListenerInterrupted,
    ListenerStalled,
    MalformedMessage,
    ServiceError,
    SessionIdle,
)
from cosyserve.live.messages import (
    InputCancel,
    InputDone,
    InputText,
    Message,
    SessionConfig,
    as_draft,
    error_message,
    parse,
)
from cosyserve.live.outlet import Outlet
from cosyserve.live.session import Action, Clause, Session, Speak, Stop, Tell
from cosyserve.live.speaker import Speaker
from cosyserve.pool.seam import SpeechPool
from cosyserve.settings.sections import Settings
from cosyserve.speech.intake import BYTES_PER_CHAR, Intake
from cosyserve.speech.requests import Speakers, SpeechRequest, complete
from cosyserve.watch.reports import Origin, Reporter
from cosyserve.watch.spans import part

GOING_AWAY = 1001
EACH_CLAUSE = "a"
"""Stands where each clause's text will be when a configuration is checked."""
PATIENCE_S = 0.3
"""How long a clause that may be over waits for text that would go on with it."""
PIECE_CHARS = 500
"""Of a text, taken at once."""


class Connection:
    """From its acceptance to its end. Several utterances may be spoken over it."""

    def __init__(
        self, websocket: WebSocket, settings: Settings, pool: SpeechPool, reporter: Reporter, speakers: Speakers
    ) -> None:
        """What the session may hold is in the scope, and has room for one message already."""
        self._websocket = websocket
        self._pool = pool
        self._speakers = speakers
        self._max_text_chars = settings.limits.max_text_chars
        self._idle_timeout_s = settings.websocket.idle_timeout_s
        self._session = Session(self._max_text_chars)
        self._outlet = Outlet(websocket.send, settings.server.client_stall_timeout_s)
        self._speaker = Speaker(pool, reporter, Origin.of(websocket.scope), self._outlet, self)
        self._intake = Intake.of(websocket.scope)
        self._room_for_message = self._intake.held_bytes
        self._speech: SpeechRequest | None = None
        self._stops = 0
        self._heard_at = time.monotonic()
        self._ending: ServiceError | None = None

    async def run(self) -> ServiceError | None:
        """Returns why it ended, or None where the client closed it and missed nothing."""
        duties = (self._read, self._speaker.run, self._leave_when_stopping)
        # One for each: a task that is cancelled keeps the error, which keeps all that the task held.
        scopes = [anyio.CancelScope() for _ in duties]

        async def until_it_ends(duty: Callable[[], Awaitable[None]], scope: anyio.CancelScope) -> None:
            with scope:
                try:
                    await duty()
                except ListenerStalled as error:
                    self._ending = error
            for each in scopes:
                each.cancel()

        async with anyio.create_task_group() as tasks:
            for duty, scope in zip(duties, scopes, strict=True):
                tasks.start_soon(until_it_ends, duty, scope)
        # It has a way back to here.
        del self._speaker
        return self._ending

    async def started(self, clause: Clause, description: Message) -> None:
        """Audience: frames follow."""
        await self._report(self._session.started(clause, description))

    async def spoken(self, clause: Clause, audio_s: float) -> None:
        """Audience: all frames have been sent."""
        await self._report(self._session.spoken(clause, audio_s))

    async def failed(self, clause: Clause, error: ServiceError) -> None:
        """Audience: there will be no more frames."""
        await self._report(self._session.failed(clause, error))

    async def _read(self) -> None:
        while True:
            if not self._speaker.busy and time.monotonic() >= self._idle_at():
                await self._leave_idle()
                return
            message = None
            until = min(self._idle_at(), self._heard_at + PATIENCE_S if self._session.waits else math.inf)
            with anyio.move_on_after(max(0.0, until - time.monotonic())):
                message = await self._websocket.receive()
            if message is None:
                if time.monotonic() >= self._heard_at + PATIENCE_S:
                    await self._do(self._session.hurry())
                continue
            if message["type"] == "websocket.disconnect":
                if self._speaker.busy:
                    self._ending = ListenerGone("the client disconnected")
                return
            self._heard_at = time.monotonic()
            try:
                await self._obey(message.get("text"))
            except ServiceError as error:
                if isinstance(error, ListenerStalled):
                    raise
                await self._outlet.tell(error_message(error))
            # Messages that are there already come without a wait: all other sessions would wait for the last of them.
            await anyio.lowlevel.checkpoint()

    def _idle_at(self) -> float:
        """When the client will have been silent for too long."""
        since = time.monotonic() if self._speaker.busy else max(self._heard_at, self._speaker.quiet_since)
        return since + self._idle_timeout_s

    async def _obey(self, text: str | None) -> None:
        if text is None:
            raise MalformedMessage("a binary frame came: messages are JSON in text frames")
        match parse(text):
            case SessionConfig() as config:
                self._speech = await self._resolve(config)
            case InputText(text=more):
                if self._speech is None:
                    self._speech = await self._resolve(SessionConfig())
                await self._take_text(more)
            case InputDone():
                await self._do(self._session.done())
            case InputCancel():
                await self._do(self._session.cancel())

    async def _take_text(self, text: str) -> None:
        """Piece by piece: there may be a thousand clauses in it, and other sessions have something to say too."""
        self._session.check(text)
        self._intake.take(BYTES_PER_CHAR * len(text))
        for start in range(0, max(1, len(text)), PIECE_CHARS):
            await self._do(self._session.text(text[start : start + PIECE_CHARS]))
            await anyio.lowlevel.checkpoint()

    async def _resolve(self, config: SessionConfig) -> SpeechRequest:
        """Look the voice up once for all clauses. Raises RequestRejected."""
        draft = replace(as_draft(config, self._max_text_chars), text=EACH_CLAUSE)
        with part("prompt"):
            speech = await complete(draft, self._speakers, self._max_text_chars, self._intake)
        self._settle(speech)
        return speech

    def _settle(self, speech: SpeechRequest | None) -> None:
        """Hold what this session holds: a message that may come, how to speak, and the text that is not spoken."""
        texts = BYTES_PER_CHAR * self._session.pending_chars
        self._intake.settle(self._room_for_message + texts + (speech.held_bytes if speech else 0))

    async def _do(self, actions: list[Action]) -> None:
        """What follows from the client's messages. The answer to a cancel is sent whatever else happens."""
        await self._outlet.tell(*self._apply(actions))

    async def _report(self, actions: list[Action]) -> None:
        """What follows from the speech's fate: of no interest any more once the client has cancelled."""
        messages = self._apply(actions)
        stops = self._stops
        await self._outlet.tell(*messages, wanted=lambda: self._stops == stops)

    def _apply(self, actions: list[Action]) -> list[Message]:
        """Do what concerns the speaker at once, and return what to tell the client."""
        messages = []
        for action in actions:
            match action:
                case Stop():
                    self._stops += 1
                    self._speaker.stop(ListenerInterrupted("the client cancelled the utterance, or it failed"))
                case Speak(clause):
                    assert self._speech is not None
                    speech = replace(self._speech, text=clause.text, system_prompt=clause.system_prompt)
                    self._speaker.say(clause, speech)
                case Tell(message):
                    messages.append(message)
        self._settle(self._speech)
        return messages

    async def _leave_idle(self) -> None:
        self._ending = SessionIdle(f"nothing came for {self._idle_timeout_s:g} s (websocket.idle_timeout_s)")
        await self._outlet.tell(error_message(self._ending))
        await self._outlet.close(GOING_AWAY, "idle")

    async def _leave_when_stopping(self) -> None:
        """What was admitted before is still spoken; nothing new is."""
        await self._pool.stopping.wait()
        await self._speaker.silence()
        await self._outlet.close(GOING_AWAY, "the service is stopping")
