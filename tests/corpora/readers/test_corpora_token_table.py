"""Tables of one token a row: sentences are whole, or left out as a whole."""

import csv

import pytest

from spacy_padellm.corpora.readers import table as reader
from spacy_padellm.corpora.readers.table import read_table
from spacy_padellm.corpora.records import BadLine
from spacy_padellm.errors import Warnings


def read(tmp_path, rows):
    """Records as their texts and mentions; bad lines as their numbers and reasons."""
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    return summary(tmp_path / "a.parquet")


def read_csv(tmp_path, content):
    (tmp_path / "a.csv").write_text(content, "utf8")
    return summary(tmp_path / "a.csv")


def summary(path):
    return [
        (item.line, item.reason)
        if isinstance(item, BadLine)
        else (item.text, [item.text[start:end] for start, end, _ in item.spans])
        for item in read_table(path, joiner=" ")
    ]


def table(*tokens):
    names = ("sentence_id", "word", "tag")
    return [dict(zip(names, token, strict=True)) for token in tokens]


def test_corpora_token_table_sentences_count_from_zero(tmp_path):
    rows = table(
        (0, "Anna", "B-PER"),
        (0, "Smith", "I-PER"),
        (1, "Oslo", "B-LOC"),
        (1, "is", "O"),
    )
    found = read(tmp_path, rows)
    assert found == [("Anna Smith", ["Anna Smith"]), ("Oslo is", ["Oslo"])]


@pytest.mark.parametrize("sentence", [None, ""])
def test_corpora_token_table_first_row_alone_names_the_sentence(tmp_path, sentence):
    rows = table(("a", "Anna", "B-PER"), (sentence, "ran", "O"), ("b", "Bo", "B-PER"))
    assert read(tmp_path, rows) == [("Anna ran", ["Anna"]), ("Bo", ["Bo"])]


@pytest.mark.parametrize("token", ["[1]", "[]", "{}", "['a']"])
def test_corpora_token_table_brackets_are_a_token(tmp_path, token):
    found = read_csv(tmp_path, f"word,tag\nAnna,B-PER\n{token},O\nran,O\n\nBo,B-PER\n")
    assert found == [(f"Anna {token} ran", ["Anna"]), ("Bo", ["Bo"])]


def test_corpora_token_table_brackets_are_a_token_in_a_column_of_texts(tmp_path):
    found = read_csv(tmp_path, "words,tags\nAnna,B-PER\n[1],O\nran,O\n")
    assert found == [("Anna [1] ran", ["Anna"])]


def test_corpora_token_table_lists_of_tokens_are_none(tmp_path):
    content = "token,tags\n\"['Anna', 'ran']\",\"['B-PER', 'O']\"\n['Bo'],['B-PER']\n"
    assert read_csv(tmp_path, content) == [("Anna ran", ["Anna"]), ("Bo", ["Bo"])]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("Anna", "the row has no tag"),
        ("Anna,", "the row has no tag"),
        (",B-PER", "the row has no token"),
        ("Anna,PERSON", "'PERSON' is not a tag (O, B-PER, I-PER ...)"),
        ("Anna,PER-B", "'PER-B' is not a tag (O, B-PER, I-PER ...)"),
    ],
)
def test_corpora_token_table_broken_row_leaves_the_sentence_out(tmp_path, line, reason):
    content = f"word,tag\nOslo,B-LOC\nis,O\n\nIt,O\n{line}\nran,O\n\nBo,B-PER\n"
    assert read_csv(tmp_path, content) == [
        ("Oslo is", ["Oslo"]),
        (5, f"{reason}; its sentence is left out"),
        ("Bo", ["Bo"]),
    ]


@pytest.mark.parametrize("mark", ["\t", ","])
def test_corpora_token_table_quotation_mark_without_quoting_is_a_token(tmp_path, mark):
    lines = ["1 He O", '1 " O', "1 Anna B-PER", '1 " O', "2 Oslo B-LOC"]
    content = "\n".join(["sentence word label", *lines, ""]).replace(" ", mark)
    found = read_csv(tmp_path, content)
    assert found == [('He " Anna "', ["Anna"]), ("Oslo", ["Oslo"])]


@pytest.mark.parametrize("token", ['""""', '"\n"', '","'])
def test_corpora_token_table_quoted_tokens_are_read(tmp_path, token):
    found = read_csv(tmp_path, f"word,tag\n{token},O\nAnna,B-PER\n{token},O\n")
    word = token[1:-1].replace('""', '"')
    assert found == [(f"{word} Anna {word}", ["Anna"])]


@pytest.mark.parametrize(
    ("rows", "cell"),
    [
        ('is,V,O\n",Q,O\nAnna,N,B-PER\n",Q,O', ",Q,O\\nAnna,N,B-PER\\n"),
        ('is,V,O\n"It,N,O\nAnna",N,B-PER', "It,N,O\\nAnna"),
        ('is,V,O\nso,",O\nAnna,",B-PER', ",O\\nAnna,"),
    ],
)
def test_corpora_token_table_rows_in_one_cell_leave_the_sentence_out(
    tmp_path, rows, cell
):
    # the unquoted comma keeps the file from being read without quoting
    content = f"word,pos,tag\n{rows}\n\n,,X,O\n\nBo,N,B-PER\n"
    (number, reason), _, bo = read_csv(tmp_path, content)
    assert number == 2
    assert reason.startswith(f"the cell '{cell}' holds a line break. Quote cells")
    assert bo == ("Bo", ["Bo"])


def test_corpora_token_table_texts_beside_the_tokens_may_have_lines(tmp_path):
    text = '"Anna met\nBo, too"'
    content = f"document,word,tag\n{text},Anna,B-PER\n{text},met,O\n"
    assert read_csv(tmp_path, content) == [("Anna met", ["Anna"])]


def test_corpora_token_table_missing_cells_are_broken(tmp_path):
    rows = table((0, "Bo", "B-PER"), (0, None, "O"), (1, "It", "O"), (1, "is", "O"))
    assert read(tmp_path, rows) == [
        (2, "the row has no token; its sentence is left out"),
        ("It is", []),
    ]


def test_corpora_token_table_rows_without_cells_part_sentences(tmp_path):
    content = "text,label\nOslo,B-LOC\nis,O\n,\nBo,B-PER\n,O\nIt,O\n"
    found = read_csv(tmp_path, content)
    assert found == [("Oslo is", ["Oslo"]), ("Bo", ["Bo"]), ("It", [])]


def test_corpora_token_table_sentence_that_the_file_cuts_is_left_out(
    tmp_path, monkeypatch
):
    def broken_rows(names, lines):
        yield from table((0, "Bo", "B-PER"), (1, "Anna", "B-PER"))
        raise csv.Error("line contains NUL")

    monkeypatch.setattr(reader, "csv_rows", broken_rows)
    (tmp_path / "a.csv").write_text("word,tag\n", "utf8")
    found = summary(tmp_path / "a.csv")
    assert found[0] == ("Bo", ["Bo"])
    assert found[1:] == [(3, "not CSV, the rest is left out: line contains NUL")]


@pytest.mark.parametrize(
    ("anna", "bo", "outside"),
    [("PER", "PER", "O"), ("b-per", "b-per", "o"), (" B-PER", "B-PER ", " O ")],
)
def test_corpora_token_table_tags_are_written_as_in_the_whole_table(
    tmp_path, anna, bo, outside
):
    """A sentence may be a single name."""
    content = f"word,tag\nAnna,{anna}\nran,{outside}\n\nBo,{bo}\n\nIt,{outside}\n"
    found = read_csv(tmp_path, content)
    assert found == [("Anna ran", ["Anna"]), ("Bo", ["Bo"]), ("It", [])]


def test_corpora_token_table_tells_of_labels_without_prefixes(tmp_path):
    (tmp_path / "a.csv").write_text("word,tag\nAnna,PER\nran,O\n\nIt,O\n", "utf8")
    notes = [record.notes for record in read_table(tmp_path / "a.csv", joiner=" ")]
    assert notes == [(Warnings.W207,)] * 2


@pytest.mark.parametrize("comma", ["1,,,O", "1,,,O,", "1,a,,,O"])
def test_corpora_token_table_unquoted_comma_leaves_its_sentence_out(tmp_path, comma):
    rows = ["sentence,word,tag", "1,Anna,B-PER", "1,Smith,I-PER", comma, "1,Oslo,B-LOC"]
    ((line, reason),) = read_csv(tmp_path, "\n".join(rows))
    assert line == 3
    assert "['O" in reason or "['', 'O" in reason
    assert reason.endswith("hold the delimiter; its sentence is left out")


def test_corpora_token_table_unquoted_comma_before_an_empty_column(tmp_path):
    rows = ["word,tag,note", "Anna,B-PER,", ",,O,", "ran,O,", "", "Bo,B-PER,"]
    assert read_csv(tmp_path, "\n".join(rows)) == [
        (2, "the row has no token; its sentence is left out"),
        ("Bo", ["Bo"]),
    ]


def test_corpora_token_table_delimiters_at_the_ends_of_rows_do_no_harm(tmp_path):
    rows = ["sentence,word,tag", "1,Anna,B-PER,,", "1,ran,O,,", "2,,,", "2,Bo,B-PER"]
    assert read_csv(tmp_path, "\n".join(rows)) == [
        ("Anna ran", ["Anna"]),
        ("Bo", ["Bo"]),
    ]
