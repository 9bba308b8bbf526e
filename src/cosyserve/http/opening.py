"""From the settings to what the routes share: at the start, and anew at a reload."""

import os
from collections.abc import Callable
from dataclasses import replace

from cosyserve.check.engines import choose, unknown_engine
from cosyserve.errors import ServiceError
from cosyserve.http.access import load_keyring
from cosyserve.http.service import Service
from cosyserve.pool.pool import Pool
from cosyserve.pool.seam import SpeechPool
from cosyserve.settings.sections import LimitSettings, Settings, SettingsError
from cosyserve.speech.intake import IntakeBudget
from cosyserve.speech.modes import Speaker
from cosyserve.speech.readings import JOBS as READING
from cosyserve.speech.readings import Readings
from cosyserve.speech.speakers import VoiceBook, default_speaker
from cosyserve.speech.wording import check_lexicon
from cosyserve.voices.prompts import JOBS as DECODING
from cosyserve.voices.prompts import Decoder
from cosyserve.voices.store import VoiceStore
from cosyserve.watch.metrics import Metrics
from cosyserve.watch.otlp import spans_of
from cosyserve.watch.reports import Reporter
from cosyserve.wire.helper import Helpers
from cosyserve.wire.logs import set_level


def open_service(settings: Settings, pool_of: Callable[[Settings], SpeechPool] = Pool) -> Service:
    """Nothing of it is started but, where a prompt is configured, the helpers that decode it. Raises SettingsError.

    pool_of: makes what runs the models; raises SettingsError.
    """
    model = settings.model
    choice = choose(model.engine, model.source_dir, model.device)
    settings = settings.with_engine(choice.engine)
    keys = load_keyring(settings.server)
    check_lexicon(settings.text.lexicon)
    spans = spans_of(os.environ)
    helpers = Helpers(DECODING, READING)
    decoder = Decoder(helpers)
    try:
        default = configured_voice(settings, decoder)
        pool = pool_of(settings)
        store = VoiceStore(settings.voices, decoder)
    except SettingsError:
        helpers.close()
        raise
    budget = IntakeBudget(*_intake_limits(settings.limits, len(keys)))
    reporter = Reporter(Metrics(lambda: pool.state), log_text=settings.log.text)
    reporter.metrics.watch_intake(budget)
    reporter.metrics.watch_helpers(helpers)
    return Service(
        settings=settings,
        choice=choice,
        keys=keys,
        pool=pool,
        reporter=reporter,
        default=default,
        voices=store,
        speakers=VoiceBook(default, store, decoder),
        helpers=helpers,
        readings=Readings(helpers, settings.text),
        budget=budget,
        spans=spans,
    )


def renewed(service: Service, settings: Settings) -> Service:
    """The same service by other settings, all that they name read and checked. Raises SettingsError.

    Nothing changes yet: `adjust` is for what both have in common. May block.
    """
    model = settings.model
    if unknown := unknown_engine(model.engine):
        raise SettingsError(unknown)
    choice = choose(model.engine, model.source_dir, model.device)
    settings = settings.with_engine(choice.engine)
    check_lexicon(settings.text.lexicon)
    decoder = Decoder(service.helpers)
    default = configured_voice(settings, decoder)
    return replace(
        service,
        settings=settings,
        choice=choice,
        keys=load_keyring(settings.server),
        default=default,
        speakers=VoiceBook(default, service.voices, decoder),
        readings=Readings(service.helpers, settings.text),
    )


def adjust(service: Service) -> None:
    """What it has in common with the one before goes by its settings from now on. Does not fail."""
    settings = service.settings
    set_level(settings.log.level)
    service.pool.adjust(settings)
    service.budget.set_limits(*_intake_limits(settings.limits, len(service.keys)))
    service.voices.adjust(settings.voices)
    service.reporter.log_text = settings.log.text


def configured_voice(settings: Settings, decoder: Decoder) -> Speaker:
    """The voice of requests that bring none. Raises SettingsError."""
    try:
        prompt = decoder.load_default(settings.defaults.prompt_wav)
    except (ServiceError, OSError) as error:
        raise SettingsError(f"defaults.prompt_wav = {settings.defaults.prompt_wav}: {error}") from error
    return default_speaker(prompt, settings.defaults.instruction)


def _intake_limits(limits: LimitSettings, keys: int) -> tuple[int, int]:
    """Where there are several keys, none of them can take all of it, unless it was given so much."""
    share = limits.max_pending_bytes_per_key or limits.max_pending_bytes // (2 if keys > 1 else 1)
    return limits.max_pending_bytes, share
