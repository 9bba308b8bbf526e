"""The routes that speak, described."""

from cosyserve.audio.formats import AudioFormat
from cosyserve.errors import (
    HelpersBusy,
    InvalidField,
    InvalidPrompt,
    LineFull,
    MalformedForm,
    MalformedJson,
    MissingPrompt,
    NoHelper,
    NoWorker,
    Overdue,
    Stopping,
    SynthesisFailed,
    TextTooLong,
    TooManyAtOnce,
    UnknownVoice,
    UnreadableVoice,
    UnspeakableText,
    VoicesUnreachable,
    WaitedTooLong,
    WorkerDied,
)
from cosyserve.http.description.operations import (
    BODY,
    Kinds,
    answers,
    audio,
    either_form,
    form,
    json,
    operation,
    without_files,
)
from cosyserve.http.description.schemas import EXAMPLE_TEXT, Schema, common_fields, record, ref, speech_fields, text
from cosyserve.settings.sections import Settings
from cosyserve.speech.wording import MAX_JSON_CHARS
from cosyserve.voices.names import DEFAULT_VOICE, MAX_SENT_CHARS

MOST_IN_A_QUERY = 1000
"""Characters of a field that is JSON."""
FIELDS: Kinds = (InvalidField, TextTooLong, UnspeakableText, InvalidPrompt, MissingPrompt, UnknownVoice)
RUNNING: Kinds = (
    TooManyAtOnce, LineFull, WaitedTooLong, NoWorker, HelpersBusy, NoHelper, Stopping, SynthesisFailed, WorkerDied,
    UnreadableVoice, VoicesUnreachable, Overdue,
)  # fmt: skip
READING: Kinds = (InvalidField, TextTooLong, UnspeakableText, HelpersBusy, NoHelper, Stopping)
SPEAKING: Kinds = (*BODY, *FIELDS, *RUNNING)


def speaking_paths(settings: Settings, guarded: Kinds) -> dict[str, dict[str, Schema]]:
    """Path to method to operation. guarded: what every route may refuse with."""
    return {
        "/synthesize": {"post": _synthesize(settings, guarded)},
        "/v1/audio/speech": {"post": _speech(guarded)},
        "/v1/text/words": {"post": _words(guarded)},
        **_inference(settings, guarded),
    }


def _synthesize(settings: Settings, guarded: Kinds) -> Schema:
    longest = settings.limits.max_text_chars
    schema = {
        **record(
            {
                "text": {**text("What to say.", longest, 1), "examples": [EXAMPLE_TEXT]},
                "instruction": text("How to say it; selects the mode instruct2.", longest),
                "voice": text("A stored voice, `default`, or one of OpenAI's names.", MAX_SENT_CHARS),
                **speech_fields(settings),
            }
        ),
        "required": ["text"],
    }
    return operation(
        "synthesize",
        "Speech",
        "Speak a text",
        answers(audio(tuple(AudioFormat)), MalformedForm, *SPEAKING, *guarded),
        requestBody=either_form(schema),
    )


def _speech(guarded: Kinds) -> Schema:
    return operation(
        "createSpeech",
        "OpenAI",
        "Speak a text, OpenAI's way",
        answers(audio(tuple(AudioFormat), events=True), MalformedJson, *SPEAKING, *guarded),
        description="With `stream_format: sse` the answer is a stream of speech.audio.delta events, each with a piece "
        "of the audio in base64, and one speech.audio.done.",
        requestBody=form(ref("SpeechBody"), "application/json"),
    )


def _words(guarded: Kinds) -> Schema:
    return operation(
        "readText",
        "Speech",
        "Tell what a text will say, without a sound",
        answers(json("Words", "Its words."), MalformedJson, *BODY, *READING, *guarded),
        requestBody=form(ref("WordsBody"), "application/json"),
    )


def _inference(settings: Settings, guarded: Kinds) -> dict[str, dict[str, Schema]]:
    """The routes of the CosyVoice runtime: one form each, by POST or in the query of a GET."""
    longest = settings.limits.max_text_chars
    said = {"tts_text": {**text("What to say.", longest, 1), "examples": [EXAMPLE_TEXT]}}
    instruct = {"instruct_text": text("How to say it.", longest)}
    prompt = {"prompt_text": text("What is said in the recording.", longest)}
    recording = {
        "prompt_wav": speech_fields(settings)["prompt_wav"],
        "voice": text("A stored voice instead.", MAX_SENT_CHARS),
    }
    speaker = {"spk_id": {**text("A stored voice.", MAX_SENT_CHARS, 1), "examples": [DEFAULT_VOICE]}}
    forms: dict[str, tuple[str, Schema, tuple[str, ...]]] = {
        "zero_shot": ("Clone a voice, helped by its transcript", {**said, **prompt, **recording}, ()),
        "cross_lingual": ("Clone a voice", {**said, **recording}, ()),
        "instruct2": ("Clone a voice, told how to speak", {**said, **instruct, **recording}, ()),
        "sft": ("Speak with a stored voice", {**said, **speaker}, ("spk_id",)),
        "instruct": ("Speak with a stored voice, told how", {**said, **speaker, **instruct}, ("spk_id",)),
    }
    return {
        f"/inference_{name}": _both_methods(name, summary, {**fields, **common_fields()}, needed, guarded)
        for name, (summary, fields, needed) in forms.items()
    }


def _in_a_query(shape: Schema) -> Schema:
    """What is longer than any text does not fit into a request's head."""
    return {**shape, "maxLength": MOST_IN_A_QUERY} if shape.get("maxLength") == MAX_JSON_CHARS else shape


def _both_methods(
    name: str, summary: str, fields: Schema, needed: tuple[str, ...], guarded: Kinds
) -> dict[str, Schema]:
    schema = {"type": "object", "properties": fields, "required": ["tts_text", *needed]}
    told = answers(audio((AudioFormat.PCM,)), MalformedForm, *SPEAKING, *guarded)
    query = [
        {"name": field, "in": "query", "required": field in schema["required"], "schema": _in_a_query(shape)}
        for field, shape in without_files(schema)["properties"].items()
    ]
    return {
        "get": operation(
            f"get_inference_{name}",
            "CosyVoice",
            summary,
            told,
            parameters=query,
            description="The runtime's own client sends the form of POST in the body of a GET; that works too.",
        ),
        "post": operation(f"post_inference_{name}", "CosyVoice", summary, told, requestBody=either_form(schema)),
    }
