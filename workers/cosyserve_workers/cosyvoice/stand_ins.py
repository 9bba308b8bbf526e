"""Packages that the CosyVoice library imports and serving never calls: in the place of one, an empty module will do.

| package | imported by | for |
|---|---|---|
| `pyworld` | `cosyvoice.dataset.processor`, whose functions a published yaml binds | training; it has to be compiled |
| `wget` | `matcha.utils.utils`, in the submodule that the library pins | fetching Matcha-TTS's own checkpoints |
"""

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

NEVER_CALLED = ("pyworld", "wget")


def stand_in_for_what_is_never_called() -> None:
    """Put an empty module in the place of each that is not installed."""
    for name in NEVER_CALLED:
        if find_spec(name) is None:
            stand_in = ModuleType(name, "Not installed: serving never calls it.")
            stand_in.__spec__ = ModuleSpec(name, None)
            sys.modules[name] = stand_in
