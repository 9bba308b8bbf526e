"""How the engine `demo` cuts text, and what it writes for what espeak-ng's voices cannot read."""

import pytest

from cosyserve_workers.demo.readings import ENGLISH, JAPANESE, KOREAN, MANDARIN, RUSSIAN
from cosyserve_workers.demo.text import CLAUSE_PAUSE_S, RUN_PAUSE_S, SENTENCE_PAUSE_S, Piece, clean, pieces


def spoken(text: str) -> list[tuple[str, str]]:
    return [(piece.text, piece.voice) for piece in pieces(text)]


def words(text: str) -> list[str]:
    return [piece.text for piece in pieces(text)]


class TestVoices:
    @pytest.mark.parametrize(
        ("text", "voice"),
        [
            ("你好", MANDARIN),
            ("繁體中文", MANDARIN),
            ("Hello", ENGLISH),
            ("Café", ENGLISH),
            ("こんにちは", JAPANESE),
            ("カタカナ", JAPANESE),
            ("안녕하세요", KOREAN),
            ("Привет", RUSSIAN),
            ("2024", ENGLISH),
        ],
    )
    def test_goes_by_the_script(self, text: str, voice: str) -> None:
        assert spoken(text) == [(f"{text}.", voice)]

    def test_mixed_text_becomes_runs(self) -> None:
        assert list(pieces("我们用 GPU 加速")) == [
            Piece("我们用,", MANDARIN, RUN_PAUSE_S),
            Piece("GPU,", ENGLISH, RUN_PAUSE_S),
            Piece("加速.", MANDARIN, SENTENCE_PAUSE_S),
        ]

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("我有 3 个", [("我有 3 个.", MANDARIN)]),
            ("2024年", [("2024年.", MANDARIN)]),
            ("iPhone 15 发布", [("iPhone,", ENGLISH), ("15 发布.", MANDARIN)]),
            ("10:30 AM 开会", [("10:30 AM,", ENGLISH), ("开会.", MANDARIN)]),
            ("1, 2, 3 走", [("1,", MANDARIN), ("2,", MANDARIN), ("3 走.", MANDARIN)]),
            ("你好。42", [("你好.", MANDARIN), ("42.", MANDARIN)]),
            ("Version 42", [("Version 42.", ENGLISH)]),
        ],
    )
    def test_numbers_take_their_neighbours_voice(self, text: str, expected: list[tuple[str, str]]) -> None:
        assert spoken(text) == expected

    @pytest.mark.parametrize("word", ["GPT-4", "H200", "4K", "don't", "example.com"])
    def test_a_word_with_a_digit_or_mark_inside_stays_whole(self, word: str) -> None:
        assert spoken(f"这是{word}吗") == [("这是,", MANDARIN), (f"{word},", ENGLISH), ("吗.", MANDARIN)]


class TestClauses:
    @pytest.mark.parametrize("comma", list("，、；：,;—"))
    def test_commas_and_their_like_make_a_short_pause(self, comma: str) -> None:
        first, second = pieces(f"你好{comma}世界。")
        assert (first.text, first.pause_s) == ("你好,", CLAUSE_PAUSE_S)
        assert (second.text, second.pause_s) == ("世界.", SENTENCE_PAUSE_S)

    @pytest.mark.parametrize(
        ("stop", "mark"), [("。", "."), ("！", "!"), ("？", "?"), (".", "."), ("……", "."), ("\n", ".")]
    )
    def test_sentence_ends_make_a_long_pause_and_keep_their_intonation(self, stop: str, mark: str) -> None:
        first, second = pieces(f"你好{stop}世界")
        assert (first.text, first.pause_s) == (f"你好{mark}", SENTENCE_PAUSE_S)
        assert second.text == "世界."

    @pytest.mark.parametrize(
        "text",
        [
            *("It costs 3.14", "It costs 1,000", "It is 10:30", "See example.com", "Mr. Smith", "Use e.g. this"),
            *("J. Smith", "See https://example.com:80/a?b=c;d,e"),
        ],
    )
    def test_marks_inside_numbers_names_and_abbreviations_do_not_cut(self, text: str) -> None:
        assert words(text) == [f"{text}."]

    def test_a_full_width_comma_cuts_between_numbers(self) -> None:
        assert words("三，3，4") == ["三,", "3,", "4."]

    def test_repeated_and_empty_marks_make_no_empty_pieces(self) -> None:
        assert words("，，，好！？！……。吗") == ["好!", "吗."]

    def test_a_hyphen_between_spaces_is_a_dash(self) -> None:
        assert words("this - that, well-known") == ["this,", "that,", "well-known."]


class TestCleaning:
    @pytest.mark.parametrize(
        "text",
        [
            "<|en|>你好",
            "你好[laughter]",
            "[breath]你好",
            "<strong>你好</strong>",
            "<laughter>你好</laughter>",
            "你好<|endofprompt|>",
            "“你好”",
            "《你好》",
            "(你好)",
            "😀你好👍🏽",
            "\0你好\x1b",
            "\ud800你好\udfff",
            "\u200b你\u200d好\ufeff",
        ],
    )
    def test_what_cannot_be_read_is_left_out(self, text: str) -> None:
        assert spoken(text) == [("你好.", MANDARIN)]

    def test_other_brackets_keep_their_words(self) -> None:
        assert words("see [twelve] <b>") == ["see twelve <b>."]

    def test_user_text_cannot_name_phonemes(self) -> None:
        assert "[[" not in "".join(words("[[h@'loU]] ［［h@'loU］］"))

    def test_full_width_letters_are_letters(self) -> None:
        assert clean("ＧＰＵ　５") == "GPU 5"

    def test_rare_latin_letters_lose_their_marks(self) -> None:
        assert words("Việt Nam") == ["Viet Nam."]

    @pytest.mark.parametrize(
        "text", ["", "   ", "...", "？！", "😀", "\0", "\ud800", "<|en|>", "[laughter]", "%", "สวัสดี", "々", "𠮷"]
    )
    def test_nothing_readable_gives_no_pieces(self, text: str) -> None:
        assert spoken(text) == []


class TestReadings:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("涨了50%", "涨了百分之50."),
            ("售价$999", "售价999美元."),
            ("售价￥5", "售价5元."),
            ("今天-5℃", "今天负5摄氏度."),
            ("3+4=7对", "3加4等于7对."),
            ("5~10个", "5到10个."),
            ("3.5米", "3.5米."),
            ("1,000米", "1,000米."),
            ("花儿", "花而."),
            ("儿子", "儿子."),
            ("熊猫", " [[S;'ong35]]猫."),
        ],
    )
    def test_mandarin_has_words_for_what_its_voice_cannot_read(self, text: str, expected: str) -> None:
        assert spoken(text) == [(expected, MANDARIN)]

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("ファイル", "ファイル."),
            ("ヴァイオリン", "バイオリン."),
            ("ウィンドウ", "ウインドウ."),
            ("アーモンド", "アアモンド."),
            ("パーティー", "パーティイ."),
            ("ンー", "ン."),
            ("あっ", "あ."),
            ("がっこう", "がっこう."),
        ],
    )
    def test_japanese_has_kana_that_its_voice_can_read(self, text: str, expected: str) -> None:
        assert spoken(text) == [(expected, JAPANESE)]

    def test_symbols_that_would_be_read_in_english_are_left_out(self) -> None:
        assert words("да % да") == ["да да."]


class TestLength:
    @pytest.mark.parametrize(
        ("text", "most"),
        [
            ("字正腔圆地朗读一篇没有任何标点符号的很长的文章" * 50, 41),
            ("가나다라" * 100, 41),
            ("word " * 400, 121),
            ("x" * 2000, 121),
            ("1" * 2000, 121),
            ("カタカナ" * 200, 41),
        ],
    )
    def test_long_runs_are_cut_and_nothing_is_lost(self, text: str, most: int) -> None:
        cut = words(text)
        assert max(map(len, cut)) <= most
        assert "".join(part[:-1] for part in cut).replace(" ", "") == text.replace(" ", "")

    def test_words_stay_whole_where_they_fit(self) -> None:
        assert {word for part in words("hippopotamus " * 100) for word in part[:-1].split()} == {"hippopotamus"}

    def test_a_number_in_chinese_stays_whole(self) -> None:
        assert words("字" * 38 + "2024" + "字" * 3) == ["字" * 38 + ",", "2024字字字."]
