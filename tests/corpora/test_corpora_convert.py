"""Conversion to DocBin: texts, spans and annotation survive; nothing is lost."""

import bz2
import gzip
import json
import lzma
import random
from collections import Counter
from pathlib import Path

import pytest
import spacy
from spacy.tokens import DocBin
from spacy.training import Corpus

from spacy_padellm.corpora.command import print_report
from spacy_padellm.corpora.convert import convert
from spacy_padellm.corpora.mentions.trim import trim_spans
from spacy_padellm.corpora.recognize import recognize
from spacy_padellm.corpora.records import CorpusRecord
from spacy_padellm.corpora.writing.docs import count_overlaps
from spacy_padellm.errors import Warnings
from spacy_padellm.text.labels import LABELS_KEY


def jsonl(path, rows):
    lines = [json.dumps({"text": text, "spans": spans}) for text, spans in rows]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def run(source, *, data_format="jsonl", lang="en", flat=False, **options):
    target = source.parent / "out" / "gold.spacy"
    report = convert(
        source,
        target,
        data_format=data_format,
        lang=lang,
        flat=flat,
        spans_key="padellm",
        **options,
    )
    vocab = spacy.blank(lang).vocab
    return report, list(DocBin().from_disk(target).get_docs(vocab))


def gold(doc):
    return [(s.start_char, s.end_char, s.label_) for s in doc.spans["padellm"]]


def ents(doc):
    return [(s.start_char, s.end_char, s.label_) for s in doc.ents]


NESTED = [[0, 16, "ORG"], [14, 16, "LOC"], [14, 16, "GPE"]]
NESTED_TEXT = "University of LA won"


def test_corpora_round_trip_keeps_nested_mentions(tmp_path):
    _, (doc,) = run(jsonl(tmp_path / "a.jsonl", [(NESTED_TEXT, NESTED)]))
    assert doc.text == NESTED_TEXT
    assert sorted(gold(doc)) == sorted(map(tuple, NESTED))
    assert ents(doc) == [(0, 16, "ORG")]


def test_corpora_doc_without_mention_is_annotated(tmp_path):
    source = jsonl(tmp_path / "a.jsonl", [("none here", []), ("Bo", [[0, 2, "PER"]])])
    _, (doc, _) = run(source)
    assert doc.has_annotation("ENT_IOB")
    assert doc.ents == ()
    assert gold(doc) == []


def test_corpora_flat_writes_no_span_group(tmp_path):
    source = jsonl(tmp_path / "a.jsonl", [("Bo", [[0, 2, "PER"]])])
    _, (doc,) = run(source, flat=True)
    assert dict(doc.spans) == {}
    assert ents(doc) == [(0, 2, "PER")]


def test_corpora_mention_inside_token_splits_it(tmp_path):
    rows = [("preBrexittalks", [[3, 9, "EVENT"]]), ("Bo", [[0, 2, "PER"]])]
    report, (doc, _) = run(jsonl(tmp_path / "a.jsonl", rows))
    assert doc.text == "preBrexittalks"
    assert gold(doc) == [(3, 9, "EVENT")]
    assert report.split_docs == 1


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize(
    ("text", "span", "trimmed"),
    [
        ("买件 来", (0, 3), (0, 2)),
        ("买 件来", (1, 3), (2, 3)),
        ("a b ", (2, 4), (2, 3)),
        ("a\u00a0b", (1, 3), (2, 3)),
        ("a\r\nb", (0, 3), (0, 1)),
    ],
)
def test_corpora_mention_is_trimmed(tmp_path, lang, text, span, trimmed):
    source = jsonl(tmp_path / "a.jsonl", [(text, [[*span, "HC"]])])
    report, (doc,) = run(source, lang=lang)
    assert doc.text == text
    assert gold(doc) == [(*trimmed, "HC")]
    assert report.notes == {Warnings.W201: 1}


def test_corpora_mention_of_blanks_is_left_out(tmp_path):
    source = jsonl(tmp_path / "a.jsonl", [("a  b", [[1, 2, "X"], [3, 4, "X"]])])
    report, (doc,) = run(source)
    assert gold(doc) == [(3, 4, "X")]
    assert report.notes == {Warnings.W202: 1}


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_corpora_any_text_and_span_survive(tmp_path, lang):
    rng = random.Random(0)
    alphabet = "a1中文 .,-'\x85\x80\u3000\ufffd\ue000\u200d😀é\t\n\r\xa0"
    rows = []
    for _ in range(200):
        text = "x" + "".join(rng.choices(alphabet, k=rng.randint(0, 12)))
        places = [sorted(rng.choices(range(len(text) + 1), k=2)) for _ in range(3)]
        rows.append((text, sorted({(s, e, "A") for s, e in places if s < e})))
    report, docs = run(jsonl(tmp_path / "a.jsonl", rows), lang=lang)
    assert [doc.text for doc in docs] == [text for text, _ in rows]
    trimmed = [trim_spans(CorpusRecord(text, tuple(gold), 1)) for text, gold in rows]
    assert [gold(doc) for doc in docs] == [sorted(set(r.spans)) for r in trimmed]
    assert report.bad == []


def test_corpora_words_of_the_source_are_the_tokens(tmp_path):
    source = tmp_path / "a.conll"
    source.write_text("can't\tO\nU.N.-led\tB-X\n", encoding="utf-8")
    _, (doc,) = run(source, data_format="conll")
    assert [token.text for token in doc] == ["can't", "U.N.-led"]
    assert doc.text == "can't U.N.-led"
    assert not doc.has_unknown_spaces


def test_corpora_duplicates_are_merged_and_counted(tmp_path):
    spans = [[0, 2, "PER"], [0, 2, "PER"], [0, 2, "ORG"]]
    report, (doc,) = run(jsonl(tmp_path / "a.jsonl", [("Bo ran", spans)]))
    assert sorted(gold(doc)) == [(0, 2, "ORG"), (0, 2, "PER")]
    assert report.duplicates == 1


def test_corpora_every_mention_is_written_or_reported(tmp_path):
    rows = [
        (NESTED_TEXT, [*NESTED, NESTED[0]]),
        ("Bo", [[0, 3, "PER"]]),
        ("Bo", [[0, 2, ""]]),
        ("pre-Brexit", [[4, 10, "E"], [2, 6, "E"]]),
    ]
    report, docs = run(jsonl(tmp_path / "a.jsonl", rows))
    written = sum(len(doc.spans["padellm"]) for doc in docs)
    # each bad row above contains one mention
    reported = report.duplicates + len(report.bad)
    assert written + reported == sum(len(spans) for _, spans in rows)
    assert written == report.labels.total()


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (" ", "empty"),
        ("", "empty"),
        ("\ud800 x", "surrogate"),
    ],
)
def test_corpora_text_without_doc_is_bad(tmp_path, row, reason):
    source = jsonl(tmp_path / "a.jsonl", [("Bo", [[0, 2, "PER"]]), (row, [])])
    report, docs = run(source)
    assert len(docs) == 1
    assert [reason in bad.reason for bad in report.bad] == [True]
    assert report.bad[0].line == 2


def test_corpora_label_with_half_a_character_is_bad(tmp_path):
    rows = [("Bo", [[0, 2, "PER"]]), ("Al", [[0, 2, "P\ud800"]])]
    report, docs = run(jsonl(tmp_path / "a.jsonl", rows))
    assert len(docs) == 1
    assert ["surrogate" in bad.reason for bad in report.bad] == [True]


def test_corpora_counts_kinds_of_overlap():
    spans = [(0, 9, "A"), (2, 4, "A"), (2, 4, "B"), (3, 12, "A"), (12, 14, "A")]
    kinds = count_overlaps(spans)
    # (2, 4) is twice in (0, 9); both cross (3, 12), which crosses (0, 9)
    assert kinds == {"nested": 2, "labelled twice": 2, "crossing": 4}


def overlaps_pair_by_pair(spans):
    kinds = Counter()
    for start, end, label in spans:
        found = set()
        for other_start, other_end, other_label in spans:
            if (start, end) == (other_start, other_end):
                found |= {"labelled twice"} if label != other_label else set()
            elif other_start <= start and end <= other_end:
                found.add("nested")
            elif start <= other_start and other_end <= end:
                continue
            elif other_start < end and start < other_end:
                found.add("crossing")
        kinds.update(found)
    return kinds


def test_corpora_counts_overlaps_as_pair_by_pair():
    rng = random.Random(0)
    for _ in range(3000):
        width = rng.choice([4, 8, 15])
        pairs = [
            sorted(rng.sample(range(width + 1), 2)) for _ in range(rng.randint(0, 9))
        ]
        spans = list({(start, end, rng.choice("AB")) for start, end in pairs})
        assert count_overlaps(spans) == overlaps_pair_by_pair(spans), spans


def test_corpora_counts_many_overlaps():
    # pair by pair these take an hour
    n = 30_000
    inside = [(i, 2 * n - i, "A") for i in range(n)]
    chain = [(2 * n + i, 2 * n + i + 9, "A") for i in range(n)]
    kinds = count_overlaps([*inside, *chain])
    assert kinds == {"nested": n - 1, "crossing": n}


@pytest.mark.parametrize(("suffix", "pack"), [("bz2", bz2), ("gz", gzip), ("xz", lzma)])
def test_corpora_reads_compressed_file(tmp_path, suffix, pack):
    plain = jsonl(tmp_path / "a.jsonl", [("Bo", [[0, 2, "PER"]])])
    packed = tmp_path / f"a.jsonl.{suffix}"
    packed.write_bytes(pack.compress(plain.read_bytes()))
    report, _ = run(packed)
    assert report.labels == {"PER": 1}


@pytest.mark.parametrize("name", ["file:a.jsonl", "~root/a.jsonl", "local:a.jsonl.gz"])
def test_corpora_name_like_that_of_another_file_is_plain(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path("~root").mkdir()
    lines = jsonl(tmp_path / "lines", [("Bo", [[0, 2, "PER"]])]).read_bytes()
    Path(name).write_bytes(gzip.compress(lines) if name.endswith("gz") else lines)
    jsonl(Path("a.jsonl"), [("Ann", [[0, 3, "LOC"]])])
    report, _ = run(Path(name))
    assert report.labels == {"PER": 1}


def test_corpora_folder_takes_fitting_files_sorted(tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    jsonl(folder / "b.jsonl", [("Bo", [[0, 2, "PER"]])])
    first = jsonl(folder / "a.jsonl", [("Ann", [[0, 3, "PER"]])])
    (folder / "a.json.gz").write_bytes(gzip.compress(first.read_bytes()))
    (folder / "README.md").write_text("no data", encoding="utf-8")
    report, docs = run(folder)
    assert [doc.text for doc in docs] == ["Ann", "Ann", "Bo"]
    print_report(report, tmp_path / "out.spacy")
    assert "Files read: 3" in capsys.readouterr().out


def test_corpora_brat_folder_counts_each_text_once(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.txt").write_text("Bo ran", encoding="utf-8")
        (folder / f"{name}.ann").write_text("T1\tPER 0 2\tBo\n", encoding="utf-8")
    report, docs = run(folder, data_format="brat")
    assert len(docs) == 2
    assert report.bad == []


def test_corpora_auto_takes_other_files_beside_those_of_brat(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.txt").write_text("Bo ran", encoding="utf-8")
    (folder / "a.ann").write_text("T1\tPER 0 2\tBo\n", encoding="utf-8")
    jsonl(folder / "b.jsonl", [("Ann", [[0, 3, "PER"]])])
    report, docs = run(folder, data_format="auto")
    assert [doc.text for doc in docs] == ["Bo ran", "Ann"]
    assert not report.notes


def test_corpora_names_what_a_folder_holds_beside(tmp_path):
    folder = tmp_path / "in"
    (folder / "more").mkdir(parents=True)
    jsonl(folder / "more" / "b.jsonl", [("Ann", [[0, 3, "PER"]])])
    jsonl(folder / "a.jsonl", [("Bo", [[0, 2, "PER"]])])
    for name in ("c.conll", "d.dat", "README.md", ".hidden", "e.xml.json"):
        (folder / name).write_text("<?xml?>", encoding="utf-8")
    report, docs = run(folder, data_format="jsonl")
    assert [doc.text for doc in docs] == ["Bo"]
    assert report.notes == {Warnings.W967.format(names="c.conll, d.dat, more/"): 3}
    assert [each.path.name for each in report.bad] == ["e.xml.json"]


@pytest.mark.parametrize("data_format", ["conll", "auto"])
@pytest.mark.parametrize(
    "name", ["README.txt", "readme.en.txt", "LICENSE.txt", "Licence.txt.gz"]
)
def test_corpora_texts_about_a_folder_are_left_out(tmp_path, name, data_format):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.txt").write_text("Bo\tB-PER\n", encoding="utf-8")
    content = b"about these data\n"
    packed = gzip.compress(content) if name.endswith(".gz") else content
    (folder / name).write_bytes(packed)
    report, docs = run(folder, data_format=data_format)
    assert [doc.text for doc in docs] == ["Bo"]
    assert (report.files, report.bad, report.notes) == (1, [], {})


@pytest.mark.parametrize("name", ["license-plates.txt", "README.conll"])
def test_corpora_data_with_names_like_texts_about_them_are_read(tmp_path, name):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_text("Bo\tB-PER\n", encoding="utf-8")
    _, docs = run(tmp_path / "in", data_format="auto")
    assert [doc.text for doc in docs] == ["Bo"]


def test_corpora_text_about_the_data_is_read_by_name(tmp_path):
    (tmp_path / "README.txt").write_text("Bo\tB-PER\n", encoding="utf-8")
    _, docs = run(tmp_path / "README.txt", data_format="auto")
    assert [doc.text for doc in docs] == ["Bo"]


def test_corpora_annotated_licence_is_read(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "LICENSE.txt").write_text("by Bo", encoding="utf-8")
    (tmp_path / "in" / "LICENSE.ann").write_text("T1\tX 3 5\tBo\n", encoding="utf-8")
    _, docs = run(tmp_path / "in", data_format="auto")
    assert [doc.text for doc in docs] == ["by Bo"]


@pytest.mark.parametrize("data_format", ["jsonl", "auto"])
def test_corpora_hidden_files_are_read_by_name_alone(tmp_path, data_format):
    folder = tmp_path / "in"
    folder.mkdir()
    jsonl(folder / "a.jsonl", [("Bo", [[0, 2, "PER"]])])
    (folder / "._a.jsonl").write_bytes(b"\x00\x05\x16\x07 of macOS")
    hidden = jsonl(folder / ".b.jsonl", [("Ann", [[0, 3, "PER"]])])
    report, docs = run(folder, data_format=data_format)
    assert [doc.text for doc in docs] == ["Bo"]
    assert not report.bad
    _, docs = run(hidden, data_format=data_format)
    assert [doc.text for doc in docs] == ["Ann"]


def test_corpora_auto_takes_a_folder_of_brat_as_a_whole(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.txt").write_text("Bo ran", encoding="utf-8")
    (folder / "a.ann").write_text("T1\tPER 0 2\tBo\n", encoding="utf-8")
    (folder / "about.txt").write_text("about this corpus", encoding="utf-8")
    report, docs = run(folder, data_format="auto")
    assert len(docs) == 1
    assert ["no .ann file" in bad.reason for bad in report.bad] == [True]


@pytest.mark.parametrize(
    ("name", "data_format"),
    [("a.conll", "conll"), ("a.json", "jsonl"), ("a.txt", "brat"), ("a.TXT", "brat")],
)
def test_corpora_auto_takes_texts_alone_for_those_of_brat(tmp_path, name, data_format):
    content = '{"text": "Bo", "spans": []}' if name == "a.json" else "Bo\tB-PER\n"
    (tmp_path / name).write_text(content, encoding="utf-8")
    (tmp_path / "a.ann").write_text("T1\tPER 0 2\tBo\n", encoding="utf-8")
    assert recognize(tmp_path / name) == data_format


def test_corpora_auto_takes_a_compressed_text_for_that_of_brat(tmp_path):
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"Bo"))
    (tmp_path / "a.ann").write_text("T1\tPER 0 2\tBo\n", encoding="utf-8")
    assert recognize(tmp_path / "a.txt.gz") == "brat"


def test_corpora_auto_recognizes_each_file_of_a_folder(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    jsonl(folder / "a.jsonl", [("Bo", [[0, 2, "PER"]])])
    (folder / "b.tsv").write_text("Ann\tB-PER\nran\tO\n", encoding="utf-8")
    _, docs = run(folder, data_format="auto")
    assert [doc.text for doc in docs] == ["Bo", "Ann ran"]


def test_corpora_result_is_read_by_spacy_corpus(tmp_path):
    run(jsonl(tmp_path / "a.jsonl", [(NESTED_TEXT, NESTED), ("none", [])]))
    examples = list(Corpus(tmp_path / "out" / "gold.spacy")(spacy.blank("en")))
    assert [len(eg.reference.spans["padellm"]) for eg in examples] == [3, 0]
    assert examples[0].predicted.text == NESTED_TEXT


def test_corpora_own_labels_are_those_of_all_texts(tmp_path):
    rows = [("Bo ran", [(0, 2, "PER")]), ("Oslo", [(0, 4, "LOC")]), ("no", [])]
    _, docs = run(jsonl(tmp_path / "a.jsonl", rows), own_labels=True)
    assert [list(doc.user_data[LABELS_KEY]) for doc in docs] == [["LOC", "PER"]] * 3


def test_corpora_labels_that_are_renamed_alike_are_merged(tmp_path):
    rows = [("Bo ran", [(0, 2, "PER"), (0, 2, "HUM")]), ("Al", [(0, 2, "HUM")])]
    names = {"PER": "person", "HUM": "person"}
    report, docs = run(jsonl(tmp_path / "a.jsonl", rows), names=names)
    assert [gold(doc) for doc in docs] == [[(0, 2, "person")]] * 2
    assert report.labels == {"person": 2}


def test_corpora_label_with_blanks_is_renamed(tmp_path):
    source = jsonl(tmp_path / "a.jsonl", [("Bo", [[0, 2, " PER "]])])
    report, _ = run(source, names={"PER": "NAME"})
    assert report.labels == {"NAME": 1}


def test_corpora_own_labels_are_left_out_by_default(tmp_path):
    _, docs = run(jsonl(tmp_path / "a.jsonl", [("Bo ran", [(0, 2, "PER")])]))
    assert LABELS_KEY not in docs[0].user_data


def test_corpora_auto_knows_the_papers_format_before_its_first_mention(tmp_path):
    rows = [["Nobody"]] * 120 + [["Ann met Bo", [0, 1, "Ann", "PER"]]]
    path = tmp_path / "a.json"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert recognize(path) == "paper"


def test_corpora_auto_takes_old_rows_of_spacy_for_jsonl(tmp_path):
    rows = [["Nobody", {"entities": []}]] * 120
    path = tmp_path / "a.json"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert recognize(path) == "jsonl"
