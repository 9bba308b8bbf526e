"""What the routes share."""

import time
from collections import Counter
from dataclasses import dataclass, field

from starlette.requests import HTTPConnection

from cosyserve.check.engines import Choice
from cosyserve.http.access import Keyring
from cosyserve.http.bodies import MAX_TEXT_BYTES, BodyLimits
from cosyserve.http.responses import SpeechResponse
from cosyserve.http.sessions import Sessions
from cosyserve.pool.seam import SpeechPool
from cosyserve.settings.sections import Settings
from cosyserve.speech.intake import BYTES_PER_CHAR, Intake, IntakeBudget
from cosyserve.speech.modes import Speaker
from cosyserve.speech.readings import Readings
from cosyserve.speech.requests import Draft, complete
from cosyserve.speech.speakers import VoiceBook
from cosyserve.voices.store import VoiceStore
from cosyserve.watch.reports import Reporter
from cosyserve.watch.spans import Spans, part
from cosyserve.wire.helper import Helpers


@dataclass(frozen=True, slots=True)
class Service:
    """One a process, until a reload puts another in its place; lives in the application's state.

    settings: with the engine that `auto` has become. choice: why it is that one. default: the configured voice, which
    `speakers` knows too. started_at: Unix seconds.
    """

    settings: Settings
    choice: Choice
    keys: Keyring
    pool: SpeechPool
    reporter: Reporter
    default: Speaker
    voices: VoiceStore
    speakers: VoiceBook
    helpers: Helpers
    readings: Readings
    budget: IntakeBudget
    spans: Spans
    under_way: Counter[str] = field(default_factory=Counter)
    """Requests by the names of their keys, of those routes where they are counted."""
    started_at: int = field(default_factory=lambda: int(time.time()))
    sessions: Sessions = field(default_factory=Sessions)

    @property
    def body_limits(self) -> BodyLimits:
        """Of every request's body."""
        server = self.settings.server
        # Three texts, each of whose bytes may come as a percent sign and two digits.
        longest = 3 * 3 * BYTES_PER_CHAR * self.settings.limits.max_text_chars
        return BodyLimits(
            server.max_upload_bytes,
            server.client_stall_timeout_s,
            server.body_timeout_s,
            max(MAX_TEXT_BYTES, longest),
        )

    async def speak(self, draft: Draft, intake: Intake) -> SpeechResponse:
        """The answer to a request for speech; `intake` holds what waits to be spoken. Raises RequestRejected."""
        with part("prompt"):
            speech = await complete(draft, self.speakers, self.settings.limits.max_text_chars, intake)
        intake.settle(speech.held_bytes)
        return SpeechResponse(self.pool, self.reporter, speech, self.settings.server.client_stall_timeout_s)


def service_of(connection: HTTPConnection) -> Service:
    """The service behind this request."""
    service: Service = connection.app.state.service
    return service
