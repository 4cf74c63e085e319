"""CoNLL-like files: columns, tag schemes, texts and malformed lines."""

import pytest

from spacy_padellm.corpora.readers.conll.conll import read_conll
from spacy_padellm.corpora.records import BadLine, ConversionError
from spacy_padellm.corpora.tokens.tags import decode_tags


def read(tmp_path, content, *, joiner=" ", tag_column=None, token_column=None):
    path = tmp_path / "a.conll"
    path.write_text(content, encoding="utf-8")
    return list(
        read_conll(
            path, joiner=joiner, tag_column=tag_column, token_column=token_column
        )
    )


def strings(record):
    return [(record.text[start:end], label) for start, end, label in record.spans]


@pytest.mark.parametrize(
    ("tags", "mentions"),
    [
        ("B-A I-A O B-A", [(0, 1, "A"), (3, 3, "A")]),
        ("I-A I-A B-A I-B", [(0, 1, "A"), (2, 2, "A"), (3, 3, "B")]),
        ("B-A I-A E-A S-A S-A", [(0, 2, "A"), (3, 3, "A"), (4, 4, "A")]),
        ("B-A L-A U-A O", [(0, 1, "A"), (2, 2, "A")]),
        ("B-A M-A E-A B-A E-A", [(0, 2, "A"), (3, 4, "A")]),
        ("B-A B-A I-B O I-B", [(0, 0, "A"), (1, 1, "A"), (2, 2, "B"), (4, 4, "B")]),
        ("B-x-y I-x-y", [(0, 1, "x-y")]),
        ("O O", []),
    ],
    ids=["iob2", "iob1", "bioes", "bilou", "bmes", "stray", "hyphen", "none"],
)
def test_corpora_conll_decodes_scheme(tags, mentions):
    assert list(decode_tags(tags.split())) == mentions


def test_corpora_conll_joins_english_with_spaces(tmp_path):
    (record,) = read(tmp_path, "Ann\tB-PER\nLee\tI-PER\n.\tO\n")
    assert record.text == "Ann Lee ."
    assert record.words == ["Ann", "Lee", "."]
    assert record.spaces == [True, True, False]
    assert strings(record) == [("Ann Lee", "PER")]


def test_corpora_conll_joins_chinese_without_spaces(tmp_path):
    (record,) = read(tmp_path, "在\tO\n北京\tB-LOC\n市\tI-LOC\n", joiner="")
    assert record.text == "在北京市"
    assert record.words is None
    assert strings(record) == [("北京市", "LOC")]


def test_corpora_conll_text_comment_gives_real_spacing(tmp_path):
    content = "# sent_id = 1\n# text = In L.A., ok\n1\tIn\tO\t-\t-\n"
    content += "2\tL.A.\tB-LOC\t-\tx\n3\t,\tO\t-\t-\n4\tok\tO\t-\t-\n"
    (record,) = read(tmp_path, content)
    assert record.text == "In L.A., ok"
    assert record.words is None
    assert strings(record) == [("L.A.", "LOC")]


def test_corpora_conll_text_comment_that_does_not_fit_is_not_used(tmp_path):
    (record,) = read(tmp_path, "# text = Ann went\nAnn\tB-PER\nran\tO\n")
    assert record.text == "Ann ran"


def test_corpora_conll_text_comment_is_for_one_sentence(tmp_path):
    _, record = read(tmp_path, "# text = a.\na\tB-X\n.\tO\n\na\tB-X\n.\tO\n")
    assert record.text == "a ."


def test_corpora_conll_hash_token_is_no_comment(tmp_path):
    tabs = read(tmp_path, "#\tO\n#tag\tB-X\n")
    assert tabs[0].text == "# #tag"
    blanks = read(tmp_path, "a NN O\n# NN O\n5 CD B-X\n")
    assert blanks[0].text == "a # 5"


def test_corpora_conll_finds_tag_first(tmp_path):
    (record,) = read(tmp_path, "B-Year\t1999\nO\tfilm\n")
    assert strings(record) == [("1999", "Year")]


def test_corpora_conll_finds_last_of_two_tag_columns(tmp_path):
    content = "-DOCSTART- -X- O O\n\nU.N. NNP I-NP I-ORG\nrests VBZ I-VP O\n"
    (record,) = read(tmp_path, content)
    assert record.text == "U.N. rests"
    assert strings(record) == [("U.N.", "ORG")]
    assert record.line == 3


def test_corpora_conll_finds_token_after_numbers(tmp_path):
    (record,) = read(tmp_path, "0\tAnn\tB-PER\n1\tran\tO\n")
    assert record.text == "Ann ran"


def test_corpora_conll_uses_the_columns_of_the_options(tmp_path):
    content = "U.N. I-NP I-ORG Un\nrests I-VP O rest\n"
    (record,) = read(tmp_path, content, tag_column=1, token_column=-1)
    assert record.text == "Un rest"
    assert strings(record) == [("Un", "NP"), ("rest", "VP")]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("I-Plot supernatural", "1 column(s)"),
        ("a\tb\tO", "3 column(s)"),
        ("X-Plot\tb", "'X-Plot' is not a tag"),
        ("I-\tb", "'I-' is not a tag"),
        ("O\t", "the token is empty"),
    ],
)
def test_corpora_conll_malformed_line_leaves_sentence_out(tmp_path, line, reason):
    content = f"B-Plot\ta\nO\tb\n\nO\tc\n{line}\nO\td\n\nO\te\nO\tf\n"
    first, bad, last = read(tmp_path, content)
    assert (first.text, last.text) == ("a b", "e f")
    assert isinstance(bad, BadLine)
    assert bad.line == 5
    assert bad.reason.startswith(reason)


def test_corpora_conll_reads_crlf_and_bom(tmp_path):
    path = tmp_path / "a.conll"
    path.write_bytes(b"\xef\xbb\xbfAnn\tB-PER\r\nran\tO\r\n\r\nBo\tB-PER\r\n")
    items = list(read_conll(path, joiner=" ", tag_column=None, token_column=None))
    assert [item.text for item in items] == ["Ann ran", "Bo"]


def test_corpora_conll_keeps_tokens_of_wide_spaces(tmp_path):
    (record,) = read(tmp_path, "\u3000\tO\n京\tB-LOC\n", joiner="")
    assert strings(record) == [("京", "LOC")]
    assert record.text == "\u3000京"


def test_corpora_conll_empty_file_yields_nothing(tmp_path):
    assert read(tmp_path, "\n\n") == []


@pytest.mark.parametrize(
    "content", ["just\nwords\n", "two words\nper line\n", "O\nO\n"]
)
def test_corpora_conll_without_tags_is_an_error(tmp_path, content):
    with pytest.raises(ConversionError, match="--tag-column"):
        read(tmp_path, content)


@pytest.mark.parametrize(("tag", "token"), [(2, 0), (-3, 0), (1, 1), (1, -1), (0, 5)])
def test_corpora_conll_impossible_column_is_an_error(tmp_path, tag, token):
    with pytest.raises(ConversionError, match="from -2 to 1"):
        read(tmp_path, "a\tO\nb\tB-X\n", tag_column=tag, token_column=token)


def test_corpora_conll_words_are_those_of_the_text_and_not_their_parts(tmp_path):
    content = (
        "# text = Vámonos del Perú\n"
        "1-2\tVámonos\t_\n1\tVamos\tO\n2\tnos\tO\n"
        "3-4\tdel\t_\n3\tde\tO\n4\tel\tB-LOC\n"
        "5\tPerú\tI-LOC\n5.1\thay\t_\n"
    )
    (record,) = read(tmp_path, content)
    assert record.text == "Vámonos del Perú"
    assert strings(record) == [("del Perú", "LOC")]


@pytest.mark.parametrize(
    ("tags", "mentions"),
    [
        ("O B-PER B-LOC O", [("AnnOslo", "PER"), ("AnnOslo", "LOC")]),
        ("O B-PER B-LOC I-LOC", [("AnnOslo", "PER"), ("AnnOslo City", "LOC")]),
        ("B-PER I-PER B-LOC O", [("to AnnOslo", "PER"), ("AnnOslo", "LOC")]),
        ("O S-PER B-PER E-PER", [("AnnOslo", "PER"), ("AnnOslo City", "PER")]),
        ("O B-PER E-PER O", [("AnnOslo", "PER")]),
        ("O B-PER O B-PER", [("AnnOslo", "PER"), ("City", "PER")]),
        ("O O O B-PER", [("City", "PER")]),
    ],
)
@pytest.mark.parametrize("key", ["", "ner="])
def test_corpora_conll_word_has_the_mentions_of_all_its_parts(
    tmp_path, tags, mentions, key
):
    to, ann, oslo, city = (f"{key}{tag}" for tag in tags.split())
    content = f"1\tto\t{to}\n2-3\tAnnOslo\t_\n2\tAnn\t{ann}\n3\tOslo\t{oslo}\n"
    others = f"1\tit\t{key}O\n2\tis\t{key}O\n3\tBo\t{key}B-X\n"
    record, _ = read(tmp_path, f"{content}4\tCity\t{city}\n\n{others}")
    assert record.text == "to AnnOslo City"
    assert strings(record) == mentions


def test_corpora_conll_range_with_its_own_tag_has_not_those_of_its_parts(tmp_path):
    content = "1-2\tdel\tner=B-LOC\n1\tde\tner=B-PER\n2\tel\tner=B-X\n3\ty\tner=O\n"
    (record,) = read(tmp_path, content)
    assert strings(record) == [("del", "LOC")]


def test_corpora_conll_bad_part_of_a_word_leaves_the_sentence_out(tmp_path):
    (bad,) = read(tmp_path, "1-2\tdel\t_\n1\tde\tO\n2\tel\tX-Y\n3\tPerú\tO\n4\ty\tO\n")
    assert (bad.line, bad.reason) == (3, "'X-Y' is not a tag; its sentence is left out")


@pytest.mark.parametrize("number", ["²", "9" * 5000, "1-" + "9" * 5000])
def test_corpora_conll_reads_words_with_any_number(tmp_path, number):
    (record,) = read(
        tmp_path, f"1-2\tdel\t_\n1\tde\tO\n{number}\tPerú\tB-LOC\n3\ty\tO\n"
    )
    assert strings(record) == [("Perú", "LOC")]


@pytest.mark.parametrize("blank", [" ", "\u00a0"])
@pytest.mark.parametrize("columns", ["{}\t{}{}", "{}\tN\t{}{}"])
def test_corpora_conll_blank_after_a_tag_is_not_part_of_it(tmp_path, blank, columns):
    rows = [("Ann", "B-PER", ""), ("Lee", "I-PER", blank), ("ran", "O", blank)]
    content = "\n".join(columns.format(*row) for row in rows)
    (record,) = read(tmp_path, content + "\n")
    assert strings(record) == [("Ann Lee", "PER")]


@pytest.mark.parametrize("before", ["\n", "# made by hand\n", "\n# a\n\n", ""])
def test_corpora_conll_header_after_other_lines_is_no_token(tmp_path, before):
    content = f"{before}word\tner_tag\nAnn\tB-PER\nran\tO\n\nBo\tB-PER\n"
    first, second = read(tmp_path, content)
    assert strings(first) == [("Ann", "PER")]
    assert first.text == "Ann ran"
    assert second.text == "Bo"


def test_corpora_conll_header_after_a_token_is_a_bad_line(tmp_path):
    bad, record = read(tmp_path, "Bo\tB-PER\nword\tner_tag\n\nAnn\tB-PER\n")
    assert isinstance(bad, BadLine)
    assert bad.line == 2
    assert record.text == "Ann"
