#!/bin/sh
# Loads our server, Python's `transformers serve --continuous-batching` and llama-server in turns, on the same weights.
#
#   benches/peers/servers.sh TRANSFORMERS PYTHON LLAMA_SERVER SMOLLM2.gguf FOLDER [OPTIONS of cargo xtask load]
#
# PYTHON has transformers[serving]. SMOLLM2.gguf has its tokenizer; FOLDER keeps what is made of it: f32 and q8_0. A program
# that is not there is left out.
set -eu

ours=$1 python=$2 llama=$3 model=$4 folder=$5
shift 5

[ -d "$folder/f32" ] || "$ours" convert "$model" "$folder/f32" --dtype float32
for type in F32 Q8_0; do
    [ -f "$folder/$type.gguf" ] || "$ours" convert "$folder/f32" "$folder/$type.gguf" --quantize $type
done

load() { # NAME PROGRAM URL MODEL COMMAND, and options
    name=$1 program=$2 url=$3 served=$4 command=$5
    shift 5
    printf '\n%s\n' "$name"
    [ -x "$program" ] || { echo "left out: there is no $program"; return; }
    cargo xtask load "$url" "$served" --start "$command" "$@"
}

for type in F32 Q8_0; do
    load "ours, $type" "$ours" http://127.0.0.1:8301 m \
        "'$ours' serve '$folder/$type.gguf' --served-model-name m --port 8301" "$@"
    load "llama-server, $type" "$llama" http://127.0.0.1:8302 m \
        "'$llama' -m '$folder/$type.gguf' -a m -np 32 -c 32768 --host 127.0.0.1 --port 8302 --log-disable" "$@"
done
export HF_HUB_OFFLINE=1
load "Python, F32" "$python" http://127.0.0.1:8303 "$folder/f32" \
    "'$python' -c 'from transformers.cli.transformers import main; main()' serve '$folder/f32' --continuous-batching \
    --dtype float32 --device cpu --host 127.0.0.1 --port 8303" "$@"
