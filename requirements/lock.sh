#!/usr/bin/env bash
# Resolve pyproject.toml's extras into hash-pinned files that name no package index.
# usage: lock.sh UV [WHEEL_FOLDER]
set -euo pipefail
uv=$1
here=$(dirname "$0")
source=(--torch-backend=cpu)
[ -z "${2:-}" ] || source=(--find-links "$2")

compile() { # compile FILE ARGUMENTS...
    local file=$here/$1
    shift
    "$uv" pip compile "$here/../pyproject.toml" --quiet --generate-hashes --no-header \
        --no-emit-index-url --no-emit-find-links --no-annotate --upgrade \
        --python-version 3.11 -o "$file" "$@"
    # One CPU build of torch is at hand while locking; users on other Pythons get another file.
    sed -i '/^torch==/{s/ \\$//;n;:hash;/^    --hash/{$!{N;s/.*\n//;b hash};d}}' "$file"
}

compile gateway.txt --extra gateway --override "$here/gateway-overrides.txt"
compile engine-cuda.txt --extra engine-cuda
compile all-cpu.txt --extra gateway --extra engine-cpu --extra local --extra evals --extra dev \
    --override "$here/overrides.txt" "${source[@]}"
