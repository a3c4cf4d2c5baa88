#!/bin/sh
# Fuzzing of the C++ helpers, outside of CI; each takes minutes. From the root:
#   sh tests/fuzz/fuzz.sh fuzz [SECONDS [TARGET ...]]   libFuzzer (atheris) against the plain Python versions
#   sh tests/fuzz/fuzz.sh asan [SECONDS [TARGET ...]]   AddressSanitizer and UndefinedBehaviorSanitizer (g++): the
#                                                       helpers' tests, then random inputs to each target
# SECONDS is for each target of fuzz.py (default 60). An input that breaks something is kept in
# build/fuzz/TARGET: crash-... of libFuzzer, `last` of asan. It runs again with
#   PYTHONPATH=tests/fuzz:tests .venv/bin/python tests/fuzz/fuzz.py TARGET FILE
set -eu
what=${1:-fuzz}
seconds=${2:-60}
[ $# -lt 2 ] || shift
[ $# -eq 0 ] || shift
python=${PYTHON:-.venv/bin/python}
targets=${*:-$($python tests/fuzz/fuzz.py)}
export OMP_NUM_THREADS=1 PYTHONPATH=tests/fuzz:tests

if [ "$what" = fuzz ]; then
    $python -c "import atheris" 2>/dev/null || $python -m pip install --quiet "atheris>=2.3"
    for name in $targets; do
        folder=build/fuzz/$name
        mkdir -p "$folder/inputs"
        $python tests/fuzz/fuzz.py "$name" -max_total_time="$seconds" -artifact_prefix="$folder/" -max_len=4096 \
            -print_final_stats=1 "$folder/inputs" >"$folder/log" 2>&1 || { tail -n 60 "$folder/log"; exit 1; }
        echo "$name: $(grep -E '^Done|cov: ' "$folder/log" | tail -n 2 | tr '\n' ' ')"
    done
    exit
fi

built=build/sanitized
target=$built/_helpers$($python -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
mkdir -p "$built"
if [ ! -e "$target" ] || [ -n "$(find helpers_cpp -newer "$target")" ]; then
    echo "building $target ..."
    # shellcheck disable=SC2046
    g++ -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -std=c++17 \
        -shared -fPIC $($python -m pybind11 --includes) helpers_cpp/*.cpp -o "$target"
fi
# Python itself is built without the sanitizers, so their libraries are loaded before it.
export LD_PRELOAD="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libubsan.so)"
# Paddle itself deletes at exit what it made with new[]: that check is off, it would tell of Paddle only.
export ASAN_OPTIONS=detect_leaks=0:alloc_dealloc_mismatch=0 UBSAN_OPTIONS=print_stacktrace=1
$python -m pytest -q -p sanitized tests/test_encode.py tests/test_segmentation.py tests/test_tokenizer.py \
    tests/test_sampler_cpp.py tests/test_samples.py tests/test_masking.py tests/test_collate.py
for name in $targets; do
    $python tests/fuzz/fuzz.py --random "$seconds" "$name"
done
