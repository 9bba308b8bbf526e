"""What a reload can change, and what needs a restart."""

from collections.abc import Mapping

from cosyserve.settings.sections import Settings, SettingsError

FIXED: Mapping[str, str] = {
    "server.host": "the socket is open",
    "server.port": "the socket is open",
    "voices.dir": "voices are stored there",
    "voices.url": "voices are stored there",
    "log.format": "the log is being written",
}
"""The settings that hold until the process ends, and why."""


def differences(one: Settings, other: Settings) -> set[str]:
    """The settings, as `section.key`, in which they are not alike."""
    return {
        f"{section}.{key}"
        for section in Settings.model_fields
        for key in type(getattr(one, section)).model_fields
        if getattr(getattr(one, section), key) != getattr(getattr(other, section), key)
    }


def check_changeable(one: Settings, other: Settings) -> None:
    """Raises SettingsError, which names all that a running server cannot change."""
    fixed = sorted(differences(one, other) & set(FIXED))
    if fixed:
        told = "; ".join(f"{name} cannot change while the server runs ({FIXED[name]})" for name in fixed)
        raise SettingsError(f"{told}: set it back, or restart the server")
