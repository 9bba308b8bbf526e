"""Speech made faster or slower while it streams: linear interpolation of the mel, at global positions."""

import torch
from torch import Tensor


class Stretch:
    """One segment's mel, resampled in time as it comes.

    Output frame j lies at (j + 0.5) * speed - 0.5 of the input, as in `torch.nn.functional.interpolate` without aligned
    corners. Positions are counted over the whole segment, so that where a chunk ends makes no difference to any frame.
    speed: 2.0 gives half as many frames.
    """

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._held: Tensor | None = None
        self._held_from = 0
        self._taken = 0
        self._made = 0

    def push(self, mel: Tensor, *, last: bool) -> Tensor:
        """[1, bins, n] frames in; [1, bins, m] out, those that can be known by now, or all that remain."""
        if self._speed == 1.0:
            return mel
        held = mel if self._held is None else torch.cat([self._held, mel], dim=2)
        self._taken += mel.shape[2]
        until = self._frames_in_all() if last else self._frames_known()
        places = (torch.arange(self._made, until, dtype=torch.float64) + 0.5) * self._speed - 0.5
        places = places.clamp(0, self._taken - 1)
        left = places.floor().long()
        right = (left + 1).clamp(max=self._taken - 1)
        share = (places - left).to(mel.dtype).to(mel.device)
        left, right = (left - self._held_from).to(mel.device), (right - self._held_from).to(mel.device)
        self._made = max(until, self._made)
        keep_from = min(max(int((self._made + 0.5) * self._speed - 0.5), 0), self._taken - 1)
        self._held, self._held_from = held[:, :, keep_from - self._held_from :], keep_from
        return torch.lerp(held[:, :, left], held[:, :, right], share)

    def _frames_known(self) -> int:
        """How many output frames have both their neighbours among the frames so far."""
        return max(int((self._taken - 1 + 0.5) / self._speed + 0.5 - 1e-9), self._made)

    def _frames_in_all(self) -> int:
        return max(int(self._taken / self._speed), self._made, 1)
