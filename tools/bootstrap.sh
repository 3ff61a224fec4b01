#!/bin/sh
# Makes or updates a virtual environment from pinned requirements. What is missing on this machine
# is named, one line each with its fix, before anything is downloaded.
#
# usage: tools/bootstrap.sh VENV REQUIREMENTS...        (from the root of the project)
#
# PYTHON=... overrides the interpreter. Nothing is done while the requirements stay as they are:
# a stamp in VENV keeps their hash.
set -eu

constraints=requirements/constraints.txt
disk_needed_mb=3000 # wheels in pip's cache and the environment itself, 1.7 GB with the tools
venv=$1
shift

main() {
    if is_current "$@"; then exit 0; fi
    find_python
    usable_venv || check_machine
    make_venv
    install_packages "$@"
}

is_current() {
    usable_venv && [ "$(cat "$(stamp "$@")" 2>/dev/null)" = "$(fingerprint)" ]
}

stamp() {
    echo "$venv/.installed-$(echo "$*" | tr '/ ' '-+')"
}

fingerprint() {
    cat requirements.txt requirements/*.txt | sha256sum | cut -d' ' -f1
}

# The environment's own Python runs, is one we support and, where PYTHON is given, is that one.
usable_venv() {
    supported "$venv/bin/python" && "$venv/bin/python" -c 'import pip' 2>/dev/null || return 1
    [ -z "${PYTHON:-}" ] || [ "$(version "$venv/bin/python")" = "$(version "$PYTHON")" ]
}

supported() {
    "$1" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null
}

version() {
    "$1" -c 'import platform; print(platform.python_version())' 2>/dev/null
}

find_python() {
    python=
    for candidate in ${PYTHON:-python3.12 python3.11 python3}; do
        if supported "$candidate"; then
            python=$candidate
            return
        fi
    done
}

check_machine() {
    missing=0
    check_platform
    check_python
    check_compiler
    check_disk
    [ "$missing" -eq 0 ] || exit 1
}

lacks() {
    echo "missing: $1" >&2
    missing=1
}

check_platform() {
    case "$(uname -s)-$(uname -m)" in
    Linux-x86_64 | Linux-aarch64) ;;
    *) lacks "Linux on x86_64 or aarch64, which Holoscan needs (this is $(uname -s) on $(uname -m)): use such a machine or the Dockerfile" ;;
    esac
}

check_python() {
    if [ -z "$python" ]; then
        lacks "Python 3.11 or 3.12 (looked for ${PYTHON:-python3.12, python3.11, python3}): apt install python3 python3-venv, or name one with make PYTHON=/path/to/python3.12"
    elif ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
        lacks "the venv module of $python: apt install python3-venv"
    fi
}

check_compiler() {
    for compiler in g++ clang++; do
        if echo '#include <cmath>' | "$compiler" -x c++ -fsyntax-only - 2>/dev/null; then return; fi
    done
    lacks "a C++ compiler (g++ or clang++), which builds the CPU kernels: apt install g++"
}

check_disk() {
    free_mb=$(df -Pm . | awk 'NR == 2 { print $4 }')
    [ "$free_mb" -ge "$disk_needed_mb" ] ||
        lacks "disk space: $disk_needed_mb MB needed in $PWD, $free_mb MB free: make room or move the checkout"
}

make_venv() {
    if usable_venv; then return; fi
    echo "Making $venv with Python $(version "$python") (about 1 GB to download, once) ..."
    rm -rf "$venv"
    "$python" -m venv "$venv"
}

install_packages() {
    echo "Installing $* ..."
    quiet=--quiet
    if [ -t 1 ]; then quiet=; fi
    drop_old_stamps
    requirements=
    for file in "$@"; do requirements="$requirements --requirement $file"; done
    # shellcheck disable=SC2086 # several words on purpose
    if ! { pip_install pip && pip_install $requirements; }; then
        echo "pip failed (see above): it needs a package index that it can reach; then run this again" >&2
        exit 1
    fi
    fingerprint >"$(stamp "$@")"
}

drop_old_stamps() {
    for old in "$venv"/.installed-*; do
        [ "$(cat "$old" 2>/dev/null)" = "$(fingerprint)" ] || rm -f "$old"
    done
}

pip_install() {
    "$venv/bin/python" -m pip install $quiet --no-input --disable-pip-version-check --constraint "$constraints" "$@"
}

main "$@"
