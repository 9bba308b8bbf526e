"""From the settings to what each worker process is told at its birth."""

import os
from collections.abc import Sequence
from dataclasses import replace

from cosyserve.check.nvidia import visible_devices
from cosyserve.check.quota import cores
from cosyserve.pool.devices import assign_devices
from cosyserve.protocol import EngineConfig, TextConfig
from cosyserve.settings.sections import Settings
from cosyserve.wire.worker_spec import WorkerSpec


def worker_specs(settings: Settings) -> list[WorkerSpec]:
    """One for each of `workers.count`, in order. May ask the driver, which may take its time.

    Raises SettingsError where `workers.devices` names a GPU that is not there.
    """
    devices = assign_devices(settings, visible_devices())
    return [
        WorkerSpec(
            index=index,
            engine=engine_config(settings, device, devices.count(device)),
            device=device,
            threads=max(1, cores() // settings.workers.count),
            log_level=settings.log.level,
        )
        for index, device in enumerate(devices)
    ]


def text_config(settings: Settings) -> TextConfig:
    """How its engine reads texts."""
    text = settings.text
    return TextConfig(
        normaliser=text.normaliser, language=text.language, markup=text.markup, lexicon=str(text.lexicon or "")
    )


def alike(ones: Sequence[WorkerSpec], others: Sequence[WorkerSpec]) -> bool:
    """Whether workers of the ones need no replacement to be workers of the others: what they are told suffices."""
    return [_lasting(spec) for spec in ones] == [_lasting(spec) for spec in others]


def _lasting(spec: WorkerSpec) -> WorkerSpec:
    """Without what a running worker can change."""
    text = TextConfig(normaliser=spec.engine.text.normaliser)
    return replace(spec, index=0, log_level="", engine=replace(spec.engine, text=text))


def engine_config(settings: Settings, device: str | None, sharing: int) -> EngineConfig:
    """What its factory is given. device: what the worker is pinned to. sharing: how many have that one, it included."""
    model = settings.model
    return EngineConfig(
        engine=model.engine,
        # A link that is set to another folder is another model, and a worker that is replaced has its fellows' model.
        model_dir=os.path.realpath(model.dir),
        source_dir=os.path.realpath(model.source_dir) if model.source_dir else "",
        precision=model.precision,
        language_model=model.language_model,
        language_model_file=model.language_model_file,
        tensorrt=model.tensorrt,
        vllm=model.vllm,
        streams=model.streams,
        state_budget_gib=model.state_budget_gib,
        model_marks=settings.text.model_marks,
        text=text_config(settings),
        device=model.device,
        pinned_to=device,
        sharing=sharing,
    )
