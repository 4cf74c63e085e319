"""Tables: Parquet with spans and names of tags, and CSV with and without quoting."""

import csv
import io
import json

import pytest

from spacy_padellm.corpora.readers.table import read_table
from spacy_padellm.corpora.records import BadLine, ConversionError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def read(tmp_path, rows, *, features=None):
    table = pa.Table.from_pylist(rows)
    if features:
        info = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": info})
    pq.write_table(table, tmp_path / "a.parquet")
    return list(read_table(tmp_path / "a.parquet", joiner=" "))


@pytest.mark.parametrize(
    "spans",
    [[{"start": 0, "end": 4, "label": "LOC"}], '[[0, 4, "LOC"]]'],
    ids=["list", "string"],
)
def test_corpora_table_reads_spans_of_parquet(tmp_path, spans):
    (record,) = read(tmp_path, [{"text": "Oslo is", "spans": spans}])
    assert record.spans == ((0, 4, "LOC"),)


@pytest.mark.parametrize("kind", ["Sequence", "List"])
def test_corpora_table_reads_the_names_of_tags(tmp_path, kind):
    tags = {"names": ["O", "B-PER", "I-PER", "B-ORG"], "_type": "ClassLabel"}
    rows = [{"tokens": ["EU", "rejects", "it"], "ner_tags": [3, 0, 0]}]
    features = {"ner_tags": {"feature": tags, "_type": kind}}
    (record,) = read(tmp_path, rows, features=features)
    assert record.text == "EU rejects it"
    assert record.spans == ((0, 2, "ORG"),)


@pytest.mark.parametrize("columns", [False, True])
def test_corpora_table_reads_the_names_of_labels(tmp_path, columns):
    label = {"names": ["PER", "LOC"], "_type": "ClassLabel"}
    spans = [{"start": 0, "end": 4, "label": 1}]
    features = {"spans": [{"start": {"_type": "Value"}, "label": label}]}
    if columns:
        spans = {"start": [0], "end": [4], "label": [1]}
        inner = {"label": {"feature": label, "_type": "Sequence"}}
        features = {"spans": inner}
    (record,) = read(tmp_path, [{"text": "Oslo", "spans": spans}], features=features)
    assert record.spans == ((0, 4, "LOC"),)


def write_bytes_as_strings(tmp_path, name, values):
    """Write two rows, whose column `name` has strings that need not be UTF-8."""
    columns = {
        "text": pa.array(["Oslo", "Bo"]),
        "spans": pa.array(['[[0, 4, "LOC"]]', '[[0, 2, "PER"]]']),
        name: pa.array(values, pa.binary()).view(pa.string()),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")


@pytest.mark.parametrize("name", ["text", "source"])
def test_corpora_table_string_that_is_not_utf8_is_a_bad_row(tmp_path, name):
    write_bytes_as_strings(tmp_path, name, [b"Oslo", b"B\xff"])
    record, bad = read_table(tmp_path / "a.parquet", joiner=" ")
    assert record.spans == ((0, 4, "LOC"),)
    assert (bad.line, f"the cell of '{name}' cannot be read" in bad.reason) == (2, True)


def test_corpora_table_time_that_python_cannot_hold_does_no_harm(tmp_path):
    times = pa.array([0, 10**15], pa.timestamp("s"))
    rows = {"text": ["Oslo", "Bo"], "spans": ["[]", '[[0, 2, "PER"]]'], "time": times}
    pq.write_table(pa.table(rows), tmp_path / "a.parquet")
    records = list(read_table(tmp_path / "a.parquet", joiner=" "))
    assert [record.spans for record in records] == [(), ((0, 2, "PER"),)]


def test_corpora_table_unreadable_time_in_a_cell_is_a_bad_row(tmp_path):
    times = pa.array([10**15, 0], pa.timestamp("s"))
    meta = pa.StructArray.from_arrays([times], ["time"])
    rows = {"text": ["Oslo", "Bo"], "spans": ["[]", "[]"], "meta": meta}
    pq.write_table(pa.table(rows), tmp_path / "a.parquet")
    bad, record = read_table(tmp_path / "a.parquet", joiner=" ")
    assert (bad.line, record.text) == (1, "Bo")
    assert "the cell of 'meta' cannot be read" in bad.reason


def test_corpora_table_unreadable_token_leaves_its_sentence_out(tmp_path):
    tokens = [b"Bo", b"\xff", None, b"Ann", b"ran"]
    columns = {
        "token": pa.array(tokens, pa.binary()).view(pa.string()),
        "ner": pa.array(["B-PER", "O", None, "B-PER", "O"]),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    bad, record = read_table(tmp_path / "a.parquet", joiner=" ")
    assert (bad.line, record.text) == (2, "Ann ran")
    assert "its sentence is left out" in bad.reason


def test_corpora_table_broken_parquet_is_an_error(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ConversionError, match="Could not read"):
        list(read_table(tmp_path / "a.parquet", joiner=" "))


def test_corpora_table_keys_that_are_numbers_are_read(tmp_path):
    content = 'text,entities\nBo left,"{0: ""PER"", 1: 3}"\n'
    (tmp_path / "a.csv").write_text(content, "utf8")
    (bad,) = read_table(tmp_path / "a.csv", joiner=" ")
    assert "no annotation" in bad.reason


def test_corpora_table_columns_with_numbered_cells_are_named(tmp_path):
    content = """words;ner_tags\n{0: 'Bo', 1: 'ran'};{0: 'B-PER', 1: 'O'}\n"""
    (tmp_path / "a.csv").write_text(content, "utf8")
    (bad,) = read_table(tmp_path / "a.csv", joiner=" ")
    assert "these are columns, not rows" in bad.reason


def spans_of(text, *names):
    return json.dumps([[text.index(x), text.index(x) + len(x), "PER"] for x in names])


def read_csv(tmp_path, rows, *, delimiter, quoted):
    """Read a table of texts with the names in them, as a list of both."""
    cells = [("text", "entities"), *((t, spans_of(t, *names)) for t, names in rows)]
    content = io.StringIO()
    if quoted:
        csv.writer(content, delimiter=delimiter).writerows(cells)
    else:
        content.writelines(f"{delimiter.join(row)}\n" for row in cells)
    (tmp_path / "a.csv").write_text(content.getvalue(), "utf8")
    records = read_table(tmp_path / "a.csv", joiner=" ")
    return [(r.text, [r.text[a:b] for a, b, _ in r.spans]) for r in records]


QUOTES = {
    "first word": '"Yes," said Anna to Bob.',
    "unclosed": '"Yes, said Anna to Bob.',
    "last word": 'Anna said to Bob: "Yes."',
    "both ends": '"Anna," he said, "and Bob"',
    "inch": 'Anna has a 5" disk of Bob',
}


@pytest.mark.parametrize("quoted", [True, False])
@pytest.mark.parametrize("delimiter", ["\t", ";"])
@pytest.mark.parametrize("text", QUOTES.values(), ids=QUOTES)
def test_corpora_table_quotes_are_part_of_the_text(tmp_path, text, delimiter, quoted):
    rows = [("Carl left", ["Carl"]), (text, ["Anna", "Bob"]), ("So did Bo", ["Bo"])]
    found = read_csv(tmp_path, rows, delimiter=delimiter, quoted=quoted)
    assert found == rows


@pytest.mark.parametrize("quoted", [True, False])
def test_corpora_table_speech_over_several_rows_stays_in_them(tmp_path, quoted):
    rows = [('"I am Anna.', ["Anna"]), ('You are Bob."', ["Bob"])]
    assert read_csv(tmp_path, rows, delimiter="\t", quoted=quoted) == rows


def test_corpora_table_quoted_texts_of_several_lines_are_read(tmp_path):
    content = 'text,entities\n"Anna, he\nsaid, is",[]\n'
    (tmp_path / "a.csv").write_text(content, "utf8")
    (record,) = read_table(tmp_path / "a.csv", joiner=" ")
    assert record.text == "Anna, he\nsaid, is"


@pytest.mark.parametrize("column", ['"Anna left"', '"Anna ""A"" left"'])
def test_corpora_table_column_that_was_quoted_by_hand_is_read(tmp_path, column):
    spans = '[{"start": 0, "end": 4, "label": "PER"}]'
    content = f"text\tentities\n{column}\t{spans}\n"
    (tmp_path / "a.tsv").write_text(content, "utf8")
    (record,) = read_table(tmp_path / "a.tsv", joiner=" ")
    assert record.text[0:4] == "Anna"
    assert record.spans == ((0, 4, "PER"),)


def test_corpora_table_with_an_unclosed_quote_swallows_no_rows(tmp_path):
    content = '"text"\t"spans"\nBob came\t[]\nAnna\t[]\n"x\t[]\n'
    (tmp_path / "a.tsv").write_text(content, "utf8")
    records = list(read_table(tmp_path / "a.tsv", joiner=" "))
    # of the names with their quotes, none is known
    assert [(type(x), x.line) for x in records] == [(BadLine, n) for n in (1, 2, 3)]
