"""JSON lines and CLUENER: structures of mentions, and bad lines."""

import json
from functools import partial

import pytest

from spacy_padellm.corpora.files import read_json_lines
from spacy_padellm.corpora.readers.cluener import read_cluener
from spacy_padellm.corpora.readers.jsonl import read_jsonl as read_rows
from spacy_padellm.corpora.records import BadLine

TEXT = "Ann met Bo"

read_jsonl = partial(read_rows, joiner=" ")


def read(reader, tmp_path, *rows):
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return list(reader(path))


@pytest.mark.parametrize("key", ["spans", "entities", "ents", "label"])
@pytest.mark.parametrize(
    "mention",
    [
        [8, 10, "PER"],
        {"start": 8, "end": 10, "label": "PER", "token_start": 2},
        {"id": 7, "start_offset": 8, "end_offset": 10, "label": "PER"},
    ],
    ids=["list", "prodigy", "doccano"],
)
def test_corpora_jsonl_reads_shape(tmp_path, key, mention):
    (record,) = read(read_jsonl, tmp_path, {"text": TEXT, key: [mention]})
    assert record.spans == ((8, 10, "PER"),)


def test_corpora_jsonl_empty_list_is_annotated(tmp_path):
    (record,) = read(read_jsonl, tmp_path, {"text": TEXT, "spans": []})
    assert record.spans == ()


WORDS = TEXT.split()
TAGS = ["B-PER", "O", "B-PER"]


@pytest.mark.parametrize("key", ["spans", "labels", "entities", "annotations"])
@pytest.mark.parametrize(
    ("tag_key", "tags"),
    [
        ("ner_tags", TAGS),
        ("tags", TAGS),
        ("tags", ["b-per", "o", "b-per"]),
        ("tags", " ".join(TAGS)),
        ("ner_tags", ["PER", "O", "PER"]),
    ],
)
def test_corpora_jsonl_empty_list_beside_tags_is_passed_over(
    tmp_path, key, tag_key, tags
):
    row = {"text": TEXT, "tokens": WORDS, tag_key: tags, key: []}
    (record,) = read(read_jsonl, tmp_path, row)
    assert record.text == TEXT
    assert [(x, y) for x, y, _ in record.spans] == [(0, 3), (8, 10)]


def test_corpora_jsonl_empty_list_beside_tags_of_words_is_passed_over(tmp_path):
    row = {"text": TEXT, "ner_tags": TAGS, "labels": []}
    (record,) = read(read_jsonl, tmp_path, row)
    assert len(record.spans) == 2


@pytest.mark.parametrize("spans", [{}, {"start": [], "end": [], "label": []}])
def test_corpora_jsonl_empty_columns_beside_tags_are_passed_over(tmp_path, spans):
    row = {"text": TEXT, "tokens": WORDS, "ner_tags": TAGS, "spans": spans}
    (record,) = read(read_jsonl, tmp_path, row)
    assert len(record.spans) == 2


def test_corpora_jsonl_filled_list_beside_tags_is_read(tmp_path):
    row = {"text": TEXT, "tokens": WORDS, "ner_tags": TAGS}
    row |= {"labels": [], "entities": [[0, 3, "A"]]}
    (record,) = read(read_jsonl, tmp_path, row)
    assert record.spans == ((0, 3, "A"),)


@pytest.mark.parametrize("key", ["ner_tags", "ner"])
def test_corpora_jsonl_empty_list_beside_numbers_of_tags_is_bad(tmp_path, key):
    row = {"text": TEXT, "tokens": WORDS, key: [1, 0, 1], "entities": []}
    (bad,) = read(read_jsonl, tmp_path, row)
    assert "the tags are numbers" in bad.reason


@pytest.mark.parametrize(
    "others",
    [
        {"ner_tags": [0, 0, 0]},
        {"ner_tags": ["O", "O", "O"]},
        {"chunk_tags": ["B-NP", "B-VP", "B-NP"]},
        {"pos_tags": ["NNP", "VBD", "NNP"]},
        {},
    ],
)
def test_corpora_jsonl_empty_list_beside_other_tags_is_annotated(tmp_path, others):
    row = {"text": TEXT, "tokens": WORDS, "entities": [], **others}
    (record,) = read(read_jsonl, tmp_path, row)
    assert (record.text, record.spans) == (TEXT, ())


def test_corpora_jsonl_rejected_row_with_tags_is_bad(tmp_path):
    row = {"text": TEXT, "tokens": WORDS, "ner_tags": TAGS, "spans": []}
    (bad,) = read(read_jsonl, tmp_path, {**row, "answer": "reject"})
    assert "reject" in bad.reason


def test_corpora_jsonl_class_label_next_to_spans_is_ignored(tmp_path):
    row = {"text": TEXT, "label": "NEWS", "spans": [[0, 3, "PER"]]}
    (record,) = read(read_jsonl, tmp_path, row)
    assert record.spans == ((0, 3, "PER"),)


@pytest.mark.parametrize(
    "row",
    [
        [TEXT],
        {"spans": []},
        {"text": TEXT},
        {"text": TEXT, "spans": None},
        {"text": TEXT, "spans": [], "answer": "reject"},
        {"text": TEXT, "spans": [[0, 3, "A"]], "entities": [[0, 3, "A"]]},
        {"text": TEXT, "spans": [[0, 3]]},
        {"text": TEXT, "spans": [["zero", 3, "A"]]},
        {"text": TEXT, "spans": [[0, 3.5, "A"]]},
        {"text": TEXT, "spans": [{"start": 0, "label": "A"}]},
        {"text": TEXT, "spans": [[0, 3, None]]},
    ],
)
def test_corpora_jsonl_malformed_line_is_bad(tmp_path, row):
    (bad,) = read(read_jsonl, tmp_path, row)
    assert isinstance(bad, BadLine)
    assert bad.line == 1


ANN = {"text": TEXT, "spans": [[0, 3, "PER"]]}
BO = {"text": TEXT, "spans": [[8, 10, "PER"]]}


@pytest.mark.parametrize(
    ("value", "mentions"),
    [
        ({"annotations": [], "data": [ANN]}, ["Ann"]),
        ({"annotations": ["PER"], "data": [ANN, BO]}, ["Ann", "Bo"]),
        ({"annotations": [ANN], "data": [BO]}, ["Ann", "Bo"]),
        (
            {"rasa_nlu_data": {"common_examples": [ANN], "entity_examples": [BO]}},
            ["Ann", "Bo"],
        ),
    ],
)
def test_corpora_jsonl_reads_all_lists_of_rows(tmp_path, value, mentions):
    records = read(read_jsonl, tmp_path, value)
    found = [record.text[s:e] for record in records for s, e, _ in record.spans]
    assert found == mentions


def test_corpora_cluener_reads_inclusive_ends(tmp_path):
    row = {
        "text": "京沪京",
        "label": {"loc": {"京": [[0, 0], [2, 2]]}, "x": {"沪京": [[1, 2]]}},
    }
    (record,) = read(read_cluener, tmp_path, row)
    assert record.spans == ((0, 1, "loc"), (2, 3, "loc"), (1, 3, "x"))


@pytest.mark.parametrize(
    "row",
    [
        {"id": 0, "text": "京沪"},
        {"label": {}},
        ["京沪"],
        {"text": "京沪", "label": {"loc": ["京"]}},
        {"text": "京沪", "label": {"loc": {"京": 0}}},
        {"text": "京沪", "label": {"loc": {"京": [[0]]}}},
        {"text": "京沪", "label": {"loc": {"京": [[0, 1]]}}},
        {"text": "京沪", "label": {"loc": {"沪": [[-1, -1]]}}},
        {"text": "京沪", "label": {"loc": {"沪": [[0, 0]]}}},
    ],
)
def test_corpora_cluener_malformed_line_is_bad(tmp_path, row):
    (bad,) = read(read_cluener, tmp_path, row)
    assert isinstance(bad, BadLine)


@pytest.mark.parametrize(
    "rows",
    [
        [[TEXT, {"entities": [[0, 3, "PER"]]}], ["Bo", {"entities": []}]],
        [[TEXT, [0, 3, "Ann", "PER"]], ["Bo"]],
    ],
    ids=["spacy", "paper"],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_corpora_jsonl_broken_line_leaves_the_other_lists(tmp_path, rows, place):
    lines = [json.dumps(row) for row in rows]
    lines.insert(place, '["Carl met')
    (tmp_path / "a.jsonl").write_text("\n".join(lines), "utf8")
    found = list(read_json_lines(tmp_path / "a.jsonl"))
    assert [x.line for x in found if isinstance(x, BadLine)] == [place + 1]
    assert [x[1] for x in found if not isinstance(x, BadLine)] == rows


def test_corpora_jsonl_value_that_is_cut_off_is_one_bad_value(tmp_path):
    content = json.dumps([[TEXT, {"entities": []}], ["Bo", {"a": []}]], indent=1)
    (tmp_path / "a.json").write_text(content[:-5], "utf8")
    (bad,) = read_json_lines(tmp_path / "a.json")
    assert bad.line == 0
