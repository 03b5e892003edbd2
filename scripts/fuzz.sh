#!/bin/sh
# ALLOCLAB=.. fuzz.sh FUZZER FOLDER MINUTES FORM .. - runs clang's libFuzzer for so long on each form. A form's corpus is a folder
# FOLDER/FORM, which grows from run to run; its seeds are the fixtures of the form. What breaks is left beside it.
set -eu

fuzzer=$1 folder=$2 seconds=$(($3 * 60))
shift 3

seeds() { # form: its files
    case $1 in
    trace)
        for text in tests/fixtures/*.expected; do
            "$ALLOCLAB" trace convert --from text "$text" -o "$folder/$(basename "$text" .expected).trace" >&2
        done
        ls "$folder"/*.trace
        ;;
    capture) ;; # the fuzzer makes them
    rep) ls tests/fixtures/*.rep ;;
    text) ls tests/fixtures/*.expected ;;
    *) ls tests/fixtures/"$1"*.txt tests/fixtures/"$1"*.bin 2>/dev/null || true ;;
    esac
}

for form in "$@"; do
    mkdir -p "$folder/$form"
    for seed in $(seeds "$form"); do
        cp "$seed" "$folder/$form/"
    done
    echo "fuzz: $form, $seconds s"
    ALLOCLAB_FUZZ_FORM=$form ALLOCLAB_FUZZ_SEEDS=$folder/$form "$fuzzer" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -max_len=16384 \
        -verbosity=0 -print_final_stats=1 -artifact_prefix="$folder/$form-" "$folder/$form"
done
