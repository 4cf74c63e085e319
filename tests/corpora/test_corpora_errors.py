"""Conversion: errors, whose messages say what to do."""

import gzip
import json

import pytest
import spacy
from spacy.tokenizer import Tokenizer

from spacy_padellm.corpora.convert import convert
from spacy_padellm.corpora.records import ConversionError
from spacy_padellm.text.tokenizing import LONGEST_WORD

GOOD = '{"text": "Bo", "spans": [[0, 2, "PER"]]}\n'


def run(source, *, data_format="jsonl", lang="en", flat=False, **options):
    options = {"spans_key": "padellm", **options}
    target = source.parent / options.pop("target", "out/gold.spacy")
    return convert(
        source,
        target,
        data_format=data_format,
        lang=lang,
        flat=flat,
        **options,
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "No text could be read"),
        (b"{}\n[1]", "2 bad lines, the first: .*a.jsonl:1: no text"),
        (b'{"text": "Bo", "spans": []}', "None of the 1 texts"),
        (b"\xff\xfe", "UTF-8"),
    ],
    ids=["empty", "all-bad", "no-labels", "not-utf8"],
)
def test_corpora_useless_file_is_an_error(tmp_path, content, message):
    (tmp_path / "a.jsonl").write_bytes(content)
    with pytest.raises(ConversionError, match=message):
        run(tmp_path / "a.jsonl")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            GOOD.encode("utf-16"),
            "is text in UTF-16, which is not read. Save it",
        ),
        (b"\x28\xb5\x2f\xfd\xff", "is compressed with Zstandard.*zstd -d"),
    ],
)
@pytest.mark.parametrize("data_format", ["auto", "jsonl", "conll"])
def test_corpora_file_of_a_known_kind_is_named(tmp_path, content, message, data_format):
    (tmp_path / "a.jsonl").write_bytes(content)
    with pytest.raises(ConversionError, match=message):
        run(tmp_path / "a.jsonl", data_format=data_format)


CORRUPT = gzip.compress(b"x" * 99)[:10] + b"\xff" * 20


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz"])
@pytest.mark.parametrize(
    "content", [b"not packed", CORRUPT, b""], ids=["plain", "cut", "empty"]
)
def test_corpora_broken_archive_is_an_error(tmp_path, suffix, content):
    source = tmp_path / f"a.jsonl.{suffix}"
    source.write_bytes(content)
    with pytest.raises(ConversionError, match=r"Could not read|No text could be read"):
        run(source)


def test_corpora_archive_larger_than_the_memory_is_an_error(tmp_path, monkeypatch):
    def fill_memory(*_, **__):
        raise MemoryError

    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(GOOD.encode()))
    monkeypatch.setattr("spacy_padellm.corpora.files.OpenFile", fill_memory)
    with pytest.raises(ConversionError, match=r"Could not read .*MemoryError"):
        run(tmp_path / "a.jsonl.gz")


def test_corpora_text_with_an_endless_word_is_left_out(tmp_path):
    row = {"text": "Bo " + "(" * (LONGEST_WORD + 1), "spans": [[0, 2, "PER"]]}
    rows = f"{GOOD}{json.dumps(row)}\n"
    (tmp_path / "a.jsonl").write_text(rows, encoding="utf-8")
    (bad,) = run(tmp_path / "a.jsonl").bad
    assert bad.line == 2
    assert f"{LONGEST_WORD + 1} characters without a blank" in bad.reason


def test_corpora_text_that_is_too_long_for_spacy_is_left_out(tmp_path):
    row = {"text": "Bo met. " * 125_001, "spans": [[0, 2, "PER"]]}
    rows = f"{GOOD}{json.dumps(row)}\n"
    (tmp_path / "a.jsonl").write_text(rows, encoding="utf-8")
    report = run(tmp_path / "a.jsonl")
    (bad,) = report.bad
    assert (report.docs, bad.line) == (1, 2)
    assert "1000008 characters, but spaCy takes at most 1000000" in bad.reason


def test_corpora_text_that_the_tokenizer_fails_for_is_left_out(tmp_path, monkeypatch):
    class Failing(Tokenizer):
        def __call__(self, text):
            if "bad" in text:
                raise KeyError(text)
            return super().__call__(text)

    def pipeline(lang):
        nlp = spacy.blank(lang)
        nlp.tokenizer = Failing(nlp.vocab)
        return nlp

    monkeypatch.setattr("spacy_padellm.corpora.convert.blank_pipeline", pipeline)
    row = {"text": "Bo is bad", "spans": [[0, 2, "PER"]]}
    (tmp_path / "a.jsonl").write_text(f"{json.dumps(row)}\n{GOOD}", encoding="utf-8")
    report = run(tmp_path / "a.jsonl")
    (bad,) = report.bad
    assert (report.docs, bad.line) == (1, 1)
    assert bad.reason == "tokenizer: KeyError: 'Bo is bad'"


@pytest.mark.parametrize(
    ("row", "lang"),
    [
        ({"text": "长" * (LONGEST_WORD + 1), "spans": [[0, 2, "PER"]]}, "zh"),
        ({"tokens": ["x" * (LONGEST_WORD + 1)], "ner_tags": ["B-PER"]}, "en"),
        ({"text": "x" * LONGEST_WORD + " y", "spans": [[0, 2, "PER"]]}, "en"),
    ],
)
def test_corpora_long_text_that_is_quick_is_converted(tmp_path, row, lang):
    (tmp_path / "a.jsonl").write_text(json.dumps(row), encoding="utf-8")
    assert run(tmp_path / "a.jsonl", lang=lang).docs == 1


def test_corpora_mentions_that_are_all_bad_are_named(tmp_path):
    (tmp_path / "a.txt").write_text("Bob met Ann", encoding="utf-8")
    (tmp_path / "a.ann").write_text("T1\tPER 7 10\tAnn\n", encoding="utf-8")
    with pytest.raises(ConversionError, match=r"1 bad lines, the first: .*a\.ann:1"):
        run(tmp_path / "a.txt", data_format="brat")


def test_corpora_missing_input_is_an_error(tmp_path):
    with pytest.raises(ConversionError, match="Input not found"):
        run(tmp_path / "none.jsonl")


def test_corpora_folder_without_fitting_file_is_an_error(tmp_path):
    with pytest.raises(ConversionError, match=r"\.json, \.jsonl"):
        run(tmp_path)


def test_corpora_unknown_format_is_an_error(tmp_path):
    with pytest.raises(ConversionError, match="auto, paper, conll, brat, jsonl"):
        run(tmp_path, data_format="xml")


def test_corpora_unknown_language_is_an_error(tmp_path):
    with pytest.raises(ConversionError, match=r"'nope' cannot be used.* 'xx'"):
        run(tmp_path, lang="nope")


def test_corpora_columns_of_other_formats_are_an_error(tmp_path):
    (tmp_path / "a.jsonl").write_text(GOOD, encoding="utf-8")
    with pytest.raises(ConversionError, match="Drop them"):
        run(tmp_path, tag_column=0)
    with pytest.raises(ConversionError, match="read as 'jsonl'"):
        run(tmp_path, data_format="auto", token_column=0)


def test_corpora_key_of_spans_that_are_not_written_is_an_error(tmp_path):
    (tmp_path / "a.jsonl").write_text(GOOD, encoding="utf-8")
    with pytest.raises(ConversionError, match="--flat does not write"):
        run(tmp_path, flat=True, spans_key="gold")


def test_corpora_target_needs_its_suffix(tmp_path):
    (tmp_path / "a.jsonl").write_text(GOOD, encoding="utf-8")
    with pytest.raises(ConversionError, match=r"ends in \.spacy"):
        run(tmp_path / "a.jsonl", target="out.json")


def test_corpora_target_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "a.jsonl").write_text(GOOD, encoding="utf-8")
    with pytest.raises(
        ConversionError, match=r"Cannot write .*Give a file in a folder"
    ):
        run(tmp_path / "a.jsonl", target="a.jsonl/out.spacy")


@pytest.mark.parametrize("target", ["circle.spacy", "a" * 300 + ".spacy", "in.spacy"])
def test_corpora_target_that_leads_nowhere_is_an_error(tmp_path, target):
    (tmp_path / "a.jsonl").write_text(GOOD, encoding="utf-8")
    (tmp_path / "circle.spacy").symlink_to(tmp_path / "circle.spacy")
    (tmp_path / "in.spacy").mkdir()
    with pytest.raises(
        ConversionError, match=r"Cannot write .*Give a file in a folder"
    ):
        run(tmp_path / "a.jsonl", target=target)


def test_corpora_target_is_checked_before_the_input_is_read(tmp_path):
    (tmp_path / "a.spacy").write_text("no JSON", encoding="utf-8")
    with pytest.raises(ConversionError, match="is read by this command"):
        run(tmp_path / "a.spacy", target="a.spacy")


@pytest.mark.parametrize(
    ("broken", "error", "message"),
    [
        ("os.fsync", OSError(28, "No space left"), "Cannot write .*No space left"),
        ("spacy.tokens.DocBin.to_bytes", ValueError("too large"), "in several parts"),
        ("spacy.tokens.DocBin.to_bytes", KeyboardInterrupt(), "^$"),
    ],
    ids=["full", "large", "stopped"],
)
def test_corpora_old_target_stays_when_the_new_one_fails(
    tmp_path, monkeypatch, broken, error, message
):
    def fail(*_):
        raise error

    target = tmp_path / "gold.spacy"
    (tmp_path / "a.jsonl").write_text(GOOD, encoding="utf-8")
    target.write_bytes(b"old")
    monkeypatch.setattr(broken, fail)
    with pytest.raises((ConversionError, KeyboardInterrupt), match=message):
        run(tmp_path / "a.jsonl", target="gold.spacy")
    assert target.read_bytes() == b"old"
    assert sorted(tmp_path.iterdir()) == [tmp_path / "a.jsonl", target]


def test_corpora_flat_overlap_is_an_error_with_its_line(tmp_path):
    nested = '{"text": "LA Times", "spans": [[0, 8, "ORG"], [0, 2, "LOC"]]}\n'
    (tmp_path / "a.jsonl").write_text(GOOD + nested, encoding="utf-8")
    with pytest.raises(ConversionError, match=r"a\.jsonl:2: .*Drop --flat"):
        run(tmp_path / "a.jsonl", flat=True)
