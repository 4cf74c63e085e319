"""Training: update, finish_update and what they refuse."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import spacy
import torch
from helpers import (
    DOC_SPANS,
    GOLD,
    LABELS,
    NAME,
    NESTED,
    TAGGING,
    TEXT,
    TOO_LONG,
    adam,
    gold_doc,
    gold_examples,
    initialised,
    model_folder,
    named,
    pipe_of,
    predictions,
    same_weights,
    train,
    trained,
    weights_of,
    without_settings,
)
from spacy.language import Language
from spacy.tokens import Span
from spacy.training import Example
from spacy.util import registry
from thinc.api import Config

from spacy_padellm.decoding.fits import Fits
from spacy_padellm.prompt.template import PRESETS
from spacy_padellm.training.targets import make_mention_trees

FILES = Path(__file__).parent.parent.parent / "configs"
LORA = {"r": 4, "target_modules": ["q_proj", "v_proj"]}


def gradients(nlp: Language) -> list[torch.Tensor]:
    """The gradients that a step would apply."""
    updates = pipe_of(nlp)._updates
    masters = updates.masters
    grads = [weight.grad for weight in masters.named().values()] if masters else []
    return [grad / updates.weight for grad in grads if grad is not None]


def loss_of(nlp: Language, examples: list[Example]) -> float:
    return pipe_of(nlp).update(examples)[NAME]


def unannotated(nlp: Language) -> Example:
    return Example(nlp.make_doc(TEXT), nlp.make_doc(TEXT))


# Losses


def test_component_train_losses_fall() -> None:
    losses = train(initialised(), steps=20)
    assert losses[-1] < losses[0] / 2


def test_component_train_changes_predictions() -> None:
    nlp = trained()
    example = Example(nlp.make_doc(TEXT), gold_doc(nlp, TEXT, []))
    train(nlp, steps=10, examples=[example])
    assert nlp(TEXT).ents == ()


def test_component_train_losses_are_added() -> None:
    nlp = initialised()
    losses = {NAME: 10.0, "other": 1.0}
    expected = 10 + loss_of(nlp, gold_examples(nlp))
    pipe_of(nlp).update(gold_examples(nlp), losses=losses)
    assert losses == {NAME: pytest.approx(expected), "other": 1.0}


@pytest.mark.parametrize("count", [0, 1])
def test_component_train_loss_without_gold_is_0(count: int) -> None:
    nlp = initialised()
    assert pipe_of(nlp).update([unannotated(nlp)] * count, losses={}) == {NAME: 0.0}


def test_component_train_step_without_gold_changes_nothing() -> None:
    nlp = initialised()
    before = weights_of(nlp)
    nlp.update([unannotated(nlp)], sgd=adam())
    assert same_weights(weights_of(nlp), before)


def test_component_train_unannotated_docs_are_left_out() -> None:
    nlp = initialised()
    examples = gold_examples(nlp)
    assert loss_of(nlp, [*examples, unannotated(nlp)]) == loss_of(nlp, examples)


def test_component_train_partly_annotated_docs_are_left_out() -> None:
    nlp = initialised()
    gold = nlp.make_doc(TEXT)
    gold.set_ents([Span(gold, 0, 2, "PER")], default="missing")
    assert loss_of(nlp, [Example(nlp.make_doc(TEXT), gold)]) == 0


def test_component_train_doc_without_entities_has_a_loss() -> None:
    nlp = initialised()
    example = Example(nlp.make_doc(TEXT), gold_doc(nlp, TEXT, []))
    assert loss_of(nlp, [example]) > 0


def test_component_train_empty_docs_are_left_out() -> None:
    nlp = initialised()
    examples = [Example(nlp.make_doc(t), gold_doc(nlp, t, [])) for t in ("", " ")]
    assert loss_of(nlp, examples) == 0


def test_component_train_nested_mentions_change_the_loss() -> None:
    nlp = initialised()
    nested = gold_doc(nlp, NESTED, GOLD[NESTED])
    flat = nested.copy()
    del flat.spans["padellm"]
    losses = [
        loss_of(nlp, [Example(nlp.make_doc(NESTED), gold)]) for gold in (nested, flat)
    ]
    assert losses[0] != losses[1]


def test_component_train_does_not_touch_the_docs() -> None:
    nlp = initialised()
    [example, *_] = gold_examples(nlp)
    before = example.predicted.to_bytes(), example.reference.to_bytes()
    nlp.update([example], sgd=adam())
    assert (example.predicted.to_bytes(), example.reference.to_bytes()) == before


@pytest.mark.parametrize("max_batch_tokens", [1, 100])
def test_component_train_batches_by_tokens_have_the_same_loss(
    max_batch_tokens: int,
) -> None:
    whole = initialised()
    cut = initialised(training={"max_batch_tokens": max_batch_tokens})
    losses = [loss_of(nlp, gold_examples(nlp)) for nlp in (whole, cut)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_component_train_batches_by_tokens_have_the_same_gradient() -> None:
    whole, cut = initialised(), initialised(training={"max_batch_tokens": 1})
    for nlp in (whole, cut):
        loss_of(nlp, gold_examples(nlp))
    for first, second in zip(gradients(whole), gradients(cut), strict=True):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-6)


def test_component_train_gradient_is_that_of_the_mean() -> None:
    once, twice = initialised(), initialised()
    loss_of(once, gold_examples(once))
    loss_of(twice, gold_examples(twice) * 2)
    for first, second in zip(gradients(once), gradients(twice), strict=True):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-6)


def test_component_train_drop_changes_nothing() -> None:
    nlp = initialised()
    pipe, examples = pipe_of(nlp), gold_examples(nlp)
    assert pipe.update(examples, drop=0.9) == pipe.update(examples, drop=0.0)


def test_component_train_drop_warns_once(caplog: pytest.LogCaptureFixture) -> None:
    nlp = initialised()
    pipe, examples = pipe_of(nlp), gold_examples(nlp)
    pipe.update(examples, drop=0.0)
    assert not caplog.records
    pipe.update(examples, drop=0.1)
    pipe.update(examples, drop=0.1)
    (record,) = caplog.records
    assert "dropout = 0.1 has no effect" in record.message


# get_loss


def get_loss(nlp: Language, examples: list[Example]) -> tuple[float, float]:
    pipe = pipe_of(nlp)
    return pipe.get_loss(examples, pipe.predict([eg.predicted for eg in examples]))


@pytest.mark.parametrize("max_batch_tokens", [1, 4096])
def test_component_train_get_loss_is_that_of_update(max_batch_tokens: int) -> None:
    nlp = initialised(training={"max_batch_tokens": max_batch_tokens})
    loss, _ = get_loss(nlp, gold_examples(nlp))
    assert loss == pytest.approx(loss_of(nlp, gold_examples(nlp)), rel=1e-5)


def test_component_train_get_loss_derives_the_mean_from_the_sum() -> None:
    nlp = initialised()
    loss, derivative = get_loss(nlp, gold_examples(nlp))
    golds = pipe_of(nlp)._golds(gold_examples(nlp), "test", pipe_of(nlp).handle.lm)
    prompt = pipe_of(nlp).prompt
    assert prompt is not None
    tokens = pipe_of(nlp).handle.lm().tokens_of(prompt)
    trees = [
        tree
        for labels, texts in golds
        for tree in make_mention_trees(tokens, texts, labels, mention_prefix_loss=True)
    ]
    total = float(pipe_of(nlp).model.predict(trees))
    assert loss == pytest.approx(total * derivative, rel=1e-5)


def test_component_train_get_loss_changes_nothing() -> None:
    nlp, sgd = trained(), adam()
    before = weights_of(nlp)
    get_loss(nlp, gold_examples(nlp))
    pipe_of(nlp).finish_update(sgd)
    assert same_weights(weights_of(nlp), before)
    assert gradients(nlp) == []
    assert not pipe_of(nlp).handle.trained


def test_component_train_get_loss_does_not_give_the_model_tags() -> None:
    nlp = initialised(**TAGGING)
    get_loss(nlp, gold_examples(nlp))
    assert not pipe_of(nlp).handle.lm().tags.inside


def test_component_train_get_loss_without_gold_is_0() -> None:
    nlp = initialised()
    assert get_loss(nlp, [unannotated(nlp)]) == (0.0, 0.0)


def test_component_train_get_loss_of_an_unknown_label() -> None:
    nlp = initialised()
    example = Example(nlp.make_doc(TEXT), gold_doc(nlp, TEXT, [("met", "VERB")]))
    with pytest.raises(ValueError, match="does not know: VERB"):
        get_loss(nlp, [example])


def test_component_train_get_loss_of_a_doc() -> None:
    nlp = initialised()
    with pytest.raises(TypeError, match="E978"):
        pipe_of(nlp).get_loss([nlp.make_doc(TEXT)], [])  # type: ignore[list-item]


# Steps


def test_component_train_without_sgd_waits_for_the_step() -> None:
    nlp = initialised()
    before = weights_of(nlp)
    pipe_of(nlp).update(gold_examples(nlp))
    assert same_weights(weights_of(nlp), before)


def test_component_train_language_makes_its_own_optimizer() -> None:
    nlp = initialised()
    before = weights_of(nlp)
    nlp.update(gold_examples(nlp))
    assert not same_weights(weights_of(nlp), before)


def test_component_train_finish_update_makes_the_step() -> None:
    nlp = initialised()
    before = weights_of(nlp)
    pipe_of(nlp).update(gold_examples(nlp))
    pipe_of(nlp).finish_update(adam())
    assert not same_weights(weights_of(nlp), before)


def test_component_train_second_finish_update_does_nothing() -> None:
    nlp, sgd = initialised(), adam()
    nlp.update(gold_examples(nlp), sgd=sgd)
    after = weights_of(nlp)
    pipe_of(nlp).finish_update(sgd)
    assert same_weights(weights_of(nlp), after)


def test_component_train_gradients_are_gone_after_the_step() -> None:
    nlp = initialised()
    nlp.update(gold_examples(nlp), sgd=adam())
    assert gradients(nlp) == []


def test_component_train_two_updates_of_a_batch_make_the_step_of_one_update() -> None:
    once, twice = initialised(), initialised()
    for nlp, times in ((once, 1), (twice, 2)):
        for _ in range(times):
            pipe_of(nlp).update(gold_examples(nlp))
        pipe_of(nlp).finish_update(adam(eps=1.0))
    pairs = zip(weights_of(once).values(), weights_of(twice).values(), strict=True)
    for first, second in pairs:
        torch.testing.assert_close(first, second, rtol=1e-6, atol=1e-7)


def test_component_train_uneven_updates_make_the_step_of_the_whole_batch() -> None:
    whole, cut = initialised(), initialised()
    for nlp, parts in ((whole, [slice(0, 5)]), (cut, [slice(0, 1), slice(1, 5)])):
        for part in parts:
            pipe_of(nlp).update(gold_examples(nlp)[part])
    befores = [[p.detach().clone() for p in parameters_of(nlp)] for nlp in (whole, cut)]
    for nlp in (whole, cut):
        # with such an eps Adam's first step is the gradient itself
        pipe_of(nlp).finish_update(adam(1e6, eps=1e6, grad_clip=0.0))
    steps = [
        [a - b for a, b in zip(before, parameters_of(nlp), strict=True)]
        for before, nlp in zip(befores, (whole, cut), strict=True)
    ]
    assert any(step.abs().max() > 0.01 for step in steps[0])
    for one, other in zip(*steps, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def parameters_of(nlp: Language) -> list[torch.Tensor]:
    return list(pipe_of(nlp).handle.lm().model.parameters())


def test_component_train_learning_rate_of_zero_changes_nothing() -> None:
    nlp = initialised()
    before = weights_of(nlp)
    nlp.update(gold_examples(nlp), sgd=adam(0.0))
    assert same_weights(weights_of(nlp), before)


def test_component_train_averages_are_refused() -> None:
    nlp = initialised()
    with pytest.raises(ValueError, match="use_averages = true is not supported"):
        nlp.update(gold_examples(nlp), sgd=adam(use_averages=True))


def test_component_train_use_params_without_averages_is_harmless() -> None:
    nlp, sgd = initialised(), adam()
    nlp.update(gold_examples(nlp), sgd=sgd)
    before = weights_of(nlp)
    with nlp.use_params(sgd.averages or {}):
        assert same_weights(weights_of(nlp), before)


def test_component_train_resume_training_goes_on() -> None:
    nlp = trained()
    nlp.resume_training(sgd=adam())
    before = weights_of(nlp)
    nlp.update(gold_examples(nlp), sgd=adam())
    assert not same_weights(weights_of(nlp), before)


def test_component_train_frozen_pipe_is_not_trained() -> None:
    nlp = initialised()
    before = weights_of(nlp)
    losses: dict[str, float] = {}
    nlp.update(gold_examples(nlp), sgd=adam(), losses=losses, exclude=[NAME])
    assert losses == {}
    assert same_weights(weights_of(nlp), before)


def test_component_train_disabled_pipe_is_not_trained() -> None:
    nlp = initialised()
    before = weights_of(nlp)
    with nlp.select_pipes(disable=[NAME]):
        nlp.update(gold_examples(nlp), sgd=adam())
    assert same_weights(weights_of(nlp), before)


# Errors


def test_component_train_unknown_gold_label_is_reported() -> None:
    nlp = initialised()
    example = Example(nlp.make_doc(TEXT), gold_doc(nlp, TEXT, [("met", "VERB")]))
    message = r"component 'padellm_ner' does not know: VERB\. .* labels: LOC, ORG, PER"
    with pytest.raises(ValueError, match=message):
        nlp.update([example])


def test_component_train_text_that_does_not_fit_is_cut() -> None:
    nlp = initialised(span_getter=DOC_SPANS)
    gold = nlp.make_doc(TOO_LONG)
    names = {"Bob", "Anna"}
    gold.set_ents([Span(gold, t.i, t.i + 1, "PER") for t in gold if t.text in names])
    example = Example(nlp.make_doc(TOO_LONG), gold)
    golds = pipe_of(nlp)._golds([example], "test", pipe_of(nlp).handle.lm)
    [(_, texts)] = golds
    assert len(texts) > 1
    assert sum(len(text.spans) for text in texts) == len(gold.ents) > 100
    nlp.update([example])


def test_component_train_update_that_failed_leaves_no_gradient(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Fits, "__call__", lambda self, text: True)
    nlp = initialised(
        span_getter=DOC_SPANS, training={"max_batch_tokens": 1}, layout="ignore"
    )
    gold = {**GOLD, TOO_LONG: []}
    with pytest.raises(ValueError, match="does not fit the model"):
        pipe_of(nlp).update(gold_examples(nlp, gold))
    assert not gradients(nlp)
    pipe_of(nlp).update(gold_examples(nlp))
    assert gradients(nlp)


def interrupt(*args: object, **kwargs: object) -> None:
    raise KeyboardInterrupt


def assert_as_first_update(nlp: Language, expected: list[torch.Tensor]) -> None:
    """Check the gradients of the next update."""
    pipe_of(nlp).update(gold_examples(nlp))
    found = gradients(nlp)
    assert len(found) == len(expected)
    assert all(map(torch.equal, found, expected))


def first_gradients(nlp: Language) -> list[torch.Tensor]:
    """The gradients of an update, which is not forgotten."""
    pipe_of(nlp).update(gold_examples(nlp))
    return [grad.clone() for grad in gradients(nlp)]


def test_component_train_initialize_forgets_updates_without_a_step(
    tmp_path: Path,
) -> None:
    initialised().to_disk(tmp_path)
    nlp = spacy.load(tmp_path)
    expected = first_gradients(nlp)
    assert expected
    nlp.initialize(lambda: gold_examples(nlp))
    assert_as_first_update(nlp, expected)


def test_component_train_loading_without_weights_keeps_updates_without_a_step(
    tmp_path: Path,
) -> None:
    nlp = initialised()
    expected = first_gradients(nlp)
    pipe_of(nlp).from_bytes(pipe_of(nlp).to_bytes(), exclude=["model"])
    pipe_of(nlp).to_disk(tmp_path / "pipe")
    pipe_of(nlp).from_disk(tmp_path / "pipe", exclude=["model"])
    assert all(map(torch.equal, gradients(nlp), expected))


def test_component_train_interrupted_update_leaves_no_gradient(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nlp = initialised()
    expected = first_gradients(nlp)
    with monkeypatch.context() as patch:
        patch.setattr("spacy_padellm.training.update.summed", interrupt)
        with pytest.raises(KeyboardInterrupt):
            pipe_of(nlp).update(gold_examples(nlp))
    assert gradients(nlp) == []
    assert_as_first_update(nlp, expected)


def test_component_train_interrupted_step_leaves_no_gradient(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nlp = initialised()
    expected = first_gradients(nlp)
    with monkeypatch.context() as patch:
        patch.setattr(torch.nn.utils, "clip_grad_norm_", interrupt)
        with pytest.raises(KeyboardInterrupt):
            pipe_of(nlp).finish_update(adam(0.0))
    assert gradients(nlp) == []
    pipe_of(nlp).finish_update(adam(0.0))
    assert_as_first_update(nlp, expected)


def test_component_train_update_that_failed_taught_no_label(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Fits, "__call__", lambda self, text: True)
    nlp = trained(span_getter=DOC_SPANS, layout="ignore")
    pipe_of(nlp).add_label("DRUG", "drug")
    golds = {"She takes ibuprofen .": [("ibuprofen", "DRUG")]}
    with pytest.raises(ValueError, match="does not fit the model"):
        nlp.update(gold_examples(nlp, {**golds, TOO_LONG: []}))
    pipe_of(nlp).set_labels(None)
    assert "DRUG" not in pipe_of(nlp).labels
    pipe_of(nlp).add_label("DRUG", "drug")
    nlp.update(gold_examples(nlp, golds))
    pipe_of(nlp).set_labels(None)
    assert "DRUG" in pipe_of(nlp).labels


def test_component_train_state_takes_the_place_of_updates_without_a_step() -> None:
    nlp = trained()
    train(nlp, steps=1)
    pipe, weights = pipe_of(nlp), weights_of(nlp)
    state = pipe.get_training_state()
    assert state is not None
    pipe.update(gold_examples(nlp))
    pipe.set_training_state(state)
    assert gradients(nlp) == []
    pipe.finish_update(adam())
    assert same_weights(weights_of(nlp), weights)


def test_component_train_another_model_is_trained_as_it_is() -> None:
    nlp, other = trained(), trained()
    train(nlp, steps=1)
    train(other, steps=3)
    pipe_of(nlp).handle.use(copy.deepcopy(pipe_of(other).handle.lm()))
    examples = gold_examples(nlp)
    assert loss_of(nlp, examples) == loss_of(other, examples)
    assert same_weights(weights_of(nlp), weights_of(other))


def test_component_train_repeated_span_is_one_mention() -> None:
    losses = []
    for times in (1, 2):
        nlp = initialised()
        reference = gold_doc(nlp, TEXT, GOLD[TEXT])
        reference.spans["padellm"] = times * list(reference.spans["padellm"])
        losses.append(nlp.update([Example(nlp.make_doc(TEXT), reference)])[NAME])
    assert losses[0] == losses[1]


def test_component_train_examples_must_be_examples() -> None:
    nlp = initialised()
    with pytest.raises(TypeError, match="E978"):
        pipe_of(nlp).update([nlp.make_doc(TEXT)])  # type: ignore[list-item]


def test_component_train_loss_that_is_not_finite_is_reported() -> None:
    nlp = initialised()
    with torch.no_grad():
        parameters_of(nlp)[0].fill_(float("nan"))
    with pytest.raises(ValueError, match="training loss is NaN or infinite"):
        nlp.update(gold_examples(nlp), sgd=adam())


# Whose weights


def test_component_train_does_not_change_other_pipes_of_the_model() -> None:
    second = trained()
    before = predictions(second)
    train(trained(), steps=2)
    assert predictions(second) == before


def test_component_train_does_not_change_the_models_folder() -> None:
    def files() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in model_folder().iterdir()}

    before = files()
    train(trained(), steps=2)
    assert files() == before


def assert_optimizes_float32_weights(nlp: Language) -> None:
    masters = pipe_of(nlp)._updates.masters
    assert masters is not None
    assert {weight.dtype for weight in masters.named().values()} == {torch.float32}


def test_component_train_optimizes_float32_weights() -> None:
    nlp = trained(model=named(model_folder(), model={"dtype": "bfloat16"}))
    train(nlp, steps=1)
    assert_optimizes_float32_weights(nlp)


def test_component_train_optimizes_float32_weights_of_bytes() -> None:
    model = named(model_folder(), model={"dtype": "bfloat16"})
    nlp = trained(model=model).from_bytes(trained(model=model).to_bytes())
    train(nlp, steps=1)
    assert_optimizes_float32_weights(nlp)


def test_component_train_initialize_without_examples_warns_of_none(
    caplog: pytest.LogCaptureFixture,
) -> None:
    trained().initialize()
    assert not caplog.records


def test_component_train_adds_the_prompts_special_tokens(tmp_path: Path) -> None:
    folder = without_settings(tmp_path)
    prompt = {
        "@misc": "spacy-padellm.Prompt.v1",
        "preset": "compact",
        "label": "<new>{label}<|count|>",
    }
    nlp = trained(model=named(folder), prompt=prompt, labels=LABELS)
    assert train(nlp, steps=1)[0] > 0


def test_component_train_new_prompt_can_be_trained(tmp_path: Path) -> None:
    folder = without_settings(tmp_path)
    prompt = {"@misc": "spacy-padellm.Prompt.v1", "preset": "paper-en"}
    nlp = trained(model=named(folder), prompt=prompt, labels=LABELS)
    losses = train(nlp, steps=5)
    assert pipe_of(nlp).prompt == PRESETS["paper-en"]
    assert losses[-1] < losses[0]


# Gradient checkpointing and adapters


def checkpointed(**config: Any) -> list[list[float]]:
    """The losses without and with gradient checkpointing."""
    losses = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        settings = {"gradient_checkpointing": checkpointing}
        losses.append(train(trained(training=settings, **config), steps=3, rate=1e-3))
    return losses


def test_component_train_gradient_checkpointing_has_the_same_losses() -> None:
    without, with_it = checkpointed()
    assert with_it == pytest.approx(without, rel=1e-4)


def test_component_train_gradient_checkpointing_of_an_adapter() -> None:
    without, with_it = checkpointed(model=named(model_folder(), model={"lora": LORA}))
    assert with_it == pytest.approx(without, rel=1e-4)
    assert with_it[0] != with_it[-1]


def test_component_train_adapter_leaves_the_base_weights() -> None:
    nlp = trained(model=named(model_folder(), model={"lora": LORA}))
    before = weights_of(trained())
    train(nlp, steps=2)
    after = weights_of(nlp)
    place = "model.layers.0.mlp.up_proj.weight"
    assert torch.equal(before[place], after[f"base_model.model.{place}"])


def test_component_train_adapter_has_few_weights() -> None:
    nlp = trained(model=named(model_folder(), model={"lora": LORA}))
    train(nlp, steps=1)
    trainable = [p for p in parameters_of(nlp) if p.requires_grad]
    assert len(trainable) == 8  # two matrices for two projections of two layers


def test_component_train_adapter_leaves_the_base_in_its_dtype() -> None:
    pytest.importorskip("peft")
    model = named(model_folder(), model={"dtype": "bfloat16", "lora": LORA})
    nlp = trained(model=model)
    train(nlp, steps=2)
    parameters = dict(pipe_of(nlp).handle.lm().model.named_parameters())
    assert {p.dtype for p in parameters.values()} == {torch.bfloat16}
    masters = pipe_of(nlp)._updates.masters
    assert masters is not None
    assert all("lora_" in name for name in masters.named())
    started_as_zeros = [w for name, w in masters.named().items() if "lora_B" in name]
    assert started_as_zeros
    assert all(weight.any() for weight in started_as_zeros)


@pytest.mark.parametrize(
    "path", sorted(FILES.glob("*.cfg")), ids=lambda path: path.name
)
def test_component_train_optimizer_of_each_config_can_be_resumed(path: Path) -> None:
    # nlp.resume_training fills in no variables
    config = Config().from_disk(path, interpolate=False)
    made = registry.resolve({"made": config["training"]["optimizer"]})["made"]
    assert made.learn_rate >= 0
