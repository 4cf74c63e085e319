#!/usr/bin/env bash
# Runs on a GPU machine, in the repository's root: tests, then measurements in the order
# of their value. Each part has a time limit of its own, and its results are written as
# soon as it ends.
#
#   OUT=results bash benchmarks/gpu/run.sh [PART ...]
#
# OUT: a folder for the results. BUDGET: seconds for all parts; those at the end get what
# is left. DEVICE: cuda (the default) or cpu, to rehearse with
# SHAPES=tiny. CORPUS: CoNLL-2003 dev as a .spacy file. SITE: packages that the machine
# lacks, as benchmarks/gpu/bundle.sh makes them.
set -uo pipefail
: "${OUT:?a folder for the results}" "${DEVICE:=cuda}" "${PYTHON:=python3}"
: "${CORPUS:=gpu-bundle/conll03_dev.spacy}" "${SITE:=gpu-bundle/site.tar.xz}"
: "${BASE:=gpu-bundle/base}" "${SHAPES:=7B 0.6B 135M}" "${TEXTS:=12}"
: "${BUNDLED_TEXTS:=400}" "${BUDGET:=480}" "${TRAIN_SHAPES:=135M 0.6B}" "${TRAIN_SECONDS:=12}"
mkdir -p "$OUT"
if [ -f "$SITE" ]; then
    site=$(mktemp -d)
    tar -xJf "$SITE" -C "$site"
    export PYTHONPATH="$PWD:$site"
fi
export HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=false

part() { # NAME SECONDS COMMAND...
    local name=$1 limit=$2 start=$SECONDS
    shift 2
    ((limit > BUDGET - start)) && limit=$((BUDGET - start))
    if ((limit < 5)); then
        echo "== $name: left out, no time" | tee -a "$OUT/summary.txt"
        return
    fi
    # a process that waits for a GPU may not hear the first signal
    timeout -k 5 "$limit" "$@" >"$OUT/$name.log" 2>&1
    echo "== $name: exit $? after $((SECONDS - start)) s" | tee -a "$OUT/summary.txt"
    grep -v "Loading weights" "$OUT/$name.log" | tail -n "${LINES_SHOWN:-25}" | cut -c 1-400
}

measure() { # NAME SECONDS OPTIONS...
    local name=$1 limit=$2
    shift 2
    part "$name" "$limit" "$PYTHON" -m spacy_padellm.benchmark "$CORPUS" \
        --device "$DEVICE" --peers '' --json "$OUT/$name.json" "$@"
}

graphs=tree-graphs,
[ "$DEVICE" = cpu ] && graphs=
run() {
    case $1 in
    tests)
        # other files import packages that the machine may lack
        mapfile -t files < <(grep -rl on_cuda --include='test_*.py' tests)
        part tests 150 "$PYTHON" -m pytest -m gpu -q -p no:cacheprovider \
            -o filterwarnings=default "${files[@]}"
        ;;
    shapes)
        # apart from the slow ones, whose end may not come in time
        for decoders in "tree,${graphs}tree-cascade,batch" "struct,aug"; do
            for shape in $SHAPES; do
                measure "decoding-$shape-${decoders%%,*}" 60 --forced --shape "$shape" \
                    --texts "$TEXTS" --dtype bfloat16 --repeats 1 --decoders "$decoders"
            done
        done
        ;;
    streams)
        for shape in $SHAPES; do
            measure "stream-$shape" 75 --forced --shape "$shape" --texts 400 \
                --dtype bfloat16 --repeats 1 --decoders tree,tree-cascade
        done
        ;;
    bundled)
        models="--model bundled-en-sm"
        # the large one may have been left behind
        if [ -f spacy_padellm/models/en/quantized.safetensors ]; then
            models="--model bundled-en $models"
        fi
        # shellcheck disable=SC2086
        part bundled 60 "$PYTHON" -m spacy_padellm.benchmark "$CORPUS" \
            $models --device "$DEVICE" --texts "$BUNDLED_TEXTS" --repeats 1 \
            --decoders "tree,${graphs%,}" --peers ner,token-classifier \
            --json "$OUT/bundled.json"
        ;;
    batches)
        for size in 64 1024; do
            part "batches-$size" 40 "$PYTHON" -m spacy_padellm.benchmark "$CORPUS" \
                --model bundled-en-sm --device "$DEVICE" --texts "$BUNDLED_TEXTS" --repeats 1 \
                --batch-size "$size" --decoders tree --peers '' \
                --json "$OUT/batches-$size.json"
        done
        ;;
    profile)
        for shape in $SHAPES; do
            part "profile-$shape" 60 "$PYTHON" -m benchmarks.gpu.profile "$CORPUS" \
                --shape "$shape" --device "$DEVICE" --json "$OUT/profile-$shape.json"
        done
        ;;
    training)
        for shape in $TRAIN_SHAPES; do
            part "training-$shape" 50 "$PYTHON" -m benchmarks.gpu.training "$CORPUS" \
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
    set -- tests shapes streams bundled training profile batches
fi
for name in "$@"; do
    run "$name"
done
"$PYTHON" -m benchmarks.gpu.table "$OUT" | tee "$OUT/table.txt"
cat "$OUT/summary.txt"
