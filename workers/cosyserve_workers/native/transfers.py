"""Numbers between the host and the device, without either waiting for the other.

What is pinned can be copied while the host goes on; PyTorch keeps pinned memory until such copies are done.
"""

import torch
from torch import Tensor


def send(values: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor of the host's to the device: it is there for whatever is launched from now on."""
    return values if device.type == "cpu" else pinned(values, device).to(device, non_blocking=True)


def pinned(values: Tensor, device: torch.device) -> Tensor:
    """A tensor of the host's where the device can fetch it by itself."""
    if device.type == "cpu":
        return values
    return torch.empty(values.shape, dtype=values.dtype, pin_memory=True).copy_(values)


class Fetched:
    """Numbers on their way to the host.

    on_host: where they come to lie; not there yet.
    """

    def __init__(self, values: Tensor) -> None:
        self.on_host = values
        self._event: torch.cuda.Event | None = None
        if values.device.type != "cpu":
            self.on_host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self.on_host.copy_(values, non_blocking=True)
            self._event = torch.cuda.Event()
            self._event.record()

    def tensor(self) -> Tensor:
        """Wait until all that made them is done, no longer, and return them."""
        if self._event is not None:
            self._event.synchronize()
        return self.on_host
