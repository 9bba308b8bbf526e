"""A small byte-level BPE tokenizer, laid out as the one of Qwen2, for checkpoints that tests build."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
"""The special tokens of the file itself; the library adds its own (sounds, `<|endofprompt|>`) after them."""

ROOM_FOR_ADDED_TOKENS = 64
"""Rows to leave in an embedding table beyond the vocabulary: the library adds tokens and never resizes."""

_ENGLISH = """
a able about above across after again against all almost along already also although always am among an and another
any anything are around as ask at away back be because become been before begin behind being believe best better
between big black blue body book both boy bring brother build but buy by call came can car carry cat change child city
close cold come could country cut day did different do does dog done door down each early earth eat end enough even
ever every example eye face fact family far father feel few find fire first five follow food for form found four friend
from full game gave get girl give go good got great green ground group grow had half hand happen hard has have he head
hear heart hello help her here high him his hold home hope hour house how hundred if important in into is it its just
keep kind know land large last late laugh learn leave left less let letter life light like line listen little live
long look love low made make man many matter may me mean men might mind minute money month more morning most mother
mountain move much music must my name near need never new next night no north not nothing now number of off often old on
once one only open or order other our out over own page paper part people perhaps person picture place plan plant play
please point question quick quite rain reach read ready real red remember rest right river road room round run said
same saw say school sea second see seem sentence set seven she short should show side simple since sing sister six
slowly small snow so some something song soon sound south speak speech spring stand star start state stay still stop
story street strong such summer sun sure table take talk tell ten than thank that the their them then there these they
thing think this those thought thousand three through time to today together told tomorrow too took town travel tree
true try turn two under until up us use usual very voice wait walk want war warm was watch water way we week well went
were west what when where which while white who whole why will wind window winter with without woman word work world
would write year yellow yes yesterday yet you young your
"""

_FIRST_HANZI_ROW, _LAST_HANZI_ROW = 0xB0, 0xD7


def _common_hanzi() -> Iterator[str]:
    """The 3755 characters of GB 2312's first level, in the order of that standard."""
    for row in range(_FIRST_HANZI_ROW, _LAST_HANZI_ROW + 1):
        for cell in range(0xA1, 0xFF):
            try:
                yield bytes((row, cell)).decode("gb2312")
            except UnicodeDecodeError:  # the last row has five empty cells
                continue


def _corpus() -> Iterator[str]:
    """Text to learn merges from: each word as it begins a sentence and within one, each character on its own.

    Frequent words come twice over, so that whole words are learned before rare pairs of letters.
    """
    for word in _ENGLISH.split():
        yield from (f" {word}", f" {word}", word, word.capitalize())
    for mark in "，。？！；：、“”（）《》…":
        yield from (mark, mark)
    for hanzi in _common_hanzi():
        yield from (hanzi, hanzi)


def write_tokenizer(folder: Path) -> int:
    """Write `vocab.json`, `merges.txt` and `tokenizer_config.json` into `folder`; return the number of token ids.

    English costs about one token per common word, Chinese one per common character (three for a rare one: its bytes).
    The result is the same on every run.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=8192,
        min_frequency=2,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    tokenizer.model.save(str(folder))
    words: int = tokenizer.get_vocab_size()
    added = {
        str(words + index): {
            "content": token,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": True,
        }
        for index, token in enumerate(SPECIAL_TOKENS)
    }
    config = {
        "add_prefix_space": False,
        "added_tokens_decoder": added,
        "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|endoftext|>",
        "errors": "replace",
        "model_max_length": 32768,
        "pad_token": "<|endoftext|>",
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", "utf-8")
    return words + len(SPECIAL_TOKENS)
