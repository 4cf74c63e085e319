"""The format of the paper: index conventions, and rows that violate them."""

import json

import pytest

from spacy_padellm.corpora.readers.paper import read_paper
from spacy_padellm.corpora.records import BadLine, ConversionError


def write(path, rows):
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def read(path, rows):
    return list(read_paper(write(path, rows)))


def strings(record):
    return [(record.text[start:end], label) for start, end, label in record.spans]


EN = "Ann Lee met Bo in Paris ."
ZH = "北京和上海"


@pytest.mark.parametrize(
    ("text", "first", "second"),
    [
        (EN, [0, 1, "Ann Lee", "PER"], [5, 5, "Paris", "LOC"]),
        (EN, [0, 2, "Ann Lee", "PER"], [5, 6, "Paris", "LOC"]),
        (EN, [0, 6, "Ann Lee", "PER"], [18, 22, "Paris", "LOC"]),
        (EN, [0, 7, "Ann Lee", "PER"], [18, 23, "Paris", "LOC"]),
    ],
    ids=["word-inclusive", "word-exclusive", "char-inclusive", "char-exclusive"],
)
def test_corpora_paper_finds_index_convention(tmp_path, text, first, second):
    (record,) = read(tmp_path / "a.json", [[text, first, second]])
    assert strings(record) == [("Ann Lee", "PER"), ("Paris", "LOC")]


def test_corpora_paper_word_rows_keep_their_words(tmp_path):
    record, empty = read(tmp_path / "a.json", [["Hi Bo .", [1, 1, "Bo", "PER"]], ["x"]])
    assert record.words == ["Hi", "Bo", "."]
    assert record.spaces == [True, True, False]
    assert empty.words == ["x"]


def test_corpora_paper_character_rows_leave_words_to_tokenizer(tmp_path):
    (record,) = read(tmp_path / "a.json", [[ZH, [3, 4, "上海", "LOC"]]])
    assert record.words is None
    assert strings(record) == [("上海", "LOC")]


def test_corpora_paper_counts_empty_words_of_double_spaces(tmp_path):
    (record,) = read(tmp_path / "a.json", [["Hi  Bo Lee", [2, 3, "Bo Lee", "PER"]]])
    assert strings(record) == [("Bo Lee", "PER")]
    assert record.words is None


def test_corpora_paper_row_against_convention_is_bad(tmp_path):
    good = [ZH, [0, 1, "北京", "LOC"]]
    exclusive = [ZH, [3, 5, "上海", "LOC"]]
    items = read(tmp_path / "a.json", [good, good, exclusive])
    assert [type(item).__name__ for item in items] == [
        "CorpusRecord",
        "CorpusRecord",
        "BadLine",
    ]
    assert items[2].line == 3
    assert "'上海' is not at 3-5" in items[2].reason


def test_corpora_paper_line_after_c1_control_is_one_row(tmp_path):
    path = tmp_path / "a.json"
    row = ["a\x85b\u2028c", [2, 2, "b", "X"]]
    path.write_text(json.dumps(row, ensure_ascii=False), encoding="utf-8")
    (record,) = read_paper(path)
    assert record.text == "a\x85b\u2028c"


@pytest.mark.parametrize(
    "row",
    [
        {"text": "x"},
        [],
        [1],
        ["x", [0, 0, "x"]],
        ["x", ["0", 0, "x", "A"]],
        ["x", [True, 0, "x", "A"]],
        ["x", [0, 0, "x", None]],
    ],
)
def test_corpora_paper_malformed_row_is_bad(tmp_path, row):
    items = read(tmp_path / "a.json", [["a", [0, 0, "a", "A"]], row])
    assert isinstance(items[1], BadLine)
    assert items[1].line == 2


@pytest.mark.parametrize("start", [-1, 5, 99])
def test_corpora_paper_index_out_of_range_is_bad(tmp_path, start):
    good = [ZH, [0, 1, "北京", "LOC"]]
    items = read(tmp_path / "a.json", [good, [ZH, [start, start, "海", "LOC"]]])
    assert isinstance(items[1], BadLine)


def test_corpora_paper_broken_json_is_bad(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('["a", [0, 0, "a", "A"]]\n\n["b"\n', encoding="utf-8")
    _, bad = read_paper(path)
    assert (bad.line, bad.path) == (3, path)


def test_corpora_paper_no_convention_is_an_error(tmp_path):
    rows = [[ZH, [0, 1, "广州", "LOC"]], [ZH, [0, 1, "天津", "LOC"]]]
    with pytest.raises(ConversionError, match="at most 0 of 2 rows agree"):
        read(tmp_path / "a.json", rows)
