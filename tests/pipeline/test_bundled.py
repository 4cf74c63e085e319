from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import spacy
from spacy.language import Language

from spacy_padellm.lm.files.bundled import BUNDLED

REPOSITORY = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module", params=sorted(BUNDLED))
def nlp(request: pytest.FixtureRequest) -> Language:
    nlp = spacy.blank("en")
    nlp.add_pipe("padellm_ner", config={"model": {"name": request.param}})
    return nlp


@pytest.mark.parametrize("text", ["Paris , France .", "Paris, France."])
def test_bundled_model_finds_entities(nlp: Language, text: str) -> None:
    doc = nlp(text)
    found = [(ent.text, ent.label_) for ent in doc.ents]
    assert found == [("Paris", "LOC"), ("France", "LOC")]
    assert all(0 < ent._.padellm_score <= 1 for ent in doc.ents)


@pytest.mark.parametrize("name", ["Germany", "Angela Merkel"])
def test_bundled_model_finds_a_name_that_is_all_of_a_text(
    nlp: Language, name: str
) -> None:
    assert [ent.text for ent in nlp(name).ents] == [name]


@pytest.mark.parametrize("name", ["John F. Kennedy", "George W. Bush"])
def test_bundled_model_finds_a_person_with_a_middle_initial(
    nlp: Language, name: str
) -> None:
    doc = nlp(f"{name} was shot in Dallas.")
    assert (name, "PER") in [(ent.text, ent.label_) for ent in doc.ents]


def test_bundled_model_results_do_not_depend_on_the_batch() -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe(
        "padellm_ner",
        config={"model": {"name": "bundled-en-sm", "dtype": "float32"}},
    )
    texts = [
        "Paris , France .",
        "Nobody spoke .",
        "The European Central Bank raised its rates in Frankfurt on Thursday .",
        "LONDON 1996-08-30",
        "Apollo 11 landed on the Moon with Neil Armstrong and Buzz Aldrin aboard .",
    ] * 6
    together = list(nlp.pipe(texts))
    for text, doc in zip(texts, together, strict=True):
        alone = nlp(text)
        spans, single = doc.spans["padellm"], alone.spans["padellm"]
        assert [(s.text, s.start, s.label_) for s in spans] == [
            (s.text, s.start, s.label_) for s in single
        ]
        assert spans.attrs["scores"] == pytest.approx(single.attrs["scores"], abs=1e-4)


@pytest.mark.parametrize(
    "text", ["Just landed in New York 🎉🔥", "We met in New York ❤️ with Anna."]
)
def test_bundled_model_finds_a_name_before_an_emoji(nlp: Language, text: str) -> None:
    assert ("New York", "LOC") in [(ent.text, ent.label_) for ent in nlp(text).ents]


@pytest.mark.parametrize("mark", ["\u200b", "\ufeff", "\u202a", "\u200e", "\x00"])
def test_bundled_model_finds_a_name_beside_a_mark_that_is_not_seen(
    nlp: Language, mark: str
) -> None:
    doc = nlp(f"They moved to {mark}Berlin{mark} in May.")
    assert [(ent.text.strip(mark), ent.label_) for ent in doc.ents] == [
        ("Berlin", "LOC")
    ]


@pytest.mark.parametrize("name", ["USA ", "USA, ", "Smith, "])
def test_bundled_model_finds_a_repeated_name_at_all_its_places(name: str) -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("padellm_ner", config={"model": {"name": "bundled-en-sm"}})
    doc = nlp(name * 500)
    assert [ent.text for ent in doc.ents] == [name.strip(" ,")] * 500


@pytest.mark.parametrize(("name", "megabytes"), [("en", 75), ("en-sm", 16)])
def test_bundled_model_is_small_and_has_a_card(name: str, megabytes: int) -> None:
    folder = BUNDLED[f"bundled-{name}"]
    size = sum(path.stat().st_size for path in folder.iterdir())
    assert size < megabytes * 1000 * 1000
    assert (folder / "MODEL_CARD.md").is_file()


def test_readme_first_example_runs_as_written(capsys: pytest.CaptureFixture) -> None:
    readme = (REPOSITORY / "README.md").read_text("utf8")
    example = re.search(r"```python\n(.*?)```", readme, flags=re.DOTALL)
    assert example
    exec(example.group(1), {})
    assert "Emmanuel Macron PER " in capsys.readouterr().out


def test_import_of_the_package_is_light() -> None:
    code = (
        "import sys, spacy_padellm; "
        "assert not {'torch', 'spacy', 'transformers', 'thinc'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "module", ["tree", "prompt", "mention", "text.align", "lm", "decoding.tree.decoder"]
)
def test_import_of_the_rooms_without_spacy(module: str) -> None:
    code = (
        f"import sys, spacy_padellm.{module}; "
        "assert not {'spacy', 'thinc'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
