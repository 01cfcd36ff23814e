"""The final answer of a completion, and when two answers are plainly the same.

Extraction never reads the thinking: a box in there is a guess, not an answer. It is linear in its text, since
completions that repeat one tag ten thousand times do occur. To compare takes a pass for each wrapper about an
answer, but only of answers of at most LONGEST_ANSWER_CHARS.
"""

from __future__ import annotations

import re
from fractions import Fraction

THINK_TAG = re.compile(r"</?think>")
BRACE = re.compile(r"\\(?:boxed|fbox|framebox)\s*\{|\\.|[{}]", re.DOTALL)

# Beyond this an answer is prose or a degenerate loop: it is compared as it stands, and no shorter one equals it.
# It also keeps numbers below the 4,300 digits at which Python refuses to convert strings.
LONGEST_ANSWER_CHARS = 2000


def thinking(text: str) -> str | None:
    """What stands inside think tags, several blocks joined by a newline; None where there is no think tag.

    A block that is never closed (a truncated completion) reaches to the end. Where the first tag closes, the
    opening one was in the prompt and the text before it is thinking.
    """
    blocks = _think_blocks(text)[0]
    return "\n".join(blocks) if blocks else None


def after_thinking(text: str) -> str:
    """What follows the last closed think block: all of a text without tags, "" while one is open."""
    return _think_blocks(text)[1]


def answer_tag(text: str) -> str | None:
    """The stripped content of the last `<answer>...</answer>` outside the thinking, or None."""
    rest = after_thinking(text)
    start = rest.rfind("<answer>", 0, max(rest.rfind("</answer>"), 0))
    if start < 0:
        return None
    start += len("<answer>")
    return rest[start : rest.index("</answer>", start)].strip()


def last_boxed(text: str) -> str | None:
    r"""The content of the last complete `\boxed{...}` (or `\fbox`, `\framebox`), braces balanced; or None.

    Of nested boxes it is the inner one. Escaped braces (`\{`) are text.
    """
    opened: list[int | None] = []  # for each open brace: where its box's content starts, None if not a box
    start, content = -1, None
    for brace in BRACE.finditer(text):
        if brace.group() == "}":
            box = opened.pop() if opened else None
            if box is not None and box > start:
                start, content = box, text[box : brace.start()]
        elif brace.group() == "{":
            opened.append(None)
        elif brace.group().endswith("{") and len(brace.group()) > 2:
            opened.append(brace.end())
    return content


def final_answer(text: str) -> str | None:
    """The answer that a completion commits to, or None.

    The answer tag's content (a box inside it preferred); without a tag the last box. Both are looked
    for after the thinking only, so a thinking that is never closed leaves no answer.
    """
    tagged = answer_tag(text)
    if tagged is not None:
        boxed = last_boxed(tagged)
        answer = tagged if boxed is None else boxed
    else:
        answer = last_boxed(after_thinking(text)) or ""
    return answer.strip() or None


def canonical_key(answer: str) -> str:
    r"""A spelling that equal answers share; different keys may still mean equal answers.

    Plain numbers (integers, decimals, simple fractions, thousands separators, digits parted by spaces as a
    digit tokenizer writes them) become a reduced fraction: "0.50", "1/2" and "\frac{1}{2}" give "1/2",
    "5 9" gives "59". Otherwise wrappers ($...$, \text, **...**), a final period, full-width punctuation and
    idle whitespace go, natural words are lowered, "(B)" becomes "B". A key is its own key.
    """
    if len(answer) > LONGEST_ANSWER_CHARS:
        return " ".join(answer.translate(ASCII).split())
    text = unwrapped(THOUSANDS.sub(_without_separators, answer).translate(ASCII))
    value = _number(text)
    return _phrase(text) if value is None else str(value)


def fast_equal(gold: str, answer: str) -> bool | None:
    """Whether the two are the same answer, where strings or plain numbers decide; None where algebra must.

    True: equal keys. False: two different plain numbers (unless one may be the other rounded), choice
    letters, or natural words; a short answer and one beyond LONGEST_ANSWER_CHARS.
    """
    gold_key, answer_key = canonical_key(gold), canonical_key(answer)
    if not gold_key or not answer_key:
        return None
    if gold_key == answer_key:
        return True
    if max(len(gold), len(answer)) > LONGEST_ANSWER_CHARS:
        # Two such keys are not in normal form; algebra on one such answer would cost its deadline and yield nothing.
        return None if min(len(gold), len(answer)) > LONGEST_ANSWER_CHARS else False
    if NUMBER_KEY.fullmatch(gold_key) and NUMBER_KEY.fullmatch(answer_key):
        values = Fraction(gold_key), Fraction(answer_key)
        distance = abs(values[0] - values[1])
        # One may be the other rounded (1/3 and 0.333333), which math-verify accepts; integers are exact.
        rounded = distance <= ROUNDING * min(1, max(map(abs, values)))
        return None if rounded and any(one.denominator != 1 for one in values) else False
    if CHOICE_KEY.fullmatch(gold_key) and CHOICE_KEY.fullmatch(answer_key):
        return False
    if WORDS.fullmatch(gold_key) and WORDS.fullmatch(answer_key):
        # The same few letters in another order may be one product of variables: abc and cab, but not east and seat.
        product = len(gold_key) <= MOST_VARIABLES and sorted(gold_key) == sorted(answer_key)
        return None if product else False
    return None


def _think_blocks(text: str) -> tuple[list[str], str]:
    """The contents of the think blocks, and the text after the last of them ("" while one is open)."""
    tags = list(THINK_TAG.finditer(text))
    if not tags:
        return [], text
    blocks: list[str] = []
    start = 0 if tags[0].group() == "</think>" else None  # of the open block
    for tag in tags:
        if tag.group() == "<think>" and start is None:
            start = tag.end()
        elif tag.group() == "</think>" and start is not None:
            blocks.append(text[start : tag.start()])
            start = None
    if start is not None:
        return [*blocks, text[start:]], ""
    return blocks, text[tags[-1].end() :]


# Full-width forms, Chinese punctuation, typographic signs and spaces.
ASCII = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
ASCII |= str.maketrans("。−‘’“”\u00a0\u2009\u202f\u3000", ".-''\"\"    ")
ASCII[ord("、")] = ", "  # it parts the entries of a list, never thousands
# Between the digits of one number, written so; `1\,234` and `1{,}234` are among the rewrites.
THOUSANDS = re.compile(r"(?<![0-9.])[0-9]{1,3}(?:(?:[\u2009\u202f]|\\[ ;])[0-9]{3})+(?![0-9])")

WRAPPERS = (
    re.compile(r"\$\$((?:[^$\\]|\\.)*)\$\$", re.DOTALL),
    re.compile(r"\$((?:[^$\\]|\\.)*)\$", re.DOTALL),
    re.compile(r"\\\((.*)\\\)", re.DOTALL),
    re.compile(r"\\\[(.*)\\\]", re.DOTALL),
    re.compile(r"\*\*((?:[^*]|\*(?!\*))*)\*\*"),
    re.compile(r"`([^`]*)`"),
)
REWRITES = (
    (re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathit|mbox)\s*\{([^{}]*)\}"), r" \1 "),
    (re.compile(r"\\(?:left|right|displaystyle)(?![A-Za-z])|\\[!,]"), ""),
    (re.compile(r"\\[;: ]|~"), " "),
    (re.compile(r"\\[dtc]frac(?![A-Za-z])"), r"\\frac"),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\([%$])"), r"\1"),
    (re.compile(r"\A([-+]?)\s*\$\s*(?=[0-9.][^$]*\Z)"), r"\1"),  # a currency sign, once $...$ is unwrapped
)
FINAL_STOP = re.compile(r"(?<!\.)\.\Z|(?<!\\)[,;:]\Z")  # not of an ellipsis: 0.333... is not 0.333

DIGITS = r"(?:(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]*)?|\.[0-9]+)"
PARENTHESES = re.compile(r"\(([^(),]*)\)")  # with a comma it is a pair: (1,234)
RATIO = re.compile(rf"([-+]?)\s*({DIGITS})(?:\s*/\s*([-+]?)\s*({DIGITS}))?")
FRAC = re.compile(rf"([-+]?)\s*\\frac\s*(?:\{{\s*({DIGITS})\s*\}}|([0-9]))\s*(?:\{{\s*({DIGITS})\s*\}}|([0-9]))")

ROUNDING = Fraction(1, 10**5)  # of the larger value, and of 1 where that is less
MOST_VARIABLES = 3  # that a product without signs is taken to have, when it could as well be a word
NUMBER_KEY = re.compile(r"-?[0-9]+(?:/[1-9][0-9]*)?")  # 1/0 is none
CHOICE_KEY = re.compile(r"[A-Z]")
# Of two letters and more, one of them of three: "x and y" and "AB" are not lowered.
WORDS = re.compile(r"(?=.*[a-z]{3})[A-Za-z][a-z]+(?:(?:[ -][A-Za-z]|')[a-z]+)*")


def unwrapped(text: str) -> str:
    """`text` without wrappers, spacing commands and a final period, each of which may hide another.

    A pass for each layer, so not for texts of any length.
    """
    before = None
    while text != before:
        before = text
        text = FINAL_STOP.sub("", text.strip()).strip()
        for wrapper in WRAPPERS:
            if match := wrapper.fullmatch(text):
                text = match.group(1)
        for pattern, replacement in REWRITES:
            text = pattern.sub(replacement, text)
    return text


def _without_separators(number: re.Match[str]) -> str:
    return re.sub(r"[^0-9]", "", number.group())


def _number(text: str) -> Fraction | None:
    """The value of a plain number, or None."""
    if match := PARENTHESES.fullmatch(text):
        text = match.group(1).strip()
    tokens = text.split()
    if len(tokens) > 1 and all(token in "0123456789+-./" and len(token) == 1 for token in tokens):
        text = "".join(tokens)  # written by a digit tokenizer: "1 2 . 5"
    if match := RATIO.fullmatch(text):
        sign, top, below_sign, bottom = match.groups()
    elif match := FRAC.fullmatch(text):
        sign, below_sign = match.group(1), ""
        top, bottom = match.group(2) or match.group(3), match.group(4) or match.group(5)
    else:
        return None
    value = Fraction(top.replace(",", ""))
    if bottom is not None:
        divisor = Fraction(bottom.replace(",", ""))
        if divisor == 0:
            return None
        value /= divisor
    return -value if (sign == "-") != (below_sign == "-") else value


def _phrase(text: str) -> str:
    """The key of what is not a number."""
    text = " ".join(text.split())
    text = re.sub(r"\s*([^\w\s.,])\s*", r"\1", text)  # around signs; a space between words or digits has meaning
    text = re.sub(r"\s*,\s*", ", ", text).strip()  # a list: "1, 234" is not 1,234
    text = re.sub(r"(?<=[\u4e00-\u9fff]) (?=[\u4e00-\u9fff])", "", text)
    if match := re.fullmatch(r"\(([A-Z])\)", text):
        return match.group(1)
    return text.lower() if WORDS.fullmatch(text) else text
