"""A session as a state machine without I/O: the client's messages and the speech's fate in, actions out.

An utterance is open from its first text to input.done, and over with session.done or input.cancelled. The next one may
begin while the last is still being spoken, but not too many. What is told of a clause that is over changes nothing.
"""

from collections import deque
from dataclasses import dataclass, field

from cosyserve.errors import ServiceError, TextTooLong, TooManyUtterances, UnspeakableText
from cosyserve.live.clauses import ClauseCutter
from cosyserve.live.messages import Message, error_message

MAX_UTTERANCES = 64
"""Of one session that are not over."""


@dataclass(frozen=True, slots=True)
class Clause:
    """A piece to speak. Both numbers begin at 0. system_prompt: its utterance's, "" where that has none."""

    utterance: int
    index: int
    text: str
    system_prompt: str = ""


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


class Session:
    """max_pending_chars: text that may wait to be spoken."""

    def __init__(self, max_pending_chars: int) -> None:
        self._max_pending_chars = max_pending_chars
        self._begun = 0
        self._utterances: deque[_Utterance] = deque()
        """In the order of their beginnings; those that are not over."""
        self._unspoken_chars = 0

    @property
    def pending_chars(self) -> int:
        """Text that has come and is not spoken yet."""
        # The others are complete: all of their text is in clauses.
        uncut = self._utterances[-1].cutter.pending_chars if self._utterances else 0
        return uncut + self._unspoken_chars

    def check(self, text: str) -> None:
        """Raises TextTooLong, TooManyUtterances where there is no place for this input.text."""
        if self.pending_chars + len(text) > self._max_pending_chars:
            limit = f"more than {self._max_pending_chars} characters would wait to be spoken; this text is dropped"
            raise TextTooLong(limit, param="text")
        if not self._is_open and len(self._utterances) >= MAX_UTTERANCES:
            raise TooManyUtterances(f"{MAX_UTTERANCES} utterances of this session are not over; this text is dropped")

    def text(self, text: str) -> list[Action]:
        """input.text that has a place, or a piece of one."""
        utterance = self._open()
        if utterance.failed:
            return []
        return [self._add(utterance, clause) for clause in utterance.cutter.feed(text)]

    @property
    def waits(self) -> bool:
        """Whether there is a clause that is over unless more text belongs to it."""
        return self._is_open and self._utterances[-1].cutter.waits

    def hurry(self) -> list[Action]:
        """No more text has come for a while."""
        if not self.waits:
            return []
        utterance = self._utterances[-1]
        return [self._add(utterance, clause) for clause in utterance.cutter.hurry()]

    def done(self) -> list[Action]:
        """input.done. Where nothing is open there is nothing to end."""
        if not self._is_open:
            return []
        utterance = self._utterances[-1]
        utterance.closed = True
        speak = [self._add(utterance, clause) for clause in utterance.cutter.flush()]
        return [*speak, *self._finish()]

    def cancel(self) -> list[Action]:
        """input.cancel."""
        self._utterances.clear()
        self._unspoken_chars = 0
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
        self._drop(utterance, clause)
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
            self._drop(utterance, clause)
            return [Tell(error_message(error)), *self._finish()]
        self._fail(utterance)
        told = Tell(error_message(error, clause.utterance))
        # Stopping drops the next utterance's clauses too.
        later = [Speak(unspoken) for other in self._utterances for unspoken in other.unspoken.values()]
        return [Stop(), told, *self._finish(), *later]

    @property
    def _is_open(self) -> bool:
        """Whether an utterance takes text."""
        return bool(self._utterances) and not self._utterances[-1].closed

    def _open(self) -> _Utterance:
        """The utterance that takes text; a new one where the last is complete."""
        if not self._is_open:
            self._utterances.append(_Utterance(self._begun))
            self._begun += 1
        return self._utterances[-1]

    def _add(self, utterance: _Utterance, text: str) -> Speak:
        clause = Clause(utterance.number, utterance.clauses, text, utterance.cutter.system_prompt)
        utterance.unspoken[clause.index] = clause
        utterance.clauses += 1
        self._unspoken_chars += len(text)
        return Speak(clause)

    def _drop(self, utterance: _Utterance, clause: Clause) -> None:
        del utterance.unspoken[clause.index]
        self._unspoken_chars -= len(clause.text)

    def _fail(self, utterance: _Utterance) -> None:
        for clause in list(utterance.unspoken.values()):
            self._drop(utterance, clause)
        utterance.cutter.flush()
        utterance.failed = True

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
