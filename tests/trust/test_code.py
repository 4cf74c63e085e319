"""No code of a model folder runs unless it is trusted."""

from __future__ import annotations

import builtins
import json
import pickle
import shutil
from importlib.machinery import all_suffixes
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_lm
from trust_helpers import change, write_adapter, write_code, write_model

from spacy_padellm.lm.loading import load_model, load_tokenizer
from spacy_padellm.lm.lora import with_lora
from spacy_padellm.lm.saving.folder import copy_model_folder
from spacy_padellm.lm.task.config import TaskSettings
from spacy_padellm.lm.trust.code import _CODE, check_code
from spacy_padellm.prompt.template import PRESETS

UNTRUSTED = "files outside it, which are not trusted, in {file}: {found}.*_CODE=1"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("original"))


@pytest.fixture
def model(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "model"))


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """A file that exists once code of the model has run."""
    return tmp_path / "trace"


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(question: str = "") -> str:
        pytest.fail(f"asked on the terminal: {question}")

    monkeypatch.setattr(builtins, "input", ask)


def refuses(folder: Path, file: str, found: str = "") -> bool:
    with pytest.raises(ValueError, match=UNTRUSTED.format(file=file, found=found)):
        load_model(str(folder))
    return True


def test_trust_model_without_code_loads(model: Path) -> None:
    assert load_model(str(model)).tokenizer is not None


def test_trust_custom_generate_is_refused(model: Path, trace: Path) -> None:
    write_code(model / "custom_generate" / "generate.py", trace)
    assert refuses(model, "custom_generate")
    assert not trace.exists()


def test_trust_custom_generate_runs_if_it_is_trusted(model: Path, trace: Path) -> None:
    write_code(model / "custom_generate" / "generate.py", trace)
    load_model(str(model), trust_remote_code=True)
    assert trace.exists()


def test_trust_custom_generate_of_an_adapters_base_is_refused(
    model: Path, trace: Path, tmp_path: Path
) -> None:
    adapter = write_adapter(tmp_path / "adapter", model)
    write_code(model / "custom_generate" / "generate.py", trace)
    assert refuses(adapter, "custom_generate")
    assert not trace.exists()


@pytest.mark.parametrize("file", ["modeling.py", "sub/modeling.py", "MODELING.PY"])
def test_trust_module_is_refused(model: Path, trace: Path, file: str) -> None:
    write_code(model / file, trace)
    assert refuses(model, file, "code")


@pytest.mark.parametrize(
    "file",
    [
        "modeling.pyc",
        "__pycache__/modeling.cpython-312.pyc",
        "modeling.pyo",
        "modeling.pyw",
        "modeling.so",
        "modeling.cpython-312-x86_64-linux-gnu.so",
        "Modeling.PYD",
    ],
)
def test_trust_other_files_that_python_imports_are_neither_loaded_nor_copied(
    model: Path, tmp_path: Path, file: str
) -> None:
    (model / file).parent.mkdir(exist_ok=True)
    (model / file).write_bytes(b"")
    assert refuses(model, file, "code")
    settings = TaskSettings({"PER": "person"}, PRESETS["paper-en"])
    with pytest.raises(ValueError, match=UNTRUSTED.format(file=file, found="code")):
        copy_model_folder(model, tmp_path / "copy", settings, trusted=False)
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize(
    "file",
    [
        "custom_generate",
        "cu\u017ftom_generate",
        "custom\u200c_generate",
        "modeling.\u017fo",
    ],
)
def test_trust_names_that_some_systems_take_for_code_are_refused(
    model: Path, file: str
) -> None:
    (model / file).write_bytes(b"")
    assert refuses(model, file, "code")


def test_trust_settings_that_some_systems_find_are_checked(model: Path) -> None:
    change(model / "config.4.0.0.j\u017fon", auto_map={"AutoConfig": "c.C"})
    assert refuses(model, "config.4.0.0.j\u017fon", "auto_map")


def test_trust_all_files_that_this_python_imports_are_code() -> None:
    suffixes = {f".{s.rpartition('.')[2]}" for s in all_suffixes()}
    assert suffixes <= _CODE


def test_trust_module_of_an_adapter_is_refused(
    model: Path, trace: Path, tmp_path: Path
) -> None:
    adapter = write_adapter(tmp_path / "adapter", model)
    write_code(adapter / "tokenization.py", trace)
    assert refuses(adapter, "tokenization.py")


@pytest.mark.parametrize(
    "file",
    [
        "config.json",
        "tokenizer_config.json",
        "processor_config.json",
        "preprocessor_config.json",
        "video_preprocessor_config.json",
        "generation_config.json",
        "sub/tokenizer_config.json",
    ],
)
def test_trust_auto_map_is_refused(model: Path, file: str) -> None:
    (model / file).parent.mkdir(exist_ok=True)
    change(model / file, auto_map={"AutoTokenizer": ["other/repository--t.T", None]})
    assert refuses(model, file, "auto_map")


def test_trust_auto_map_of_a_part_is_refused(model: Path) -> None:
    part = {"model_type": "llama", "auto_map": {"AutoModel": "modeling.Model"}}
    change(model / "config.json", text_config=part)
    assert refuses(model, "config.json", "auto_map")


@pytest.mark.parametrize("file", ["tokenizer_config.json", "adapter_config.json"])
def test_trust_auto_map_of_an_adapter_is_refused(
    model: Path, tmp_path: Path, file: str
) -> None:
    adapter = write_adapter(tmp_path / "adapter", model)
    change(adapter / file, auto_map={"AutoTokenizer": ["t.T", None]})
    assert refuses(adapter, file, "auto_map")


def test_trust_auto_map_is_refused_where_only_the_tokenizer_is_read(
    model: Path,
) -> None:
    change(model / "tokenizer_config.json", auto_map={"AutoTokenizer": ["t.T", None]})
    with pytest.raises(ValueError, match="auto_map"):
        load_tokenizer(str(model))


def test_trust_token_called_auto_map_is_no_code(model: Path) -> None:
    change(model / "added_tokens.json", auto_map=5, tokenizer_class=6)
    check_code(model, trusted=False)


def test_trust_adapters_tokenizer_runs_if_it_is_trusted(
    model: Path, trace: Path, tmp_path: Path
) -> None:
    adapter = write_adapter(tmp_path / "adapter", model)
    module = "from transformers import PreTrainedTokenizerFast\n"
    module += "class Mine(PreTrainedTokenizerFast): pass\n"
    module += f"open({str(trace)!r}, 'w').close()\n"
    (adapter / "mine.py").write_text(module, "utf8")
    auto_map = {"AutoTokenizer": [None, "mine.Mine"]}
    change(adapter / "tokenizer_config.json", auto_map=auto_map, tokenizer_class="Mine")
    load_model(str(adapter), trust_remote_code=True)
    assert trace.exists()


# Other ways in which settings name code


def test_trust_custom_pipelines_are_refused(model: Path) -> None:
    change(model / "config.json", custom_pipelines={"x": {"impl": "my.Pipe"}})
    assert refuses(model, "config.json", "custom_pipelines")


@pytest.mark.parametrize("name", ["AutoModel", "RagRetriever", "Trainer", "pipeline"])
def test_trust_tokenizer_class_that_is_no_tokenizer_is_refused(
    model: Path, name: str
) -> None:
    change(model / "tokenizer_config.json", tokenizer_class=name)
    assert refuses(model, "tokenizer_config.json", f"tokenizer_class = '{name}'")


@pytest.mark.parametrize(
    "key", ["attn_implementation", "_attn_implementation", "experts_implementation"]
)
@pytest.mark.parametrize(
    "value",
    [
        "some-one/kernel",
        "some-one/kernel:attend",
        {"text": "some-one/kernel"},
        {"text": {"": ["some-one/kernel"]}},
    ],
)
def test_trust_kernel_of_the_hub_is_refused(model: Path, key: str, value: Any) -> None:
    change(model / "config.json", text_config={key: value})
    assert refuses(model, "config.json", key)


def test_trust_attention_of_transformers_is_no_code(model: Path) -> None:
    change(model / "config.json", _attn_implementation="sdpa")
    check_code(model, trusted=False)


def test_trust_settings_in_another_folder_are_refused(model: Path) -> None:
    change(model / "config.json", configuration_files=["../config.4.0.0.json"])
    assert refuses(model, "config.json", "configuration_files")


def test_trust_settings_of_a_version_are_checked(model: Path) -> None:
    change(model / "config.json", configuration_files=["config.4.0.0.json"])
    change(model / "config.4.0.0.json", auto_map={"AutoConfig": "c.C"})
    assert refuses(model, "config.4.0.0.json", "auto_map")


def test_trust_settings_that_are_too_deep_are_refused(model: Path) -> None:
    deep = "[" * 100_000 + "]" * 100_000
    (model / "generation_config.json").write_text(deep, "utf8")
    assert refuses(model, "generation_config.json", "settings too deep")


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16"])
def test_trust_settings_in_another_encoding_are_refused(
    model: Path, tmp_path: Path, encoding: str
) -> None:
    adapter = write_adapter(tmp_path / "adapter", model)
    content = '{"peft_type": "PROMPT_TUNING", "revision": "é"}'
    (adapter / "adapter_config.json").write_text(content, encoding)
    assert refuses(adapter, "adapter_config.json", "settings that are not UTF-8")


def test_trust_link_to_another_folder_is_refused(model: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (model / "question_encoder_tokenizer").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="_tokenizer is a link that leads out"):
        load_model(str(model))


@pytest.mark.parametrize(
    "settings",
    [
        {"peft_type": "PROMPT_TUNING", "tokenizer_kwargs": {"trust_remote_code": True}},
        {"peft_type": "MULTITASK_PROMPT_TUNING"},
        {"peft_type": "XLORA", "adapters": {"0": "other/adapter"}},
        {"peft_type": None},
        {"megatron_config": {"x": 1}, "megatron_core": "antigravity"},
        {"auto_mapping": {"base_model_class": "A", "parent_library": "antigravity"}},
    ],
)
def test_trust_adapter_that_names_code_is_refused(
    model: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    adapter = write_adapter(tmp_path / "adapter", model, **settings)
    assert refuses(adapter, "adapter_config.json", f"{min(settings)} = |peft_type = ")


def test_trust_adapter_without_code_loads(model: Path, tmp_path: Path) -> None:
    mapping = {"base_model_class": "LlamaForCausalLM"}
    mapping["parent_library"] = "transformers.models.llama.modeling_llama"
    adapter = write_adapter(tmp_path / "adapter", model, auto_mapping=mapping)
    assert load_model(str(adapter)).model.peft_config


@pytest.mark.parametrize(
    "settings",
    [
        {"r": -1},
        {"r": "x"},
        {"lora_alpha": "x"},
        {"target_modules": ["no_such_module"]},
        {"target_modules": "("},
        {"target_modules": 5},
        {"rank_pattern": 5},
        {"layers_to_transform": [99]},
        {"init_lora_weights": "no_such_way"},
    ],
)
def test_trust_adapter_with_wrong_settings_is_told(
    model: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    adapter = write_adapter(tmp_path / "adapter", model, **settings)
    with pytest.raises(ValueError, match="Could not load a causal language model"):
        load_model(str(adapter))


@pytest.mark.parametrize("base", [None, "", 5, {}, "{adapter}", "{other}"])
def test_trust_adapter_without_a_base_model_is_told(
    model: Path, tmp_path: Path, base: Any
) -> None:
    other = write_adapter(tmp_path / "other", model)
    adapter = write_adapter(tmp_path / "adapter", model)
    if isinstance(base, str):
        base = base.format(adapter=adapter, other=other)
    change(adapter / "adapter_config.json", base_model_name_or_path=base)
    with pytest.raises(ValueError, match="as its base model, which is not a model"):
        load_model(str(adapter))


@pytest.mark.parametrize("files", ["code", "link"])
def test_trust_adapters_base_is_checked(
    model: Path, tmp_path: Path, trace: Path, files: str
) -> None:
    adapter = write_adapter(tmp_path / "adapter", model)
    if files == "code":
        write_code(model / "modeling.py", trace)
    else:
        (model / "model.safetensors").rename(tmp_path / "weights")
        (model / "model.safetensors").symlink_to(tmp_path / "weights")
    with pytest.raises(ValueError, match=r"in modeling\.py|is a link that leads out"):
        load_model(str(adapter))


def test_trust_folder_without_a_model_is_not_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spacy_padellm.lm.loading.check_code", pytest.fail)
    with pytest.raises(ValueError, match=r"has no config\.json"):
        load_model(str(tmp_path))


def test_trust_lora_settings_that_name_code_are_refused() -> None:
    lora = {"megatron_config": {"x": 1}, "megatron_core": "antigravity"}
    with pytest.raises(ValueError, match=r"LoRA settings are not valid: megatron_con"):
        with_lora(make_lm("llama"), lora, name=None, revision=None, new_tokens=[])


# Pickles


class Payload:
    """A pickle that makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return open, (self.path, "w")


@pytest.mark.parametrize("trusting", [False, True])
def test_trust_pickle_never_runs(model: Path, trace: Path, trusting: bool) -> None:
    (model / "model.safetensors").unlink()
    torch.save({"weight": Payload(trace)}, model / "pytorch_model.bin")
    with pytest.raises(ValueError, match="Could not load"):
        load_model(str(model), trust_remote_code=trusting)
    assert not trace.exists()


def test_trust_pickle_of_an_adapter_never_runs(
    model: Path, trace: Path, tmp_path: Path
) -> None:
    adapter = write_adapter(tmp_path / "adapter", model)
    (adapter / "adapter_model.safetensors").unlink()
    torch.save({"weight": Payload(trace)}, adapter / "adapter_model.bin")
    with pytest.raises(ValueError, match="Could not load"):
        load_model(str(adapter))
    assert not trace.exists()


def test_trust_pickle_of_a_lora_cache_never_runs(
    model: Path, trace: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache.pt"
    cache.write_bytes(pickle.dumps(Payload(trace)))
    adapter = write_adapter(
        tmp_path / "adapter",
        model,
        init_lora_weights="corda",
        inference_mode=False,
        corda_config={"cache_file": str(cache), "covariance_file": str(cache)},
    )
    with pytest.raises((ValueError, AttributeError, TypeError)):
        load_model(str(adapter))
    assert not trace.exists()


def test_trust_chat_template_never_runs(model: Path) -> None:
    template = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
    (model / "chat_template.jinja").write_text(template, "utf8")
    tokenizer = load_model(str(model)).tokenizer
    with pytest.raises(Exception, match=r"__class__|unsafe"):
        tokenizer.apply_chat_template([{"role": "user", "content": "x"}])


# Copies


SETTINGS = TaskSettings({"PER": "person"}, PRESETS["paper-en"])


def test_trust_code_is_not_copied(model: Path, trace: Path, tmp_path: Path) -> None:
    write_code(model / "modeling.py", trace)
    with pytest.raises(ValueError, match=r"in modeling\.py"):
        copy_model_folder(model, tmp_path / "copy", SETTINGS, trusted=False)
    assert not (tmp_path / "copy").exists()


def test_trust_code_is_copied_if_it_is_trusted(
    model: Path, trace: Path, tmp_path: Path
) -> None:
    write_code(model / "modeling.py", trace)
    copy_model_folder(model, tmp_path / "copy", SETTINGS, trusted=True)
    assert (tmp_path / "copy" / "modeling.py").is_file()


# Models on the hub


@pytest.fixture
def hub(original: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A model in the hub's cache, as links to blobs; gives its snapshot."""
    repository = tmp_path / "models--some-one--some-model"
    snapshot = repository / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc", "utf8")
    for path in original.iterdir():
        blob = repository / "blobs" / path.name.upper()
        blob.write_bytes(path.read_bytes())
        (snapshot / path.name).symlink_to(f"../../blobs/{blob.name}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for name in (
        "transformers.utils.hub.TRANSFORMERS_CACHE",
        "huggingface_hub.constants.HF_HUB_CACHE",
    ):
        monkeypatch.setattr(name, str(tmp_path), raising=False)
    return snapshot


def test_trust_hub_model_loads(hub: Path) -> None:
    assert load_model("some-one/some-model").tokenizer is not None


def test_trust_hub_model_with_its_own_code_is_refused(hub: Path) -> None:
    change(hub / "config.json", model_type="mine", auto_map={"AutoConfig": "c.C"})
    with pytest.raises(ValueError, match="trust_remote_code"):
        load_model("some-one/some-model")


def test_trust_hub_model_that_transformers_knows_runs_without_its_code(
    hub: Path,
) -> None:
    change(hub / "config.json", auto_map={"AutoConfig": "c.C"})
    assert load_model("some-one/some-model").tokenizer is not None


def test_trust_hub_model_that_names_a_kernel_is_refused(hub: Path) -> None:
    change(hub / "config.json", _attn_implementation="some-one/kernel")
    with pytest.raises(ValueError, match=r"in config\.json: _attn_implementation"):
        load_model("some-one/some-model")


def test_trust_hub_model_that_names_other_settings_is_refused(hub: Path) -> None:
    # transformers would fetch them unchecked
    change(hub / "config.json", configuration_files=["config.4.0.0.json"])
    change(hub / "config.4.0.0.json", _attn_implementation="some-one/kernel")
    with pytest.raises(ValueError, match=r"in config\.json: configuration_files"):
        load_model("some-one/some-model")


def test_trust_hub_model_that_names_other_tokenizers_is_refused(hub: Path) -> None:
    file = hub / "tokenizer_config.json"
    change(file, fast_tokenizer_files=["tokenizer.4.0.0.json"])
    with pytest.raises(ValueError, match=r"_config\.json: fast_tokenizer_files"):
        load_model("some-one/some-model")


def test_trust_hub_adapter_that_names_code_is_refused(hub: Path) -> None:
    (hub / "adapter_config.json").write_text(
        json.dumps({"peft_type": "PROMPT_TUNING"}), "utf8"
    )
    with pytest.raises(ValueError, match="peft_type = 'PROMPT_TUNING'"):
        load_model("some-one/some-model")


def test_trust_hub_adapter_with_a_base_on_this_machine_is_refused(
    hub: Path, model: Path, trace: Path
) -> None:
    write_code(model / "custom_generate" / "generate.py", trace)
    config = {"peft_type": "LORA", "base_model_name_or_path": str(model)}
    (hub / "adapter_config.json").write_text(json.dumps(config), "utf8")
    with pytest.raises(ValueError, match="is on the hub, but names"):
        load_model("some-one/some-model")
    assert not trace.exists()


def test_trust_hub_model_that_names_weights_elsewhere_is_refused(hub: Path) -> None:
    index = {"weight_map": {"lm_head.weight": "../outside.safetensors"}}
    (hub / "model.safetensors.index.json").write_text(json.dumps(index), "utf8")
    with pytest.raises(ValueError, match=r"index\.json: weight_map"):
        load_model("some-one/some-model")
