"""The flow: speech tokens to mel frames, in chunks with carried state."""

from cosyserve_workers.native.flow.flow import Flow, FlowStep
from cosyserve_workers.native.flow.state import FlowStream, VoiceState

__all__ = ["Flow", "FlowStep", "FlowStream", "VoiceState"]
