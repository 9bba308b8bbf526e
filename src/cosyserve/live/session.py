"""A session as a state machine without I/O: the client's messages and the speech's fate in, actions out.

An utterance is open from its first text to input.done, and over with session.done or input.cancelled. The next one may
begin while the last is still being spoken. What is told of a clause that is over changes nothing.
"""

from collections import deque
from dataclasses import dataclass, field

from cosyserve.errors import ServiceError, TextTooLong, UnspeakableText
from cosyserve.live.clauses import ClauseCutter
from cosyserve.live.messages import Message, error_message


@dataclass(frozen=True, slots=True)
class Clause:
    """A piece to speak. Both numbers begin at 0."""

    utterance: int
    index: int
    text: str


@dataclass(frozen=True, slots=True)
class Speak:
    """Speak this after what was asked for before."""

    clause: Clause


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop speaking and forget what waits. No audio may follow the messages that come after this."""


@dataclass(frozen=True, slots=True)
class Tell:
    """Send this to the client."""

    message: Message


Action = Speak | Stop | Tell


@dataclass(eq=False, slots=True)
class _Utterance:
    """unspoken: its clauses that have not been spoken to their end, by index. closed: input.done came."""

    number: int
    cutter: ClauseCutter = field(default_factory=ClauseCutter)
    clauses: int = 0
    audio_s: float = 0.0
    unspoken: dict[int, Clause] = field(default_factory=dict)
    closed: bool = False
    failed: bool = False

    @property
    def over(self) -> bool:
        return self.closed and not self.unspoken

    @property
    def pending_chars(self) -> int:
        return self.cutter.pending_chars + sum(len(clause.text) for clause in self.unspoken.values())

    def add(self, text: str) -> Clause:
        clause = Clause(self.number, self.clauses, text)
        self.unspoken[clause.index] = clause
        self.clauses += 1
        return clause

    def fail(self) -> None:
        self.failed = True
        self.unspoken.clear()
        self.cutter.flush()


class Session:
    """max_pending_chars: text that may wait to be spoken."""

    def __init__(self, max_pending_chars: int) -> None:
        self._max_pending_chars = max_pending_chars
        self._begun = 0
        self._utterances: deque[_Utterance] = deque()
        """In the order of their beginnings; those that are not over."""

    @property
    def pending_chars(self) -> int:
        """Text that has come and is not spoken yet."""
        return sum(utterance.pending_chars for utterance in self._utterances)

    def text(self, text: str) -> list[Action]:
        """input.text."""
        if self.pending_chars + len(text) > self._max_pending_chars:
            limit = f"more than {self._max_pending_chars} characters would wait to be spoken; this text is dropped"
            return [Tell(error_message(TextTooLong(limit, param="text")))]
        utterance = self._open()
        if utterance.failed:
            return []
        return [Speak(utterance.add(clause)) for clause in utterance.cutter.feed(text)]

    def done(self) -> list[Action]:
        """input.done."""
        utterance = self._open()
        utterance.closed = True
        speak = [Speak(utterance.add(clause)) for clause in utterance.cutter.flush()]
        return [*speak, *self._finish()]

    def cancel(self) -> list[Action]:
        """input.cancel."""
        self._utterances.clear()
        return [Stop(), Tell({"type": "input.cancelled", "utterance": max(0, self._begun - 1)})]

    def started(self, clause: Clause, description: Message) -> list[Action]:
        """Its first audio is there; frames follow. description: what a player has to know."""
        if self._of(clause) is None:
            return []
        head = {"type": "audio.start", "utterance": clause.utterance, "clause": clause.index, "text": clause.text}
        return [Tell({**head, **description})]

    def spoken(self, clause: Clause, audio_s: float) -> list[Action]:
        """All of its audio has been sent."""
        utterance = self._of(clause)
        if utterance is None:
            return []
        del utterance.unspoken[clause.index]
        utterance.audio_s += audio_s
        done = {"type": "audio.done", "utterance": clause.utterance, "clause": clause.index}
        return [Tell({**done, "audio_s": round(audio_s, 3)}), *self._finish()]

    def failed(self, clause: Clause, error: ServiceError) -> list[Action]:
        """It cannot be spoken, or only half of it was; what of the utterance remains is dropped.

        A clause with nothing to say is passed over.
        """
        utterance = self._of(clause)
        if utterance is None:
            return []
        if isinstance(error, UnspeakableText):
            del utterance.unspoken[clause.index]
            return [Tell(error_message(error)), *self._finish()]
        utterance.fail()
        told = Tell(error_message(error, clause.utterance))
        # Stopping drops the next utterance's clauses too.
        later = [Speak(unspoken) for other in self._utterances for unspoken in other.unspoken.values()]
        return [Stop(), told, *self._finish(), *later]

    def _open(self) -> _Utterance:
        """The utterance that takes text; a new one where the last is complete."""
        if not self._utterances or self._utterances[-1].closed:
            self._utterances.append(_Utterance(self._begun))
            self._begun += 1
        return self._utterances[-1]

    def _of(self, clause: Clause) -> _Utterance | None:
        return next((one for one in self._utterances if one.unspoken.get(clause.index) is clause), None)

    def _finish(self) -> list[Action]:
        """Tell the end of those that are over, in order."""
        actions: list[Action] = []
        while self._utterances and self._utterances[0].over:
            utterance = self._utterances.popleft()
            done = {
                "type": "session.done",
                "utterance": utterance.number,
                "clauses": utterance.clauses,
                "audio_s": round(utterance.audio_s, 3),
                "complete": not utterance.failed,
            }
            actions.append(Tell(done))
        return actions
