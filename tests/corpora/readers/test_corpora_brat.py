"""brat pairs: what is read, what is reported, what is passed over."""

import lzma

import pytest

from spacy_padellm.corpora.mentions import offsets
from spacy_padellm.corpora.readers.brat import read_brat
from spacy_padellm.corpora.records import BadLine, CorpusRecord

TEXT = "Ann met Bo\nLee in Paris."


def read(tmp_path, ann, *, text=TEXT):
    path = tmp_path / "a.txt"
    path.write_bytes(text.encode())
    (tmp_path / "a.ann").write_bytes(ann.encode())
    return list(read_brat(path))


def test_corpora_brat_reads_text_bound_annotations_only(tmp_path):
    ann = "T1\tPER 0 3\tAnn\nR1\tMet Arg1:T1 Arg2:T2\nE1\tX:T1\nA1\tN T1\n"
    ann += "#1\tNote T1\thm\nN1\tReference T1 w:1\tAnn\n*\tEquiv T1 T2\n"
    (record,) = read(tmp_path, ann)
    assert record == CorpusRecord(TEXT, ((0, 3, "PER"),), 1)


def test_corpora_brat_mention_over_two_lines(tmp_path):
    (record,) = read(tmp_path, "T1\tPER 8 14\tBo Lee\n")
    assert record.spans == ((8, 14, "PER"),)


def test_corpora_brat_counts_both_characters_of_crlf(tmp_path):
    (record,) = read(tmp_path, "T1\tPER 4 6\tBo\n", text="Hi\r\nBo")
    assert record.text == "Hi\r\nBo"
    assert record.spans == ((4, 6, "PER"),)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("T1\tPER 0 3;8 10\tAnn Bo", "discontinuous"),
        ("T1\tPER 0 3", "not three columns"),
        ("T1\tPER 0 x\tAnn", "is not a label, a start and an end"),
        ("T1\tPER 0 99\tAnn", "is not within"),
        ("T1\tPER 1 4\tAnn", "the text at 1-4 is 'nn '"),
    ],
)
def test_corpora_brat_bad_annotation_leaves_the_text_out(tmp_path, line, reason):
    (bad,) = read(tmp_path, f"{line}\nT2\tLOC 18 23\tParis\n")
    assert reason in bad.reason
    assert "its text is left out" in bad.reason
    assert (bad.line, bad.path.name) == (1, "a.ann")


def test_corpora_brat_all_bad_annotations_are_named(tmp_path):
    ann = "T1\tPER 0 3\nT2\tLOC 18 23\tParis\nT3\tLOC 18 23\tOslo\n"
    items = read(tmp_path, ann)
    assert [item.line for item in items] == [1, 3]


@pytest.mark.parametrize("name", ["T_2", "T3x", "T1-2", "T"])
def test_corpora_brat_mentions_of_any_number_are_read(tmp_path, name):
    for first in ("T1\tPER 0 3\tAnn", "A1\tSure T1"):
        (record,) = read(tmp_path, f"{first}\n{name}\tLOC 18 23\tParis\n")
        assert (18, 23, "LOC") in record.spans


@pytest.mark.parametrize(
    "line", ["t2\tLOC 18 23\tParis", "2\tLOC 18 23\tParis", "T_2 LOC 18 23 Paris"]
)
@pytest.mark.parametrize(
    "before", ["", "R1\tMet Arg1:T1 Arg2:T3\n", "#1\tNote T1\tx\n"]
)
def test_corpora_brat_unknown_line_leaves_the_text_out(tmp_path, before, line):
    (bad,) = read(tmp_path, f"{before}{line}\nT1\tPER 0 3\tAnn\n")
    assert "begins as no annotation of brat" in bad.reason
    assert bad.line == 1 + bool(before)


def test_corpora_brat_unknown_line_behind_a_mention_leaves_the_text_out(tmp_path):
    (bad,) = read(tmp_path, "T1\tPER 0 3\tAnn\nt2\tLOC 18 23\tParis\n")
    assert (bad.line, "its text is left out" in bad.reason) == (1, True)


def test_corpora_brat_string_goes_on_behind_an_empty_line(tmp_path):
    ann = "T1\tPER 4 11\tBo\n\nLee\n\n"
    (record,) = read(tmp_path, ann, text="Ann Bo\n\nLee")
    assert record.spans == ((4, 11, "PER"),)


def test_corpora_brat_bad_mentions_count_the_text_once(tmp_path, monkeypatch):
    counted = []

    def count(text):
        counted.append(text)
        return countings(text)

    countings = offsets._countings
    monkeypatch.setattr(offsets, "_countings", count)
    ann = "".join(f"T{n}\tPER 0 3\tBob\n" for n in range(1, 30))
    assert len(read(tmp_path, ann)) == 29
    assert len(counted) <= 2


def test_corpora_brat_string_of_many_lines_is_read(tmp_path):
    text = "a\n" * 20_000 + "b"
    (record,) = read(tmp_path, f"T1\tX 0 {len(text)}\t{text}\n", text=text)
    assert record.spans == ((0, len(text), "X"),)


def test_corpora_brat_empty_ann_is_annotated(tmp_path):
    (record,) = read(tmp_path, "")
    assert record.spans == ()


@pytest.mark.parametrize("name", ["a.txt", "a.ann"])
def test_corpora_brat_file_without_partner_is_bad(tmp_path, name):
    (tmp_path / name).write_text("x", encoding="utf-8")
    (bad,) = read_brat(tmp_path / name)
    assert isinstance(bad, BadLine)
    assert str(bad).startswith(f"{tmp_path / name}: no ")


def test_corpora_brat_mention_split_at_a_line_break(tmp_path):
    (tmp_path / "a.txt").write_text("New\nYork and Ann", encoding="utf-8")
    (tmp_path / "a.ann").write_text("T1\tLOC 0 3;4 8\tNew York\n", encoding="utf-8")
    (record,) = read_brat(tmp_path / "a.txt")
    assert record.spans == ((0, 8, "LOC"),)


def test_corpora_brat_compressed_pair(tmp_path):
    (tmp_path / "a.txt.xz").write_bytes(lzma.compress(TEXT.encode()))
    (tmp_path / "a.ann").write_bytes(b"T1\tPER 0 3\tAnn\n")
    (record,) = read_brat(tmp_path / "a.txt.xz")
    assert record.spans == ((0, 3, "PER"),)
