"""What `serve` would stumble over, and what it can go without: tried before anybody is served."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from cosyserve.check.finding import Finding, State
from cosyserve.check.nvidia import visible_devices
from cosyserve.http.access import load_keyring
from cosyserve.http.listener import listen
from cosyserve.http.opening import configured_voice
from cosyserve.pool.devices import assign_devices, left_idle
from cosyserve.settings.sections import Settings, SettingsError
from cosyserve.speech.wording import check_lexicon
from cosyserve.voices.bucket import Bucket
from cosyserve.voices.files import makes_links
from cosyserve.voices.prompts import JOBS, Decoder
from cosyserve.watch.otlp import lack_of_spans, wanted_endpoint
from cosyserve.wire.helper import Helpers

LOOPBACK = ("127.", "::1", "localhost")


def rehearse(settings: Settings) -> list[Finding]:
    """All that `serve` would say before it serves; it takes the port for a moment."""
    steps: tuple[Callable[[Settings], object], ...] = (
        lambda settings: load_keyring(settings.server),
        lambda settings: check_lexicon(settings.text.lexicon),
        lambda settings: listen(settings).close(),
        lambda settings: assign_devices(settings, visible_devices()),
        _decode_the_prompt,
    )
    faults = [finding for step in steps for finding in _fails(step, settings)]
    return [*faults, *_bucket(settings), *_spans(), *shortfalls(settings)]


def shortfalls(settings: Settings) -> list[Finding]:
    """What the service goes without, and an operator may not know."""
    return [*_prompt(settings), *_voices(settings), *_temporary_files(), *_gpus(settings), *_open_door(settings)]


def _fails(step: Callable[[Settings], object], settings: Settings) -> Iterator[Finding]:
    try:
        step(settings)
    except SettingsError as error:
        text, _, remedy = str(error).partition("; ")
        yield Finding(State.PROBLEM, text, remedy)


def _decode_the_prompt(settings: Settings) -> None:
    helpers = Helpers(JOBS)
    try:
        configured_voice(settings, Decoder(helpers))
    finally:
        helpers.close()


def _prompt(settings: Settings) -> Iterator[Finding]:
    path = settings.defaults.prompt_wav
    if path is not None and not path.is_file():
        remedy = "requests without a prompt or a voice get 422; put it there, or set defaults.prompt_wav"
        yield Finding(State.WARNING, f"the default prompt {path} is not there", remedy)


def _bucket(settings: Settings) -> Iterator[Finding]:
    """It is written to and read, which takes its time: nothing to be done while anybody is served."""
    url = settings.voices.url
    if not url:
        return
    try:
        why = Bucket(url, settings.voices.dir).trial()
    except SettingsError as error:
        text, _, remedy = str(error).partition("; ")
        yield Finding(State.PROBLEM, text, remedy)
        return
    if why:
        remedy = "see to voices.url, the network, and AWS's own settings (AWS_..., ~/.aws)"
        yield Finding(State.WARNING, f"voices cannot be stored in {url}: {why}", remedy)
    else:
        yield Finding(State.OK, f"voices can be stored in {url}")


def _spans() -> Iterator[Finding]:
    endpoint = wanted_endpoint(os.environ)
    if not endpoint:
        return
    if lack := lack_of_spans(os.environ):
        text, _, remedy = lack.partition("; ")
        yield Finding(State.WARNING, f"no spans are sent to {endpoint}: {text}", remedy)
    else:
        yield Finding(State.OK, f"spans are sent to {endpoint}")


def _voices(settings: Settings) -> Iterator[Finding]:
    folder = settings.voices.dir
    if settings.voices.url or not settings.voices.max_count:
        return
    if why := _unwritable(folder):
        remedy = "clients cannot store voices (507): make it writable, or set voices.dir, or voices.max_count to 0"
        yield Finding(State.WARNING, f"the voices' folder {folder} cannot be written: {why}", remedy)
    elif folder.is_dir() and not makes_links(folder):
        text = f"the file system of the voices' folder {folder} makes no hard links"
        yield Finding(State.WARNING, text, "no other server may share it: of two voices of one name, one would be lost")


def _temporary_files() -> Iterator[Finding]:
    named = os.environ.get("TMPDIR")
    if named and (why := _unwritable(Path(named))):
        yield Finding(State.WARNING, f"TMPDIR {named} cannot be written: {why}", "name another folder, or unset it")


def _gpus(settings: Settings) -> Iterator[Finding]:
    idle = left_idle(settings, visible_devices)
    if idle:
        text = f"visible GPUs that no worker has: {', '.join(idle)}"
        remedy = f"set workers.count to {settings.workers.count + len(idle)}, or name those to use in workers.devices"
        yield Finding(State.WARNING, text, remedy)


def _unwritable(folder: Path) -> str:
    """Why no file can be made in a folder or, where it is yet to be made, in the nearest one above; "" if one can."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def _open_door(settings: Settings) -> Iterator[Finding]:
    server = settings.server
    if not server.host.startswith(LOOPBACK) and not server.needs_key:
        text = f"open to the network without an API key ({server.host})"
        yield Finding(State.WARNING, text, "set server.api_keys, or keep a proxy in front")
