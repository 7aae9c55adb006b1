"""Languages are named, the same every time."""

from __future__ import annotations

import numpy as np
import pytest
from py3langid import langid

from danlu.text.byte_ngrams import classifier
from danlu.text.language import ONE_LANGUAGE, SAMPLE_CHARACTERS, SHARED, detect_language, identify
from danlu.text.paragraphs import language_shares, paragraphs_and_gaps, shares_in_words

ARTICLE_1 = {  # of the Universal Declaration of Human Rights, in the translations that the United Nations publish
    "en": "All human beings are born free and equal in dignity and "
    "rights. They are endowed with reason and conscience "
    "and should act towards one another in a spirit of brotherhood.",
    "de": "Alle Menschen sind frei und gleich an Würde und Rechten "
    "geboren. Sie sind mit Vernunft und Gewissen begabt "
    "und sollen einander im Geist der Brüderlichkeit begegnen.",
    "fr": "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués de raison et de "
    "conscience et doivent agir les uns envers les autres dans un esprit de fraternité.",
    "es": "Todos los seres humanos nacen libres e iguales en dignidad y derechos y, dotados como están de razón y "
    "conciencia, deben comportarse fraternalmente los unos con los otros.",
    "it": "Tutti gli esseri umani nascono liberi ed eguali in dignità e diritti. Essi sono dotati di ragione e di "
    "coscienza e devono agire gli uni verso gli altri in spirito di fratellanza.",
    "pt": "Todos os seres humanos nascem livres e iguais em dignidade "
    "e em direitos. Dotados de razão e de consciência, "
    "devem agir uns para com os outros em espírito de fraternidade.",
    "nl": "Alle mensen worden vrij en gelijk in waardigheid en rechten geboren. Zij zijn begiftigd met verstand en "
    "geweten, en behoren zich jegens elkander in een geest van broederschap te gedragen.",
    "pl": "Wszyscy ludzie rodzą się wolni i równi pod względem swej "
    "godności i swych praw. Są oni obdarzeni rozumem i "
    "sumieniem i powinni postępować wobec innych w duchu braterstwa.",
    "sv": "Alla människor är födda fria och lika i värde och rättigheter. "
    "De är utrustade med förnuft och samvete och "
    "bör handla gentemot varandra i en anda av broderskap.",
    "tr": "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar. Akıl ve vicdana sahiptirler ve "
    "birbirlerine karşı kardeşlik zihniyeti ile hareket etmelidirler.",
    "vi": "Tất cả mọi người sinh ra đều được tự do và bình đẳng về "
    "nhân phẩm và quyền. Mọi con người đều được tạo hoá "
    "ban cho lý trí và lương tâm và cần phải đối xử với nhau trong tình bằng hữu.",
    "ru": "Все люди рождаются свободными и равными в своем достоинстве и правах. Они наделены разумом и совестью и "
    "должны поступать в отношении друг друга в духе братства.",
    "uk": "Всі люди народжуються вільними і рівними у своїй гідності та правах. Вони наділені розумом і совістю і "
    "повинні діяти у відношенні один до одного в дусі братерства.",
    "el": "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα. Είναι προικισμένοι με "
    "λογική και συνείδηση, και οφείλουν να συμπεριφέρονται μεταξύ τους με πνεύμα αδελφοσύνης.",
    "he": "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם. כולם "
    "חוננו בתבונה ובמצפון, לפיכך חובה עליהם לנהוג איש "
    "ברעהו ברוח של אחווה.",
    "ar": "يولد جميع الناس أحراراً متساوين في الكرامة والحقوق. وقد "
    "وهبوا عقلاً وضميراً وعليهم أن يعامل بعضهم بعضاً بروح "
    "الإخاء.",
    "fa": "تمام افراد بشر آزاد به دنیا می‌آیند و از لحاظ حیثیت و حقوق "
    "با هم برابرند. همه دارای عقل و وجدان هستند و باید "
    "نسبت به یکدیگر با روح برادری رفتار کنند.",
    "hi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता "
    "और समानता प्राप्त है। उन्हें बुद्धि और अन्तरात्मा की देन "
    "प्राप्त है और परस्पर उन्हें भाईचारे के भाव से बर्ताव करना चाहिए।",
    "th": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ ต่างมีเหตุผลและมโนธรรม และควรปฏิบัติต่อกันด้วยเจตนารมณ์แห่งภราดรภาพ",
    "ko": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다. "
    "인간은 천부적으로 이성과 양심을 부여받았으며 서로 형제애의 "
    "정신으로 행동하여야 한다.",
    "ja": "すべての人間は、生れながらにして自由であり、かつ、尊厳と権利とについて平等である。"
    "人間は、理性と良心とを授けられており、"
    "互いに同胞の精神をもって行動しなければならない。",
    "zh": "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。",
}


@pytest.mark.parametrize(("language", "text"), ARTICLE_1.items())
def test_a_paragraph_is_enough(language: str, text: str) -> None:
    found = identify(text)
    assert found.code == language
    assert found.probability >= 0.8


def test_a_few_words_are_mostly_enough() -> None:
    """Pieces of 40 letters (of 12 characters in Chinese and Japanese)."""
    pieces = [
        (language, text[at : at + (12 if language in ("zh", "ja") else 40)])
        for language, text in ARTICLE_1.items()
        for at in range(0, len(text) - 40, 40)
    ]
    right = sum(detect_language(piece) == language for language, piece in pieces)
    assert right >= 0.85 * len(pieces), f"{right} of {len(pieces)}"
    sure = [(language, identify(piece)) for language, piece in pieces if identify(piece).probability >= 0.8]
    assert sum(found.code == language for language, found in sure) >= 0.97 * len(sure) and len(sure) > len(pieces) / 2


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The quick brown fox jumps over the lazy dog, and nobody minds.", "en"),
        ("话说天下大势，分久必合，合久必分。", "zh"),
        ("話說天下大勢，分久必合，合久必分。", "zh"),
        ("Der schnelle braune Fuchs springt über den faulen Hund.", "de"),
        ("吾輩は猫である。名前はまだ無い。", "ja"),
        ("我们用 Python 的 requests 库来发送请求。", "zh"),
        ("She said 你好 to everybody in the room and left.", "en"),
        ("这家店叫「おいしい」，老板是日本人，我们每个星期都去那里吃饭，味道好得很。", "zh"),
        ("ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ ᏗᎪᏪᎵ", "und"),
        ("\ud800 \udfff", "und"),
        ("", "und"),
        ("12 — 1,205 £ !?", "und"),
    ],
)
def test_examples(text: str, language: str) -> None:
    assert [detect_language(text) for _ in range(3)] == [language] * 3


def test_the_middle_of_a_long_text_decides() -> None:
    title = "第一回 宴桃园豪杰三结义" * 20
    text = title + "\n" + "It was the best of times, it was the worst of times. " * 100
    assert len(text) > 4 * SAMPLE_CHARACTERS
    assert detect_language(text) == "en"


def test_where_the_middle_is_a_table_of_numbers_the_words_around_it_decide() -> None:
    text = ARTICLE_1["de"] + "\n" + "1 2 3\n" * 1000 + ARTICLE_1["de"]
    assert detect_language(text) == "de"


@pytest.mark.parametrize(
    "text", [*ARTICLE_1.values(), "a", "ab", "abcde", "THE WHOLE IN CAPITALS", "e\u0301", "\ud800x"]
)
def test_the_scores_are_those_of_py3langid(text: str) -> None:
    reference = langid._get_identifier()
    scores = classifier().scores(text)
    expected = reference._raw_score(reference._encode(text))
    if scores is None:
        assert (expected == langid.RAW_FLOOR).all()
    else:
        np.testing.assert_allclose(scores, expected, rtol=1e-4)


def test_probabilities_are_normalised_as_those_of_py3langid() -> None:
    languages = ["en", "de", "fr", "sr"]
    reference = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
    reference.set_languages(languages)
    for text in ARTICLE_1["de"], "Guten Tag", "of the":
        expected = dict(reference.rank(text))
        found = classifier().probabilities(text, tuple(languages))
        assert found == pytest.approx(expected, abs=1e-4)
        assert sum(found.values()) == pytest.approx(1)


def test_every_language_has_its_script() -> None:
    named = {language for languages in SHARED.values() for language in languages} | set(ONE_LANGUAGE.values()) - {"bo"}
    assert named <= set(classifier().languages)


def test_shares_by_paragraph() -> None:
    text = f"{ARTICLE_1['en']}\n\n{ARTICLE_1['zh']}\n \n12\n\n\n{ARTICLE_1['en']}\n"
    pieces = paragraphs_and_gaps(text)
    assert "".join(pieces) == text and pieces[::2][:3] == [ARTICLE_1["en"], ARTICLE_1["zh"], "12"]
    english, chinese = 2 * len(ARTICLE_1["en"]) + 1, len(ARTICLE_1["zh"])
    assert language_shares(text) == pytest.approx(
        {"en": english / (english + chinese), "zh": chinese / (english + chinese)}
    )
    assert (
        shares_in_words(language_shares(text))
        == f"en {english / (english + chinese):.2f}, zh {chinese / (english + chinese):.2f}"
    )
    assert paragraphs_and_gaps("a\nb")[::2] == ["a", "b"], "without blank lines a line is a paragraph"
