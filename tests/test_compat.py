"""The undocumented behaviour of other libraries that `compat` relies on."""

from __future__ import annotations

import inspect
import multiprocessing as mp
import pickle
import sys
import threading
from pathlib import Path
from typing import Any, ClassVar

import pytest
import spacy
import torch
from conftest import CONFIGS, make_lm, make_tokenizer
from safetensors.torch import load_file
from spacy.cli.train import train as spacy_train
from spacy.language import Language
from spacy.tokens import Doc
from tokenizers import Regex, pre_tokenizers
from torch.nn.attention import varlen
from torch.nn.functional import linear
from transformers import AttentionInterface, AutoModelForCausalLM, BitsAndBytesConfig
from transformers.dynamic_module_utils import resolve_trust_remote_code

from spacy_padellm import compat

# Python


def test_compat_renewed_lock_is_free() -> None:
    lock, free = threading.RLock(), []
    lock.acquire()
    compat.renew_lock(lock)
    thread = threading.Thread(target=lambda: free.append(lock.acquire(timeout=1)))
    thread.start()
    thread.join()
    assert free == [True]


class Asking:
    """Notes whether it is pickled for a new process."""

    answers: ClassVar[list[bool]] = []

    def __reduce__(self) -> tuple[Any, ...]:
        self.answers.append(compat.is_starting_process())
        return Asking, ()


@pytest.mark.slow
def test_compat_starting_a_process_is_known_while_its_arguments_are_pickled() -> None:
    Asking.answers.clear()
    pickle.dumps(Asking())
    child = mp.get_context("spawn").Process(target=str, args=(Asking(),))
    child.start()
    child.join()
    assert Asking.answers == [False, True]


# spaCy


def test_compat_spacy_train_is_known_by_its_function() -> None:
    found = []

    def note(*_: Any, **__: Any) -> None:
        found.append(compat.is_under_spacy_train())
        raise InterruptedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["spacy.cli.train"], "setup_gpu", note)
        with pytest.raises(InterruptedError):
            spacy_train(Path(__file__))  # a file that is there
    assert found == [True]
    assert not compat.is_under_spacy_train()


# transformers


@pytest.fixture
def calls() -> list[int]:
    """The layers that called the attention registered as "padellm_test"."""
    layers: list[int] = []

    def attend(module: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        layers.append(module.layer_idx)
        return query.transpose(1, 2), None

    AttentionInterface.register("padellm_test", attend)
    return layers


@pytest.mark.parametrize("kind", sorted(CONFIGS))
def test_compat_swapped_attention_runs_in_every_layer(
    kind: str, calls: list[int]
) -> None:
    model, ids = make_lm(kind).model, torch.tensor([[1, 2, 3]])
    before = compat.attention_name(model.config)
    with compat.swapped_attention(model.config, "padellm_test"):
        model(ids)
    assert calls == [0, 1]
    model(ids)
    assert calls == [0, 1]
    assert compat.attention_name(model.config) == before


def test_compat_set_attention_stays(calls: list[int]) -> None:
    model, ids = make_lm("llama").model, torch.tensor([[1, 2, 3]])
    compat.set_attention(model.config, "padellm_test")
    for _ in range(2):
        model(ids)
    assert calls == [0, 1, 0, 1]
    assert compat.attention_name(model.config) == "padellm_test"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_compat_dtype_option_sets_the_dtype_of_the_weights(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    make_lm("llama").model.save_pretrained(tmp_path)
    options = compat.dtype_option(dtype)
    assert AutoModelForCausalLM.from_pretrained(tmp_path, **options).dtype == dtype


@pytest.mark.parametrize("kind", sorted(CONFIGS))
def test_compat_swapped_attention_gets_the_4d_mask_unchanged(kind: str) -> None:
    masks: list[Any] = []

    def attend(
        module: Any, query: Any, key: Any, value: Any, mask: Any, **kwargs: Any
    ) -> Any:
        masks.append(mask)
        return query.transpose(1, 2), None

    AttentionInterface.register("padellm_test", attend)
    model, mask = make_lm(kind).model, torch.zeros(1, 1, 1, 1)
    with compat.swapped_attention(model.config, "padellm_test"):
        model(torch.tensor([[1, 2, 3]]), attention_mask=mask)
    assert all(torch.equal(each, mask) for each in masks)


def test_compat_swapped_attention_is_restored_after_an_error() -> None:
    config = make_lm("llama").model.config
    before = compat.attention_name(config)
    with (
        pytest.raises(KeyError, match="stop"),
        compat.swapped_attention(config, "padellm_test"),
    ):
        raise KeyError("stop")
    assert compat.attention_name(config) == before


def test_compat_attention_name_is_not_saved_with_the_model() -> None:
    config = make_lm("llama").model.config
    with compat.swapped_attention(config, "padellm_test"):
        assert "padellm_test" not in config.to_json_string()


@pytest.mark.parametrize("kind", sorted(CONFIGS))
def test_compat_vocabulary_head_is_called_with_the_hidden_states(kind: str) -> None:
    model, ids = make_lm(kind).model, torch.tensor([[1, 2, 3], [4, 5, 6]])
    shapes = []

    def keep_first(module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        (hidden,) = args
        shapes.append(tuple(hidden.shape))
        return (hidden[:, :1],)

    # the model has a hook of its own, which does nothing outside of our passes
    handle = compat.hook_vocabulary_head(model, keep_first)
    logits = model(ids).logits
    handle.remove()
    assert shapes == [(2, 3, 32)]
    torch.testing.assert_close(logits, model(ids).logits[:, :1])


def test_compat_weights_of_bitsandbytes_are_saved_as_they_were_read(
    tmp_path: Path,
) -> None:
    pytest.importorskip("bitsandbytes")
    make_lm("llama").model.save_pretrained(tmp_path)
    config = BitsAndBytesConfig(load_in_4bit=True)
    load = AutoModelForCausalLM.from_pretrained
    load(tmp_path, quantization_config=config).save_pretrained(tmp_path)
    model = load(tmp_path)
    if hasattr(model, "_weight_conversions"):
        with pytest.raises(NotImplementedError):
            model.save_pretrained(tmp_path / "failed")
    compat.mend_bitsandbytes_saving(model)
    model.save_pretrained(tmp_path / "saved")
    first, second = (
        load_file(path / "model.safetensors") for path in (tmp_path, tmp_path / "saved")
    )
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


# spaCy


def test_compat_doc_context_is_known_to_error_handlers() -> None:
    nlp = spacy.blank("en")
    contexts = []

    @spacy.Language.component("padellm_test_fails")
    def fail(doc: Any) -> Any:
        raise ValueError("failed")

    def note(name: str, pipe: Any, docs: Any, error: Exception) -> None:
        contexts.extend(compat.doc_context(doc) for doc in docs)

    nlp.add_pipe("padellm_test_fails")
    nlp.set_error_handler(note)  # type: ignore[arg-type]  # it may return
    assert list(nlp.pipe([("a", 7), ("b", 8)], as_tuples=True)) == []
    assert contexts == [7, 8]


def test_compat_no_questions_makes_transformers_raise_instead_of_asking(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("builtins.input", lambda text: pytest.fail(f"asked: {text}"))
    with compat.no_questions(), pytest.raises(ValueError, match="trust_remote_code"):
        resolve_trust_remote_code(None, "a/b", False, True)


def test_compat_no_questions_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[str] = []
    monkeypatch.setattr("builtins.input", lambda text: requests.append(text) or "n")
    with compat.no_questions():
        pass
    with pytest.raises(ValueError, match="trust_remote_code"):
        resolve_trust_remote_code(None, "a/b", False, True)
    assert requests


@Language.factory("padellm_test_made_from_config")
class NotesHowItIsMade:
    """Notes whether it is made from a config."""

    def __init__(self, nlp: Language, name: str) -> None:
        self.from_config = compat.is_made_from_config()

    def __call__(self, doc: Doc) -> Doc:
        return doc


def test_compat_pipelines_made_from_a_config_are_known() -> None:
    nlp = spacy.blank("en")
    pipe = nlp.add_pipe("padellm_test_made_from_config")
    assert isinstance(pipe, NotesHowItIsMade)
    other = type(nlp).from_config(nlp.config).get_pipe("padellm_test_made_from_config")
    assert [pipe.from_config, other.from_config] == [False, True]


# tokenizers


def test_compat_panic_is_raised_by_a_pattern_with_too_many_steps() -> None:
    tokenizer = make_tokenizer()
    pattern = pre_tokenizers.Split(Regex("(a+)+b"), "isolated")
    tokenizer.backend_tokenizer.pre_tokenizer = pattern
    with pytest.raises(BaseException, match="retry-limit") as caught:
        tokenizer("a" * 1000)
    assert compat.is_panic(caught.value)


def test_compat_panic_is_no_other_error() -> None:
    assert not compat.is_panic(KeyboardInterrupt())


# torch


def test_compat_this_process_is_no_bad_fork() -> None:
    assert compat.is_bad_fork() is False


@pytest.mark.parametrize(
    "check", ["_is_amx_tile_supported", "_is_avx512_bf16_supported"]
)
def test_compat_torch_has_the_checks_of_the_processor(check: str) -> None:
    assert isinstance(getattr(torch.cpu, check)(), bool)


@pytest.mark.parametrize("supported", [True, False])
def test_compat_cpu_is_fast_if_a_check_says_so(
    supported: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: supported)
    assert compat.cpu_is_fast_in_bf16() == supported


@pytest.mark.skipif(
    not compat.onednn_has_bf16(), reason="the processor has no bfloat16 kernels"
)
def test_compat_onednn_product_is_torchs() -> None:
    torch.manual_seed(0)
    weight = torch.randn(64, 32, dtype=torch.bfloat16)
    bias, x = torch.randn(2, 64).bfloat16()[0], torch.randn(1, 3, 32).bfloat16()
    with torch.inference_mode():
        product = compat.onednn_linear(x, compat.onednn_pack(weight, 8), bias)
        torch.testing.assert_close(product, linear(x, weight, bias))


def test_compat_onednn_operators_are_known_to_torch() -> None:
    for name in (
        "_is_mkldnn_bf16_supported",
        "_reorder_linear_weight",
        "_linear_pointwise",
    ):
        assert hasattr(torch.ops.mkldnn, name)


def test_compat_tensor_version_grows_with_changes_in_place() -> None:
    tensor = torch.zeros(2)
    before = compat.tensor_version(tensor)
    tensor.add_(1)
    assert compat.tensor_version(tensor) > before


def test_compat_tensor_of_inference_mode_has_version_0() -> None:
    with torch.inference_mode():
        assert compat.tensor_version(torch.zeros(2)) == 0


def test_compat_parameter_of_class_has_the_class_and_the_data() -> None:
    class Quantized(torch.nn.Parameter):
        def __new__(cls, data: torch.Tensor) -> Quantized:
            raise AssertionError("made by its constructor")

    data = torch.arange(3.0)
    parameter = compat.parameter_of_class(Quantized, data, requires_grad=False)
    assert type(parameter) is Quantized
    assert torch.equal(parameter.data, data)
    assert not parameter.requires_grad


def test_compat_holds_tensors_tells_wrappers_from_parameters() -> None:
    class Wrapper(torch.Tensor):
        @staticmethod
        def __new__(cls, held: torch.Tensor) -> Wrapper:
            made: Wrapper = torch.Tensor._make_wrapper_subclass(cls, held.shape)  # type: ignore[attr-defined]
            made.held = held
            return made

        held: torch.Tensor

        def __tensor_flatten__(self) -> tuple[list[str], None]:
            return ["held"], None

        @staticmethod
        def __tensor_unflatten__(parts: Any, *_: Any) -> Wrapper:
            return Wrapper(parts["held"])

        @classmethod
        def __torch_dispatch__(cls, *_: Any) -> Any:
            raise NotImplementedError

    assert compat.holds_tensors(Wrapper(torch.zeros(2)))
    assert not compat.holds_tensors(torch.nn.Parameter(torch.zeros(2)))


def test_compat_scale_in_place_scales_every_tensor() -> None:
    tensors = [torch.ones(2), torch.ones(3, 3)]
    compat.scale_in_place(tensors, 0.5)
    assert all(bool((tensor == 0.5).all()) for tensor in tensors)


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_compat_varlen_attention_asks_for_what_torch_takes(
    causal: bool, flipped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, asked = varlen.varlen_attn, {}

    def run(*args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        asked.update(inspect.signature(real).bind(*args, **kwargs).arguments)
        sums = torch.arange(20.0).view(4, 5)  # heads, queries
        return args[0], sums.T if flipped else sums

    run.__signature__ = inspect.signature(real)  # type: ignore[attr-defined]
    monkeypatch.setattr(varlen, "varlen_attn", run)
    starts = torch.tensor([0, 2, 5]), torch.tensor([0, 4, 7])
    query, keys = torch.zeros(5, 4, 8), torch.zeros(7, 2, 8)
    output, sums = compat.varlen_attention(
        query, keys, keys, *starts, 3, 4, scale=0.5, causal=causal
    )
    assert output is query
    assert sums.tolist() == torch.arange(20.0).view(4, 5).T.tolist()
    assert asked["window_size"] == ((-1, 0) if causal else (-1, -1))
    assert asked["return_aux"].lse
    assert asked.get("enable_gqa", True)


def test_compat_muon_casts_to_bfloat16_unless_told_to_stay_in_float32() -> None:
    def step() -> torch.Tensor:
        torch.manual_seed(0)
        weight = torch.nn.Parameter(torch.zeros(4, 4))
        weight.grad = torch.randn(4, 4)
        torch.optim.Muon([weight], lr=1.0, weight_decay=0.0).step()
        return weight.detach()

    plain = step()
    with compat.muon_in_float32():
        exact = step()
    # bfloat16 has 8 bits: the update of the other one has more digits
    assert torch.equal(plain, plain.bfloat16().float())
    assert not torch.equal(exact, exact.bfloat16().float())
    torch.testing.assert_close(exact, plain, rtol=0.1, atol=0.02)


def test_compat_muon_in_float32_copies_the_gradient() -> None:
    tensor = torch.zeros(2)
    with compat.muon_in_float32():
        copy = tensor.bfloat16()
        copy.add_(1)
    assert copy.dtype == torch.float32
    assert not tensor.any()
