"""The body of POST /v1/text/words."""

from pydantic import BaseModel, ConfigDict, Field

from cosyserve.speech.wording import MAX_PRONUNCIATIONS, MAX_TAG_CHARS


class WordsBody(BaseModel):
    """Fields of other names are ignored, and null is as good as absent."""

    model_config = ConfigDict(strict=True, use_attribute_docstrings=True, title="WordsBody")

    text: str = Field(min_length=1)
    """What is to be said."""
    language: str | None = Field(None, max_length=MAX_TAG_CHARS)
    """Of what the text does not tell by itself, such as a bare number: en, zh, pt-BR."""
    pronunciations: dict[str, str] | None = Field(None, max_length=MAX_PRONUNCIATIONS)
    """How words of your own are spoken, written to spoken."""
