#!/bin/sh
# Compiles a kernel's CUDA source for the host: compile.sh KEY ENTRY. The sources lie one folder up.
# As NVRTC does it, products and sums are contracted unless --fmad=false is among the options, and
# --use_fast_math has quotients of more than half a unit in the last place off. Nothing is reordered.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
key=$1 entry=$2 name="$1-$2.$$"
cd "$here"
flags="-std=c++17 -O2 -fPIC -fpermissive -w -fno-math-errno -fno-trapping-math"
if grep -q -- '-fmad=false' "../$key.options" || ! grep -qw fma /proc/cpuinfo; then
    flags="$flags -ffp-contract=off"
else
    flags="$flags -mfma -ffp-contract=fast"
fi
if grep -q -- '-use_fast_math' "../$key.options"; then
    flags="$flags -freciprocal-math"
fi
defines=$(grep '^-D' "../$key.options" | tr '\n' ' ' || true)
{
    cat "../$key.cu"
    echo "#define STAND_IN_ENTRY $entry"
    cat run.h
} >"$name.cpp"
# shellcheck disable=SC2086 # several words on purpose
g++ $flags -shared $defines -include cuda_on_host.h "$name.cpp" -o "$name.so" 2>"$key-$entry.log"
mv "$name.so" "$key-$entry.so"
rm -f "$name.cpp"
