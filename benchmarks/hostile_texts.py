"""Generated texts: hostile ones, and layouts of everyday files with names in them."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable

FIRST = ("Anna", "Bob", "José", "Zoë", "Łukasz", "Nguyễn", "O'Brien", "Jean-Luc")
LAST = ("Smith", "Jones", "Müller", "García", "van der Berg", "Ivanov", "Li", "McKay")
PLACES = ("Oslo", "New York", "São Paulo", "Berlin", "St. John's", "U.S.A.", "Cairo")
FIRMS = ("Siemens", "AT&T", "Acme Corp.", "U.N.", "Yahoo!", "3M", "e.on", "C&A")
WORDS = ("met", "the", "in", "report", "of", "yesterday", "and", "runs", "for", "42")
NAMES = (*PLACES, *FIRMS, *LAST)
TOKENS = ("</s>", "<|label|>", "<|mention 1|>", "<eos>", "[PAD]", "{text}", "{count}")
RANGES = (
    (0x00, 0x20),  # controls
    (0x7F, 0x180),
    (0x300, 0x370),  # combining marks
    (0x370, 0x600),
    (0x600, 0x700),  # Arabic
    (0x900, 0x980),  # Devanagari
    (0xE00, 0xE80),  # Thai
    (0x1100, 0x1200),  # Hangul letters
    (0x2000, 0x2070),  # spaces, directions, joiners
    (0x20D0, 0x2100),
    (0x3000, 0x3100),
    (0x4E00, 0x4F00),
    (0xE000, 0xE100),  # private
    (0xFE00, 0xFE10),  # variations
    (0xFF00, 0xFFF0),
    (0xFFF0, 0x10000),
    (0x1D400, 0x1D500),
    (0x1F300, 0x1F650),
    (0xE0000, 0xE0080),
    (0x10FFF0, 0x110000),
)
THAI = "นายสมชายเดินทางไปกรุงเทพมหานครเมื่อวานนี้"
CHINESE = "安格拉·默克尔在柏林会见了西门子公司的代表"

Make = Callable[[random.Random], str]


def name(chance: random.Random) -> str:
    """A name of a person, with titles now and then."""
    full = f"{chance.choice(FIRST)} {chance.choice(LAST)}"
    return chance.choice((full, full, full.upper(), f"Dr. {full}", full.lower()))


def sentence(chance: random.Random) -> str:
    """A sentence with names."""
    words = [chance.choice(WORDS) for _ in range(chance.randint(1, 8))]
    for _ in range(chance.randint(0, 3)):
        found = chance.choice((name(chance), chance.choice(NAMES)))
        words.insert(chance.randrange(len(words) + 1), found)
    return " ".join(words) + chance.choice((".", "", " .", "!", "?!"))


def noise(chance: random.Random, size: int) -> str:
    """Characters of any kind, without lone surrogates."""
    found = []
    for _ in range(size):
        start, end = chance.choice(RANGES)
        found.append(chr(chance.randrange(start, end)))
    return "".join(found)


# Hostile texts


def _noise(chance: random.Random) -> str:
    return noise(chance, chance.randint(0, 40))


def _noise_in_sentence(chance: random.Random) -> str:
    chars = list(sentence(chance))
    for _ in range(chance.randint(1, 6)):
        chars.insert(chance.randrange(len(chars) + 1), noise(chance, 1))
    return "".join(chars)


def _glued(chance: random.Random) -> str:
    parts = (name(chance), chance.choice(NAMES), THAI, CHINESE, noise(chance, 3), "é")
    return "".join(chance.choices(parts, k=chance.randint(2, 5)))


def _special_tokens(chance: random.Random) -> str:
    words = sentence(chance).split(" ")
    for _ in range(chance.randint(1, 4)):
        words.insert(chance.randrange(len(words) + 1), chance.choice(TOKENS))
    return chance.choice((" ", "")).join(words)


def _decomposed(chance: random.Random) -> str:
    marks = ("\u0301", "\u0308", "\u200b", "\u200d", "\u00ad", "\ufe0f", "\u202e")
    rate = chance.random() / 2
    return "".join(
        char + (chance.choice(marks) if chance.random() < rate else "")
        for char in sentence(chance)
    )


def _long_token(chance: random.Random) -> str:
    code = base64.b64encode(chance.randbytes(chance.randint(20, 200))).decode()
    long = chance.choice(
        (
            f"https://example.com/{code}?q={code[:9]}",
            code,
            chance.randbytes(32).hex(),
            "a" * chance.randint(50, 400),
            THAI * chance.randint(1, 3),
        )
    )
    return f"{sentence(chance)} {long} {sentence(chance)}"


def _repeated(chance: random.Random) -> str:
    unit = chance.choice((*NAMES, name(chance), "(", "\u0301", "-", "🙂", "A B", "."))
    glue = chance.choice((" ", " ", "", ", ", "\n", "\t"))
    return glue.join([unit] * chance.randint(2, 40))


def _blanks(chance: random.Random) -> str:
    blanks = (" ", "\n", "\t", "\r", "\r\n", "\f", "\u00a0", "\u2028", "\u3000", "")
    words = sentence(chance).split(" ")
    return "".join(
        word + "".join(chance.choices(blanks, k=chance.randint(0, 3))) for word in words
    )


def _case(chance: random.Random) -> str:
    return "".join(
        chance.choice((char.upper(), char.lower(), char)) for char in sentence(chance)
    )


def _punctuation(chance: random.Random) -> str:
    marks = "\"'`()[]{}<>«»„“”‘’.,;:!?…-–—_/\\|@#$%^&*+=~"
    words = sentence(chance).split(" ")
    return " ".join(
        "".join(chance.choices(marks, k=chance.randint(0, 2)))
        + word
        + "".join(chance.choices(marks, k=chance.randint(0, 2)))
        for word in words
    )


HOSTILE: dict[str, Make] = {
    "noise": _noise,
    "noise in a sentence": _noise_in_sentence,
    "scripts without blanks": _glued,
    "special tokens": _special_tokens,
    "marks and joiners": _decomposed,
    "long tokens": _long_token,
    "repeated words": _repeated,
    "kinds of blanks": _blanks,
    "case": _case,
    "punctuation": _punctuation,
}
"""Kind -> makes a hostile text."""


# Layouts


def _table(chance: random.Random) -> str:
    glue = chance.choice(("\t", " | ", ",", ";", "    "))
    rows = [["Name", "City", "Employer", "Amount"]]
    for _ in range(chance.randint(1, 8)):
        row = [name(chance), chance.choice(PLACES), chance.choice(FIRMS)]
        rows.append([*row, str(chance.randint(0, 9999))])
    return "\n".join(glue.join(row) for row in rows)


def _signature(chance: random.Random) -> str:
    return chance.choice(("\n", "\r\n")).join(
        (
            sentence(chance),
            chance.choice(("", "-- ", "Best regards,")),
            name(chance),
            f"Head of Sales, {chance.choice(FIRMS)}",
            f"Main St. {chance.randint(1, 99)}, {chance.choice(PLACES)}",
            f"Tel.: +1 {chance.randint(100, 999)} | www.example.com",
        )
    )


def _log(chance: random.Random) -> str:
    return "\n".join(
        f"2026-01-{chance.randint(1, 28):02} 12:00:{chance.randint(0, 59):02},123 "
        f"{chance.choice(('INFO', 'WARN', 'ERROR'))} [worker-{chance.randint(1, 9)}] "
        f'user="{name(chance)}" host={chance.choice(PLACES).lower()}.example.com '
        f"id={chance.randbytes(8).hex()} {sentence(chance)}"
        for _ in range(chance.randint(1, 6))
    )


def _code(chance: random.Random) -> str:
    who, where = name(chance), chance.choice(PLACES)
    return chance.choice(
        (
            f'def greet(name: str = "{who}") -> None:\n'
            f"    # {sentence(chance)}\n"
            f'    print(f"Hello {{name}} from {where}!")\n',
            f'{{"name": "{who}", "city": "{where}", "tags": ["a", null, 1.5e-3]}}',
            f"<p class='x'>{who} &amp; {chance.choice(FIRMS)}<br/>{where}</p>",
            f"SELECT * FROM people WHERE name = '{who}' AND city <> '{where}';",
        )
    )


def _markdown(chance: random.Random) -> str:
    items = "\n".join(
        f"{chance.choice(('-', '*', '1.'))} **{name(chance)}**, {sentence(chance)}"
        for _ in range(chance.randint(1, 5))
    )
    return (
        f"# {chance.choice(FIRMS)} in {chance.choice(PLACES)}\n\n{sentence(chance)} "
        f"[{name(chance)}](https://example.com/a_(b)?c=d#e)\n\n{items}\n\n"
        f"> {sentence(chance)}\n\n| Name | City |\n|---|---|\n"
        f"| {name(chance)} | {chance.choice(PLACES)} |\n"
    )


def _email(chance: random.Random) -> str:
    return (
        f"From: {name(chance)} <a.b@example.com>\n"
        f"To: {name(chance)}; {name(chance)}\n"
        f"Subject: Re: {chance.choice(FIRMS)} in {chance.choice(PLACES)}\n\n"
        f"Hi {chance.choice(FIRST)},\n\n{sentence(chance)}\n{sentence(chance)}\n\n"
        f"On Mon, {name(chance)} wrote:\n> {sentence(chance)}\n>> {sentence(chance)}\n"
    )


def _subtitles(chance: random.Random) -> str:
    return "\n".join(
        f"{number}\n00:00:{number:02},000 --> 00:00:{number + 1:02},500\n"
        f"- {sentence(chance)}\n<i>{sentence(chance)}</i>\n"
        for number in range(1, chance.randint(2, 6))
    )


LAYOUTS: dict[str, Make] = {
    "table": _table,
    "signature": _signature,
    "log": _log,
    "code": _code,
    "markdown": _markdown,
    "e-mail": _email,
    "subtitles": _subtitles,
}
"""Kind -> makes a text with a layout."""


def make_texts(
    kinds: dict[str, Make], count: int, *, seed: int
) -> list[tuple[str, str]]:
    """Generate texts, the same number of each kind.

    kinds (dict[str, Make]): `HOSTILE` or `LAYOUTS`.
    count (int): The number of texts.
    seed (int): Makes the texts the same in each run.
    RETURNS (list[tuple[str, str]]): The kind and the text of each.
    """
    chance = random.Random(seed)
    names = list(kinds)
    drawn_kinds = [names[number % len(names)] for number in range(count)]
    return [(kind, kinds[kind](chance)) for kind in drawn_kinds]


GROWING: dict[str, str] = {
    "sentences": "Anna Smith met Bob Jones of Siemens in New York yesterday . ",
    "lines of a list": "Anna Smith\n",
    "table": "Anna Smith\tOslo\tSiemens\n",
    "one name": "USA ",
    "one letter": "a",
    "words without blanks": THAI,
    "long URLs": f"https://example.com/{'x1' * 60} ",
    "combining marks": "\u0301",
    "brackets": "((",
    "line breaks": "\n",
    "spaces": "   ",
    "numbers": "1,234.5 ",
    "emoji": "👩‍👩‍👧 ",
    "zero-width": "a\u200b",
    "special tokens": "<|mention 1|>",
    "fields": "Name: Anna Smith\n",
    "capitals": "ANNA SMITH OF SIEMENS ",
}
"""Kind -> what is repeated to make long texts."""
