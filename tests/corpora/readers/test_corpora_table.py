"""Parquet: spans, and tags whose names are in the file."""

import json

import pytest

from spacy_padellm.corpora.readers.table import read_table
from spacy_padellm.corpora.records import ConversionError

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


def test_corpora_table_broken_parquet_is_an_error(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ConversionError, match="Could not read"):
        list(read_table(tmp_path / "a.parquet", joiner=" "))
