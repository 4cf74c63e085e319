"""Every message a user can meet. Each one names its remedy."""


class Errors:
    """Message templates; fill them with `str.format`."""

    # Prompts, models and decoding: P1xx
    P101 = (
        "The prompt's template '{piece}' must hold {{{field}}} once and no other "
        "field, but it is {value!r}. Write literal braces as {{{{ and }}}}."
    )
    P102 = (
        "A prompt has the settings {known}, of which text, label, count and mention "
        "are needed, but these were given: {found}. Correct the names."
    )
    P103 = (
        "Unknown prompt preset '{preset}'. Choose one of: {known}; or change single "
        "templates of a preset with text, label, count, mention."
    )
    P104 = (
        "The tokenizer of '{name}' has no <eos> token, which ends every mention. Set "
        "eos_token in its tokenizer_config.json to the token that the model was "
        "trained to end with."
    )
    P105 = (
        "Cannot read {source}: {error}. It should hold the labels and the prompt that "
        "the model was trained with; restore it, or remove it and give labels and "
        "prompt in the config."
    )
    P106 = (
        "The config calls label '{label}' '{name}', but the model '{source}' was "
        "trained with '{trained}'. Use that name, or leave it to the model by "
        "removing the label from the config."
    )
    P107 = (
        "The config's prompt is not the one that the model '{source}' was trained "
        "with. Remove [components.padellm_ner.prompt] to use the model's own."
    )
    P110 = (
        "Unknown device '{device}'. Use 'auto', 'cpu', 'cuda' or a numbered one such "
        "as 'cuda:1'."
    )
    P111 = (
        "The device '{device}' was asked for, but torch sees {count} CUDA device(s). "
        'Set device = "auto" or "cpu", or install a torch built for your GPU.'
    )
    P112 = "Unknown dtype '{dtype}'. Use 'auto' or one of: {known}."
    P113 = (
        "There is no model folder {name}. Give the path of a Hugging Face model "
        "folder (with config.json), a hub name such as 'owner/model', or 'bundled-en'."
    )
    P114 = (
        "The model folder {path} has no {file}. Restore the file, or save the model "
        "again with save_pretrained or nlp.to_disk."
    )
    P115 = (
        "The weights of '{name}' are corrupt ({error}). Copy or download the model "
        "again."
    )
    P116 = (
        "Could not load a causal language model from '{name}': {error}. Check that "
        "the name is right, that the hub can be reached if it is a hub name, and that "
        "the installed transformers knows the architecture (a model with code of its "
        "own needs trust_remote_code = true)."
    )
    P117 = (
        "The model '{name}' lacks {count} of its weights, the first is {first}. Copy "
        "or download it again, and check that config.json belongs to these weights."
    )
    P118 = (
        "LoRA needs the package peft. Install it with: pip install "
        "'spacy-padellm[peft]'"
    )
    P120 = "The decoder's {name} is {value}. Set it to at least 1."
    P121 = (
        "A text of {tokens} tokens does not fit the model, which takes {context} "
        "tokens with the prompt. Set [components.padellm_ner.span_getter] to cut "
        "longer texts into windows, e.g. spacy-transformers.strided_spans.v1 with a "
        "smaller window."
    )
    P122 = (
        "The model gave logits that are no numbers (NaN or infinite). Load it with "
        'dtype = "float32" or "bfloat16"; if that does not help, its weights '
        "are broken."
    )

    # Training and saving
    P123 = (
        "The training loss is no number. Lower the learning rate in "
        '[training.optimizer], or train with dtype = "float32".'
    )
    P124 = (
        "use_averages = true is not supported: averages would hold a second copy of "
        "all weights. Set use_averages = false in [training.optimizer]."
    )
    P130 = (
        "The model is not there yet: it is made from scratch in training. Run "
        "'spacy train', call nlp.initialize(), or load a trained pipeline."
    )
    P131 = (
        "The model takes {size:.1f} GiB, more than to_bytes can hold (4 GiB). Save it "
        'with nlp.to_disk, or leave it out with exclude=["model"].'
    )
    P132 = (
        "CUDA cannot be used in a process forked from one that used it. Call nlp.pipe "
        'with n_process=1 (one process keeps a GPU busy), set device = "cpu", or '
        'choose multiprocessing.set_start_method("spawn") before.'
    )
    P133 = (
        "The LoRA adapter was trained on the base model in {path}, and saving there "
        "would delete that model. Save the pipeline in another folder."
    )
    P134 = (
        "The LoRA settings do not fit: {error}. Correct "
        "[components.padellm_ner.model.lora]; its keys are those of peft.LoraConfig."
    )

    # The component: P14x
    P140 = (
        "The component '{name}' has no labels. Give them in the config, e.g. labels = "
        '{{"PER": "person"}}, call add_label, or initialise it with annotated '
        "examples."
    )
    P141 = (
        "A label must be a non-empty string, but {label!r} is a {kind}. Give the "
        'label\'s name, e.g. "PER".'
    )
    P142 = (
        "The gold annotation has the label '{label}', which component '{name}' does "
        "not know. Add it to labels in the config (label -> name in the prompt), or "
        "remove it from the corpus. Known: {known}."
    )
    P143 = (
        "Unknown value '{value}' of '{setting}' in component '{name}'. Choose one of: "
        "{known}."
    )
    P144 = (
        "No prompt is known for component '{name}': the model carries none. Give "
        '[components.{name}.prompt], e.g. @misc = "spacy-padellm.Prompt.v1" with '
        'preset = "paper-en".'
    )
    P145 = (
        "The saved component {path} has no model folder, though it was saved with one. "
        'Restore the folder, or load with exclude=["{name}"].'
    )
    P146 = (
        "The pipeline folder {path} has no file '{file}'. Restore it, or save the "
        "pipeline again with nlp.to_disk."
    )

    # Data conversion: P2xx
    P200 = "Unknown format '{format}'. Choose one of: {formats}."
    P201 = "Input not found: {path}. Give the path of an existing file or folder."
    P202 = (
        "No file in {path} fits the format '{format}'. Give a folder of {suffixes} "
        "files (.xz and .gz are read too), or name the file itself."
    )
    P203 = "Unknown language '{lang}'. Choose one of: {langs}."
    P204 = (
        "No text could be read from {path} ({bad} bad lines{first}). Check that the "
        "file is not empty and that --format is the right one."
    )
    P205 = (
        "None of the {docs} texts of {path} holds a mention, so there are no labels "
        "to train. Check --format, and for conll --tag-column."
    )
    P206 = (
        "{path}:{line}: the mentions {first} and {second} overlap, which --flat "
        "forbids. Drop --flat to keep overlapping mentions in doc.spans."
    )
    P207 = (
        "Could not read {path}: {reason}. Give a UTF-8 text file, plain or "
        "compressed as .xz or .gz."
    )
    P208 = (
        "{path}: the indexes of at most {agree} of {rows} rows agree with their "
        "mention strings, whether read as words or characters, with exclusive or "
        "inclusive ends. Check that each row is [text, [start, end, mention, "
        "label], ...]."
    )
    P209 = (
        "{path}: no column of tags (O, B-PER, I-PER ...) found beside a column of "
        "tokens. Check --format, or name the columns with --tag-column and "
        "--token-column."
    )
    P210 = (
        "{path}: cannot take column {tag} for the tags and {token} for the tokens of "
        "{width} columns. Give --tag-column and --token-column two different numbers "
        "from {first} to {last}."
    )
    P211 = "Cannot write to {path}. Give the path of a file that ends in .spacy."
    P212 = (
        "--tag-column and --token-column are for the format 'conll', not "
        "'{format}'. Drop them."
    )

    # Mentions and alignment: P3xx
    P301 = "Unknown de-duplication mode '{mode}'. Set it to 'on', 'off' or 'reversed'."


class Warnings:
    """Templates of warnings and log lines."""

    W101 = (
        "{n} count(s) were over max_mentions = {limit} and cut to it. Raise "
        "max_mentions in the decoder if such counts are real."
    )
    W102 = (
        "{n} mention(s) reached max_mention_tokens = {limit} and were cut there. Raise "
        "max_mention_tokens in the decoder if such mentions are real."
    )
    W103 = (
        "Decoding separate sequences as one batch instead of token trees, which is "
        "slower: {reason}."
    )
    R101 = "attn_implementation '{attention}' takes no tree mask; 'sdpa' does"
    R102 = (
        "the model ({kind}) computes other outputs from a tree than from its "
        "sequences, as recurrent and ALiBi models do"
    )
    R103 = (
        "a text of {length} tokens is longer than the model's sliding window of "
        "{window}"
    )
