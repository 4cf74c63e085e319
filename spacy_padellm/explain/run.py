"""Explain how a pipeline decodes a text."""

from __future__ import annotations

from dataclasses import replace

from spacy.language import Language
from spacy.tokens import Doc

from spacy_padellm.decoding.base import DecodeJob
from spacy_padellm.decoding.tree.decoder import TreeDecoder
from spacy_padellm.errors import Errors
from spacy_padellm.explain.trace import DecodingTrace, trace_decoding
from spacy_padellm.pipeline.pipe import PaDeLLMNER
from spacy_padellm.text.normalize import normalize_text


def explain(
    nlp: Language, pipe: PaDeLLMNER, text: str, *, all_prompts: bool = False
) -> tuple[Doc, list[DecodingTrace]]:
    """Annotate a text, and trace how each of its windows is decoded.

    nlp (Language): The pipeline.
    pipe (PaDeLLMNER): Its component, whose decoder must be a `TreeDecoder`.
    text (str): The text.
    all_prompts (bool): Whether to run the prompts of labels whose tags are sure, too.
    RETURNS (tuple[Doc, list[DecodingTrace]]): The annotated text, and its windows.
    RAISES (ValueError): If the pipeline decodes in another way, or there is no word.
    """
    decoder = pipe.decoder
    if not isinstance(decoder, TreeDecoder):
        kind = type(decoder).__name__
        raise ValueError(Errors.P272.format(name=pipe.name, decoder=kind))
    doc = nlp(text)
    windows = [normalize_text(window.text) for window in pipe.make_windows([doc])]
    if not windows:
        raise ValueError(Errors.P273)
    lm, prompt = pipe.handle.lm(), pipe.prompt
    assert prompt is not None  # else the text could not be annotated
    job = DecodeJob(lm.tokens_of(prompt), pipe.label_data, lm)
    for count_prompts in job.prompt.count_prompts(windows, list(job.labels.values())):
        if reason := decoder.why_separate(job, count_prompts):
            raise ValueError(Errors.P274.format(name=pipe.name, reason=reason))
    if all_prompts:
        decoder = replace(decoder, sure_tag_probability=1.0)
    return doc, [trace_decoding(decoder, job, window) for window in windows]
