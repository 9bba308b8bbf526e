"""The budget: what is refused, in whose name, and that nothing of it is ever lost."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cosyserve.errors import ListenerGone, PendingFull, ServiceError, TooMuchPending, UploadTooLarge
from cosyserve.settings.sections import LimitSettings
from cosyserve.speech.intake import BYTES_PER_CHAR, Intake, IntakeBudget

WAV_BYTES = 44 + 10 * 48_000 * 2
DECODED_BYTES = 10 * 48_000 * 4


def test_taken_settled_and_given_back() -> None:
    budget = IntakeBudget(100)
    with budget.intake() as one, budget.intake() as other:
        one.take(60)
        other.take(30)
        one.settle(20)
        assert (one.held_bytes, other.held_bytes, budget.held_bytes) == (20, 30, 50)
        one.close()
        assert budget.held_bytes == 30
    assert budget.held_bytes == 0


def test_given_back_whatever_the_end() -> None:
    budget = IntakeBudget(100)

    def fail() -> None:
        with budget.intake() as intake:
            intake.take(100)
            intake.take(1)

    with pytest.raises(UploadTooLarge):
        fail()
    assert budget.held_bytes == 0


def test_nothing_is_taken_after_the_end() -> None:
    """A thread may still be at it."""
    budget = IntakeBudget(100)
    with budget.intake() as intake:
        pass
    with pytest.raises(ListenerGone):
        intake.take(1)
    assert budget.held_bytes == 0


def test_too_large_by_itself() -> None:
    budget = IntakeBudget(100)
    with budget.intake() as intake:
        intake.take(60)
        with pytest.raises(UploadTooLarge, match=r"limits\.max_pending_bytes"):
            intake.take(41)
        assert budget.held_bytes == 60
        intake.take(40)


def test_full() -> None:
    budget = IntakeBudget(100)
    with budget.intake() as one, budget.intake() as other:
        one.take(60)
        with pytest.raises(PendingFull):
            other.take(41)
        one.settle(59)
        other.take(41)


def test_a_keys_share() -> None:
    budget = IntakeBudget(100, 50)
    with budget.intake("a") as one, budget.intake("a") as another, budget.intake("b") as other:
        with pytest.raises(UploadTooLarge, match="max_pending_bytes_per_key"):
            one.take(51)
        one.take(30)
        with pytest.raises(TooMuchPending):
            another.take(21)
        other.take(50)
        another.take(20)
        with budget.intake() as stranger, pytest.raises(PendingFull):
            stranger.take(1)


def test_the_default_fits_all_that_may_run_and_wait() -> None:
    """Each with a prompt of 10 s at 48 kHz, as it came and decoded, and with texts as long as they may be."""
    limits = LimitSettings()
    budget = IntakeBudget(limits.max_pending_bytes)
    requests = [Intake(budget, None) for _ in range(110)]
    for request in requests:
        request.take(WAV_BYTES + DECODED_BYTES + 3 * BYTES_PER_CHAR * limits.max_text_chars)


class Anything(RuleBasedStateMachine):
    """Whatever is taken, refused and given back: the sums agree, and no limit is passed."""

    @initialize()
    def open(self) -> None:
        self.budget = IntakeBudget(100, 60)
        self.intakes = {key: [Intake(self.budget, key) for _ in range(2)] for key in ("a", "b", None)}

    @rule(key=st.sampled_from(["a", "b", None]), which=st.integers(0, 1), size=st.integers(0, 110))
    def take(self, key: str | None, which: int, size: int) -> None:
        intake = self.intakes[key][which]
        before = intake.held_bytes
        try:
            intake.take(size)
        except ServiceError:
            assert intake.held_bytes == before
        else:
            assert intake.held_bytes == before + size

    @rule(key=st.sampled_from(["a", "b", None]), which=st.integers(0, 1))
    def close(self, key: str | None, which: int) -> None:
        self.intakes[key][which].close()
        self.intakes[key][which] = Intake(self.budget, key)

    @invariant()
    def sums(self) -> None:
        if not hasattr(self, "budget"):
            return
        held = {key: sum(intake.held_bytes for intake in intakes) for key, intakes in self.intakes.items()}
        assert self.budget.held_bytes == sum(held.values()) <= 100
        assert max(held["a"], held["b"]) <= 60


TestAnything = Anything.TestCase
