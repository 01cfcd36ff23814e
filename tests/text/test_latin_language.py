"""Languages of one script are told apart on windows of words, and not below."""

import re
import time

import pytest

from r1jax.text.language import language_share
from r1jax.text.latin_language import ALIKE, LATIN_LANGUAGES, latin_share

pytest.importorskip("py3langid", reason="pip install 'r1jax[language]'")

# Reasoning about apples, about 50 words each.
TRACES = {
    "en": "First we count how many apples are in the basket, and then we take away those which the girl has eaten on "
    "her way home. Wait, that is not quite right, because her brother has given her some more. So we add them and "
    "check the calculation before we write down the answer.",
    "fr": "D'abord nous comptons combien de pommes se trouvent dans le panier, puis nous enlevons celles que la fille "
    "a mangées sur le chemin de la maison. Attends, ce n'est pas tout à fait juste, car son frère lui en a donné "
    "encore. Donc nous les ajoutons et vérifions le calcul avant d'écrire la réponse.",
    "de": "Zuerst zählen wir, wie viele Äpfel im Korb liegen, und dann nehmen wir die weg, die das Mädchen auf dem "
    "Heimweg gegessen hat. Moment, das stimmt nicht ganz, denn ihr Bruder hat ihr noch welche gegeben. Also rechnen "
    "wir sie dazu und prüfen die Rechnung, bevor wir die Antwort aufschreiben.",
    "es": "Primero contamos cuántas manzanas hay en la cesta, y luego quitamos las que la niña se ha comido de camino "
    "a casa. Espera, eso no es del todo correcto, porque su hermano le ha dado algunas más. Así que las sumamos y "
    "comprobamos el cálculo antes de escribir la respuesta.",
    "it": "Prima contiamo quante mele ci sono nel cesto, e poi togliamo quelle che la ragazza ha mangiato tornando a "
    "casa. Aspetta, questo non è del tutto giusto, perché suo fratello gliene ha date altre. Quindi le aggiungiamo e "
    "controlliamo il calcolo prima di scrivere la risposta.",
    "nl": "Eerst tellen we hoeveel appels er in de mand liggen, en dan halen we die weg die het meisje onderweg naar "
    "huis heeft opgegeten. Wacht, dat klopt niet helemaal, want haar broer heeft haar er nog een paar gegeven. Dus "
    "tellen we die erbij op en controleren we de berekening voordat we het antwoord opschrijven.",
    "vi": "Trước hết chúng ta đếm xem trong giỏ có bao nhiêu quả táo, rồi bớt đi những quả mà cô bé đã ăn trên đường "
    "về nhà. Khoan đã, như vậy chưa đúng hẳn, vì anh trai đã cho cô bé thêm một ít. Vậy chúng ta cộng thêm vào và "
    "kiểm tra lại phép tính trước khi viết câu trả lời.",
}


@pytest.mark.parametrize("language", TRACES)
@pytest.mark.parametrize("target", TRACES)
def test_a_passage_is_in_its_language_and_in_no_other(language, target):
    text = TRACES[language] + " $x = 3 \\times 4$ `print(apples)` 12."
    assert language_share(text, target, window_words=20) == float(language == target)


def test_what_is_shorter_than_a_window_counts_as_the_target():
    few = TRACES["fr"].split()[:19]
    assert latin_share(few, "en", 20) == 1.0
    assert latin_share([], "en", 20) == 1.0
    assert latin_share([*few, "encore"], "en", 20) == 0.0


def test_every_word_is_in_one_window():
    words = TRACES["fr"].split() + TRACES["en"].split()
    # windows of 20 from the start, the last with what is left over: one of them holds both languages
    shares = latin_share(words, "en", 20), latin_share(words, "fr", 20)
    assert sum(shares) == pytest.approx(1.0)
    english = len(TRACES["en"].split()) / len(words)
    assert shares[0] == pytest.approx(english, abs=20 / len(words))


def test_halves_of_a_long_text_by_windows():
    text = (TRACES["fr"] + "\n") * 20 + (TRACES["en"] + "\n") * 20
    french, english = (len(re.findall(r"\w+", TRACES[name])) for name in ("fr", "en"))
    assert language_share(text, "en", window_words=50) == pytest.approx(english / (french + english), abs=0.06)


def test_repeated_words_are_in_their_language():
    assert latin_share(["the"] * 200, "en", 50) == 1.0
    assert latin_share(["nous"] * 200, "en", 50) == 0.0


def test_chinese_targets_ask_no_classifier_and_other_words_stay_others():
    # 6 / 1.5 = 4 Chinese words; the French ones are no Chinese whatever they are
    latin = len([word for word in re.findall(r"[^\W\d_]+(?:'[a-z]+)*", TRACES["fr"]) if len(word) > 1])
    assert language_share(TRACES["fr"] + "小明有五苹果", "zh", window_words=20) == pytest.approx(
        4 / (4 + latin), abs=0.01
    )


def test_near_languages_count_as_each_other():
    assert all(group <= LATIN_LANGUAGES for group in ALIKE)
    bosnian = "Prvo brojimo koliko jabuka ima u korpi a zatim oduzimamo one koje je djevojčica pojela na putu kući"
    words = bosnian.split() * 4
    assert latin_share(words, "hr", 50) == latin_share(words, "bs", 50) == 1.0


@pytest.mark.parametrize("unit", ["word ", "w" * 100_000 + " ", "é", "the mot "])
def test_megabytes_cost_little(unit):
    text = unit * (1_000_000 // len(unit))
    started = time.process_time()
    language_share(text, "en", window_words=20)
    assert time.process_time() - started < 20.0  # about 1 s
