"""The mode table: what a request and its voice say, to the way in which the model is conditioned."""

from dataclasses import dataclass

from cosyserve.protocol import END_OF_PROMPT, Mode, Prompt, split_system_prompt


@dataclass(frozen=True, slots=True)
class Speaker:
    """Whose voice speaks, and what it brings along for requests that do not say.

    name: a voice's, or "" for a prompt that came with the request. prompt: None where none is configured.
    instruction, prompt_text: "" where the voice has none.
    """

    name: str
    prompt: Prompt | None
    instruction: str = ""
    prompt_text: str = ""


@dataclass(frozen=True, slots=True)
class Conditioning:
    """instruction: marked, in the mode instruct2 alone. prompt_text: in the mode zero_shot alone."""

    mode: Mode
    instruction: str = ""
    prompt_text: str = ""

    @property
    def is_filled(self) -> bool:
        """Whether it has what its mode needs: a system prompt alone is no transcript."""
        transcript = split_system_prompt(self.prompt_text)[1].strip()
        return self.mode is Mode.CROSS_LINGUAL or bool(self.instruction or transcript)


def choose_mode(instruction: str, prompt_text: str, speaker: Speaker, asked: Mode | None = None) -> Conditioning | None:
    """The first line of the table that applies.

    What is sent goes before what the voice brings, and an instruction before a prompt's text; with neither, the prompt
    speaks for itself. asked: the mode that the route itself stands for; None is returned where what that mode needs is
    neither sent nor brought.
    """
    table = (
        Conditioning(Mode.INSTRUCT2, instruction=instruction),
        Conditioning(Mode.ZERO_SHOT, prompt_text=prompt_text),
        Conditioning(Mode.INSTRUCT2, instruction=speaker.instruction.strip()),
        Conditioning(Mode.ZERO_SHOT, prompt_text=speaker.prompt_text.strip()),
        Conditioning(Mode.CROSS_LINGUAL),
    )
    applies = (line for line in table if asked in (None, line.mode))
    line = next((line for line in applies if line.is_filled), None)
    if line is None or not line.instruction or END_OF_PROMPT in line.instruction:
        return line
    return Conditioning(line.mode, line.instruction + END_OF_PROMPT)
