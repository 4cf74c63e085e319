#!/usr/bin/env bash
# Runs on a GPU machine, in the repository's root: a few tests, then measurements in the
# order of their value, then the other tests. Each part has a time limit of its own. The
# limits of the usual parts add up to BUDGET, so that each of them has its time; what a
# part leaves goes to those at the end. Results are written while a part runs.
#
#   OUT=results bash benchmarks/gpu/run.sh [PART ...]
#
# OUT: a folder for the results. BUDGET: seconds for all parts. DEVICE: cuda (the default)
# or cpu, to rehearse with SHAPES=tiny. CORPUS: CoNLL-2003 dev as a .spacy file. SITE:
# packages that the machine lacks, as benchmarks/gpu/bundle.sh makes them.
set -uo pipefail
: "${OUT:?a folder for the results}" "${DEVICE:=cuda}" "${PYTHON:=python3}"
: "${CORPUS:=gpu-bundle/conll03_dev.spacy}" "${SITE:=gpu-bundle/site.tar.xz}"
: "${BASE:=gpu-bundle/base}" "${SHAPES:=0.6B 7B}" "${TEXTS:=12}"
: "${BUNDLED_TEXTS:=400}" "${STREAM_TEXTS:=200}" "${SIZES:=1024}" "${BUDGET:=480}"
: "${TRAIN_SHAPES:=135M 0.6B}" "${TRAIN_SECONDS:=10}"
mkdir -p "$OUT"
if [ -f "$SITE" ]; then
    site=$(mktemp -d)
    tar -xJf "$SITE" -C "$site"
    export PYTHONPATH="$PWD:$site"
fi
# as the library does for its own processes: cuDNN plans anew for each shape
export TORCH_CUDNN_SDPA_DEPRIORITIZED=1
export HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=false

part() { # NAME SECONDS COMMAND...
    local name=$1 limit=$2 start=$SECONDS
    shift 2
    ((limit > BUDGET - start)) && limit=$((BUDGET - start))
    if ((limit < 5)); then
        echo "== $name: left out, no time" | tee -a "$OUT/summary.txt"
        return
    fi
    # pytest says on this signal what failed; who waits for a GPU may not hear it
    timeout -s INT -k 5 "$limit" "$@" >"$OUT/$name.log" 2>&1
    echo "== $name: exit $? after $((SECONDS - start)) of $limit s" | tee -a "$OUT/summary.txt"
    grep -v "Loading weights" "$OUT/$name.log" | tail -n "${LINES_SHOWN:-25}" | cut -c 1-400
}

measure() { # NAME SECONDS OPTIONS...
    local name=$1 limit=$2
    shift 2
    part "$name" "$limit" "$PYTHON" -m spacy_padellm.benchmark "$CORPUS" \
        --device "$DEVICE" --peers '' --json "$OUT/$name.json" "$@"
}

check() { # NAME SECONDS TESTS
    # other files import packages that the machine may lack
    mapfile -t files < <(grep -rl on_cuda --include='test_*.py' tests)
    part "$1" "$2" "$PYTHON" -m pytest -m gpu -q -p no:cacheprovider \
        -o filterwarnings=default -k "$3" "${files[@]}"
}

decode() { # NAME SECONDS DECODERS
    for shape in $SHAPES; do
        measure "$1-$shape" "$2" --forced --shape "$shape" --texts "$TEXTS" \
            --dtype bfloat16 --repeats 1 --decoders "$3"
    done
}

# some of each kind of test, for each dtype
smoke="decoding_on_cuda_scores and False and (llama or gpt2 or gemma2)
    or graphs_on_cuda_scores and llama
    or training_on_cuda_gradients and adamw and llama
    or cudnn_on_cuda or upload_on_cuda or memory_on_cuda or that_waits"
smoke=${smoke//$'\n'/ }
graphs=tree-graphs,
[ "$DEVICE" = cpu ] && graphs=
run() {
    case $1 in
    smoke) check smoke 40 "$smoke" ;;
    shapes) decode decoding 50 "tree,${graphs}batch" ;;
    tests) check tests 45 "not ($smoke)" ;;
    others) decode others 35 tree-cascade,struct,aug ;;
    streams)
        for shape in $SHAPES; do
            measure "stream-$shape" 35 --forced --shape "$shape" \
                --texts "$STREAM_TEXTS" --dtype bfloat16 --repeats 1 --decoders tree
        done
        ;;
    bundled)
        models="--model bundled-en-sm"
        # the large one may have been left behind
        if [ -f spacy_padellm/models/en/quantized.safetensors ]; then
            models="--model bundled-en $models"
        fi
        # shellcheck disable=SC2086
        part bundled 45 "$PYTHON" -m spacy_padellm.benchmark "$CORPUS" \
            $models --device "$DEVICE" --texts "$BUNDLED_TEXTS" --repeats 1 \
            --decoders "tree,${graphs%,}" --peers ner,token-classifier \
            --json "$OUT/bundled.json"
        ;;
    batches)
        for size in $SIZES; do
            part "batches-$size" 25 "$PYTHON" -m spacy_padellm.benchmark "$CORPUS" \
                --model bundled-en-sm --device "$DEVICE" --texts "$BUNDLED_TEXTS" --repeats 1 \
                --batch-size "$size" --decoders tree --peers '' \
                --json "$OUT/batches-$size.json"
        done
        ;;
    profile)
        for shape in $SHAPES; do
            part "profile-$shape" 30 "$PYTHON" -m benchmarks.gpu.profile "$CORPUS" \
                --shape "$shape" --device "$DEVICE" --json "$OUT/profile-$shape.json"
        done
        ;;
    training)
        for shape in $TRAIN_SHAPES; do
            part "training-$shape" 30 "$PYTHON" -m benchmarks.gpu.training "$CORPUS" \
                --shape "$shape" --seconds "$TRAIN_SECONDS" --device "$DEVICE" \
                --json "$OUT/training-$shape.json"
        done
        ;;
    finetune)
        part finetune 100 "$PYTHON" -m benchmarks.gpu.finetune "$BASE" "$CORPUS" \
            "$OUT/finetune" --dev conll="$CORPUS" --dev-texts 100 --device "$DEVICE" \
            --seconds "$TRAIN_SECONDS"
        [ -f "$OUT/finetune/log.json" ] && cp "$OUT/finetune/log.json" "$OUT/finetune.json"
        rm -rf "$OUT/finetune"
        ;;
    *)
        echo "unknown part: $1"
        ;;
    esac
}

if [ $# -eq 0 ]; then
    set -- smoke shapes training bundled streams profile batches tests others
fi
for name in "$@"; do
    run "$name"
done
"$PYTHON" -m benchmarks.gpu.table "$OUT" | tee "$OUT/table.txt"
cat "$OUT/summary.txt"
