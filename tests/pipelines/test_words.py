"""Captions as words, and words as captions."""

import random
import unicodedata

import pytest

from pipelines.words import is_unspaced, join_words, split_joined, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A dog's *red* ball.", "a dog's red ball"),
        ("Two T-shirts , one half-full .", "two t-shirts one half-full"),
        ("the boys' hats - 'new' ones", "the boys hats new ones"),
        ("rock'n'roll o'clock", "rock'n'roll o'clock"),
        ("a--b c'-d -e- 'f'", "a b c d e f"),
        ("It's 3 o’clock, 10,000 men", "it's 3 o'clock 10 000 men"),
        ("don‘t donʼt don＇t don't", "don't don't don't don't"),
        ("snake_case a_b", "snake case a b"),
        ("#1 & 50% @home", "1 50 home"),
        ("<start> man <end>", "start man end"),
        ("tab\tnew\nline\u00a0space\u3000wide", "tab new line space wide"),
        ("", ""),
        (" .,!? -- '' ", ""),
        ("🐶 dog ❤️", "dog"),
        # Compatibility forms: ligature, full width, superscript, fraction.
        ("ﬁre Ａｂｃ x² ½", "fire abc x2 1 2"),
        # A letter with its accent, in one sign and in two.
        ("Caf\u00e9 cafe\u0301", "caf\u00e9 caf\u00e9"),
        ("STRASSE Straße ÄÖÜ", "strasse straße äöü"),
        # Lower case of this capital is two signs.
        ("\u0130stanbul", "i\u0307stanbul"),
        ("Собака БЕЖИТ", "собака бежит"),
        # A character a word, where a script writes no spaces.
        ("一只狗 在跑。", "一 只 狗 在 跑"),
        ("Ｔ恤，3只dog's", "t 恤 3 只 dog's"),
        ("スカートのｶﾞﾗｽ々", "ス カ ー ト の ガ ラ ス 々"),
        ("두 마리 개가 달린다.", "두 마리 개가 달린다"),
        # Vowel signs are parts of words, though no letters.
        ("एक कुत्ता दौड़ता है।", "एक कुत्ता दौड़ता है"),
        ("หมาวิ่งบนหญ้า ๑๒", "ห มา วิ่ ง บ น ห ญ้า ๑๒"),
        ("น้ำ เด็ก", "น้ำ เด็ ก"),
        ("ນ້ຳ ເດັກ", "ນ້ຳ ເດັ ກ"),
        ("ខ្មែរ", "ខ្មែ រ"),
        ("မန္တလေး", "မ န္တ လေး"),
        # Signs that belong to no letter.
        ("a เ ะ ้ dog", "a dog"),
        ("كَلْبٌ يَجْرِي", "كَلْبٌ يَجْرِي"),
        ("שָׁלוֹם", "שָׁלוֹם"),
    ],
)
def test_words(text, words):
    # As NFC has it, which orders some marks anew.
    expected = unicodedata.normalize("NFC", words).split()
    assert words_of(text) == expected
    # Words are themselves: reading them again changes nothing.
    assert words_of(" ".join(expected)) == expected
    assert words_of(join_words(expected)) == expected


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("a dog's ball", "a dog's ball"),
        ("一 只 狗", "一只狗"),
        ("3 只 iphone 手 机 a dog", "3只iphone手机a dog"),
        ("두 마리 개가", "두 마리 개가"),
        ("น้ำ เด็ ก ๑๒ ๓", "น้ำเด็ก๑๒ ๓"),
        ("a <unk> dog", "a <unk> dog"),
        ("一 <unk> 狗 <unk> <unk>", "一<unk>狗<unk> <unk>"),
        ("", ""),
    ],
)
def test_joined_words(words, text):
    words = words.split()
    assert join_words(words) == text
    assert split_joined(text, len(words)) == words


def test_any_row_of_words_is_read_back():
    generator = random.Random(0)
    # Letters, marks and signs that combine, in an order that nobody writes.
    signs = "aZ9'- é\u0301क्\u200d狗々ーか\u3099กเไ้ำะาํ๑ລັ໋ຳកេ្1ម្ကှ်가ش.。"
    for _ in range(3000):
        text = "".join(generator.choices(signs, k=12))
        words = words_of(text)
        generator.shuffle(words)
        assert words_of(join_words(words)) == words, text
        joined = split_joined(join_words(words), len(words))
        assert joined == words, text


def test_scripts_without_spaces_by_their_names():
    # What the Unicode names say, of letters that NFKC leaves as they are.
    unspaced = (
        *("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER"),
        *("MYANMAR", "BOPOMOFO", "YI SYLLABLE", "TAI ", "NEW TAI LUE"),
        *("KATAKANA-HIRAGANA", "TANGUT", "NUSHU", "KHITAN", "IDEOGRAPHIC"),
        *(
            "HENTAIGANA",
            "VERTICAL KANA",
            "VERTICAL IDEO",
            "MASU",
            "OLD CHINESE",
        ),
    )
    for code in range(0x20000):
        sign = chr(code)
        if not sign.isalpha() or words_of(sign) != [sign]:
            continue
        name = unicodedata.name(sign, "TANGUT")  # Whose letters have none.
        assert is_unspaced(sign) == name.startswith(unspaced), (hex(code), name)
    assert is_unspaced("\U0002a6df") and is_unspaced("\U00030000")
    assert not is_unspaced("๑") and not is_unspaced("가")
