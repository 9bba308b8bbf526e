"""The session's state machine: what is told and done for each thing that happens, in which order."""

import contextlib
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cosyserve.errors import SynthesisFailed, TextTooLong, TooManyUtterances, UnspeakableText
from cosyserve.live.session import MAX_UTTERANCES, Action, Clause, Session, Speak, Stop, Tell

ONE, TWO = "The first sentence. ", "The second sentence. "


def clauses(actions: list[Action]) -> list[Clause]:
    return [action.clause for action in actions if isinstance(action, Speak)]


def told(actions: list[Action]) -> list[dict[str, Any]]:
    return [action.message for action in actions if isinstance(action, Tell)]


def kinds(actions: list[Action]) -> list[str]:
    return [message["type"] for message in told(actions)]


@pytest.fixture
def session() -> Session:
    return Session(1000)


def test_one_utterance(session: Session) -> None:
    (first,) = clauses(session.text(ONE))
    assert (first.utterance, first.index, first.text) == (0, 0, "The first sentence.")
    (start,) = told(session.started(first, {"format": "pcm"}))
    assert start == {"type": "audio.start", "utterance": 0, "clause": 0, "text": first.text, "format": "pcm"}
    (second,) = clauses(session.text("And a rest")) or clauses(session.done())
    assert (second.index, second.text) == (1, "And a rest")
    assert kinds(session.spoken(first, 1.5)) == ["audio.done"]
    done, end = told(session.spoken(second, 0.25))
    assert done == {"type": "audio.done", "utterance": 0, "clause": 1, "audio_s": 0.25}
    assert end == {"type": "session.done", "utterance": 0, "clauses": 2, "audio_s": 1.75, "complete": True}


def test_the_end_of_the_text_may_come_after_the_end_of_the_speech(session: Session) -> None:
    (clause,) = clauses(session.text(ONE))
    assert kinds(session.spoken(clause, 1.0)) == ["audio.done"]
    assert kinds(session.done()) == ["session.done"]


def test_nothing_to_say(session: Session) -> None:
    session.text(" ... ")
    (end,) = told(session.done())
    assert (end["utterance"], end["clauses"], end["complete"]) == (0, 0, True)


def test_the_end_of_nothing(session: Session) -> None:
    assert session.done() == []
    (clause,) = clauses(session.text(ONE))
    session.done()
    assert session.done() == session.done() == []
    assert clause.utterance == 0
    assert kinds(session.spoken(clause, 1.0)) == ["audio.done", "session.done"]


def test_not_too_many_at_once(session: Session) -> None:
    """Neither those with text nor those without."""
    (first,) = clauses(session.text(ONE))
    session.done()
    for _ in range(MAX_UTTERANCES - 1):
        assert session.text("") == session.done() == []
    with pytest.raises(TooManyUtterances):
        session.check("more")
    assert session.done() == []
    assert kinds(session.spoken(first, 1.0)) == ["audio.done", *["session.done"] * MAX_UTTERANCES]
    assert [clause.utterance for clause in clauses(session.text(ONE))] == [MAX_UTTERANCES]


def test_cancel(session: Session) -> None:
    (clause,) = clauses(session.text(ONE))
    session.started(clause, {})
    actions = session.cancel()
    assert actions == [Stop(), Tell({"type": "input.cancelled", "utterance": 0})]
    assert session.pending_chars == 0
    assert (
        session.started(clause, {}) == session.spoken(clause, 1.0) == session.failed(clause, SynthesisFailed("x")) == []
    )
    (later,) = clauses(session.text(TWO))
    assert (later.utterance, later.index) == (1, 0)


def test_cancel_when_there_is_nothing_to_cancel(session: Session) -> None:
    assert kinds(session.cancel()) == ["input.cancelled"]
    assert [clause.utterance for clause in clauses(session.text(ONE))] == [0]


def test_the_next_utterance_may_begin_while_the_last_is_spoken(session: Session) -> None:
    (first,) = clauses(session.text(ONE))
    session.done()
    (second,) = clauses(session.text(TWO))
    assert session.done() == []
    assert (second.utterance, second.index) == (1, 0)
    assert [message["utterance"] for message in told(session.spoken(first, 1.0))] == [0, 0]
    assert kinds(session.spoken(second, 1.0)) == ["audio.done", "session.done"]


def test_an_empty_one_waits_for_its_turn(session: Session) -> None:
    (first,) = clauses(session.text(ONE))
    session.done()
    session.text("")
    assert session.done() == []
    assert kinds(session.spoken(first, 1.0)) == ["audio.done", "session.done", "session.done"]


def test_failure_drops_the_rest_of_the_utterance(session: Session) -> None:
    first, _ = clauses(session.text(ONE + TWO))
    actions = session.failed(first, SynthesisFailed("the engine failed"))
    assert actions[0] == Stop()
    (error,) = told(actions)
    assert (error["type"], error["utterance"], error["error"]["code"]) == ("error", 0, "synthesis_failed")
    assert session.text("More of it. ") == []
    (end,) = told(session.done())
    assert (end["utterance"], end["complete"]) == (0, False)
    assert [clause.utterance for clause in clauses(session.text(ONE))] == [1]


def test_failure_after_the_text_is_complete_ends_the_utterance(session: Session) -> None:
    (clause,) = clauses(session.text(ONE))
    session.done()
    assert kinds(session.failed(clause, SynthesisFailed("x"))) == ["error", "session.done"]


def test_failure_leaves_the_next_utterance_alone(session: Session) -> None:
    """It was behind the failed one, so its clauses are asked for again."""
    (first,) = clauses(session.text(ONE))
    session.done()
    (second,) = clauses(session.text(TWO))
    assert clauses(session.failed(first, SynthesisFailed("x"))) == [second]


def test_a_clause_with_nothing_to_say_is_passed_over(session: Session) -> None:
    first, second = clauses(session.text(ONE + TWO))
    actions = session.failed(first, UnspeakableText("nothing"))
    assert Stop() not in actions
    assert kinds(actions) == ["error"]
    assert told(actions)[0]["utterance"] is None
    session.done()
    assert kinds(session.spoken(second, 1.0)) == ["audio.done", "session.done"]


def test_too_much_text_waits(session: Session) -> None:
    with pytest.raises(TextTooLong):
        session.check("x" * 1001)
    session.text("x" * 100)
    session.check("y" * 900)
    with pytest.raises(TextTooLong):
        session.check("y" * 901)
    assert session.pending_chars == 100
    assert [clause.text for clause in clauses(session.done())] == ["x" * 100]


class Anything(RuleBasedStateMachine):
    """Whatever happens: clauses in order, every utterance that is not cancelled ends once, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.session = Session(200)
        self.line: list[Clause] = []
        self.ended: list[int] = []
        self.open = False

    def take(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Stop):
                self.line.clear()
            elif isinstance(action, Speak):
                self.line.append(action.clause)
            elif action.message["type"] == "session.done":
                self.ended.append(action.message["utterance"])

    @rule(text=st.sampled_from([ONE, TWO, "a few words", "。", " ", "x" * 150]))
    def text(self, text: str) -> None:
        with contextlib.suppress(TextTooLong, TooManyUtterances):
            self.session.check(text)
            self.take(self.session.text(text))
            self.open = True

    @rule()
    def done(self) -> None:
        self.take(self.session.done())
        self.open = False

    @rule()
    def cancel(self) -> None:
        self.take(self.session.cancel())
        self.open = False
        assert self.line == []

    @precondition(lambda self: self.line)
    @rule()
    def speak(self) -> None:
        self.take(self.session.spoken(self.line.pop(0), 1.0))

    @precondition(lambda self: self.line)
    @rule(error=st.sampled_from([SynthesisFailed("x"), UnspeakableText("x")]))
    def fail(self, error: SynthesisFailed) -> None:
        self.take(self.session.failed(self.line.pop(0), error))

    @invariant()
    def in_order(self) -> None:
        places = [(clause.utterance, clause.index) for clause in self.line]
        assert places == sorted(set(places))
        assert self.ended == sorted(set(self.ended))
        unspoken = sum(len(clause.text) for clause in self.line)
        assert unspoken <= self.session.pending_chars <= (200 if self.open else unspoken)


TestAnything = Anything.TestCase
