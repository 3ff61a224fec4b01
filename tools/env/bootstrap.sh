#!/bin/sh
# Makes or updates a virtual environment from pinned requirements. Before anything is downloaded, it
# names what this machine lacks: one line each, with the command that installs it on this distribution.
#
# usage: tools/env/bootstrap.sh VENV REQUIREMENTS...        (from the root of the project)
#
# PYTHON=... overrides the interpreter. The script does nothing while the requirements are unchanged:
# a stamp in VENV keeps their hash. OS_RELEASE=... names another file than /etc/os-release.
set -eu

constraints=requirements/constraints.txt
disk_needed_mb=3000 # wheels in pip's cache and the environment itself, 1.7 GB with the tools
venv=$1
shift

main() {
    if is_current "$@"; then exit 0; fi
    find_python
    check_machine
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

# The environment's own Python runs, has a supported version and, where PYTHON is given, that one's.
usable_venv() {
    supported "$venv/bin/python" && "$venv/bin/python" -c 'import pip' 2>/dev/null || return 1
    [ -z "${PYTHON:-}" ] || [ "$(version "$venv/bin/python")" = "$(version "$PYTHON")" ]
}

supported() {
    "$1" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12), (3, 13)))' 2>/dev/null
}

version() {
    "$1" -c 'import platform; print(platform.python_version())' 2>/dev/null
}

find_python() {
    python=
    if usable_venv; then
        python=$venv/bin/python
        return
    fi
    for candidate in ${PYTHON:-python3.12 python3.11 python3.13 python3}; do
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
    check_libraries
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
        lacks "Python 3.11, 3.12 or 3.13 (looked for ${PYTHON:-python3.12, python3.11, python3.13, python3}): $(fix python), or name one with make PYTHON=/path/to/python3.12"
    elif ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
        lacks "the venv module of $python: $(fix venv)"
    fi
}

check_compiler() {
    for compiler in g++ clang++; do
        if ! compiles "$compiler" '#include <cmath>'; then continue; fi
        if compiles "$compiler" 'static _Float16 half;' || [ "$(uname -m)" != aarch64 ]; then return; fi
        lacks "a newer C++ compiler: on ARM, Slang's kernels need the type _Float16 in C++, which this $compiler lacks: g++ 13 or newer has it (Debian 13, Ubuntu 24.04)"
        return
    done
    lacks "a C++ compiler (g++ or clang++), which builds the CPU kernels: $(fix compiler)"
}

compiles() {
    echo "$2" | "$1" -x c++ -fsyntax-only - 2>/dev/null
}

# Libraries that slangpy loads and that its wheel does not bring.
check_libraries() {
    [ -n "$python" ] || return 0
    for library in libX11.so.6 libatomic.so.1; do
        "$python" -c "import ctypes; ctypes.CDLL('$library')" 2>/dev/null ||
            lacks "the library $library, which slangpy loads: $(fix "$library")"
    done
}

check_disk() {
    free_mb=$(df -Pm . | awk 'NR == 2 { print $4 }')
    [ "$free_mb" -ge "$disk_needed_mb" ] ||
        lacks "disk space: $disk_needed_mb MB needed in $PWD, $free_mb MB free: make room or move the checkout"
}

# The command that installs something on this distribution.
fix() {
    family=$(distribution)
    case "$family-$1" in
    debian-python) packages="python3 python3-venv" ;;
    debian-venv) packages=python3-venv ;;
    debian-compiler) packages=g++ ;;
    debian-libX11.so.6) packages=libx11-6 ;;
    debian-libatomic.so.1) packages=libatomic1 ;;
    *-python | *-venv) packages=python3 ;;
    arch-compiler | arch-libatomic.so.1) packages=gcc ;;
    *-compiler) packages=gcc-c++ ;;
    suse-libX11.so.6) packages=libX11-6 ;;
    arch-libX11.so.6) packages=libx11 ;;
    suse-libatomic.so.1) packages=libatomic1 ;;
    *-libatomic.so.1) packages=libatomic ;;
    *) packages=libX11 ;;
    esac
    case "$family" in
    debian) as_root "apt install $packages" ;;
    fedora) as_root "dnf install $packages" ;;
    suse) as_root "zypper install $packages" ;;
    arch) as_root "pacman -S $packages" ;;
    *) echo "install it with this system's package manager (Fedora calls it $packages)" ;;
    esac
}

distribution() {
    # shellcheck source=/dev/null
    names=" $(. "${OS_RELEASE:-/etc/os-release}" 2>/dev/null && echo "${ID:-} ${ID_LIKE:-}") "
    case "$names" in
    *" debian "* | *" ubuntu "*) echo debian ;;
    *" fedora "* | *" rhel "*) echo fedora ;;
    *suse*) echo suse ;;
    *" arch "*) echo arch ;;
    *) echo unknown ;;
    esac
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        echo "$1"
    elif command -v sudo >/dev/null 2>&1; then
        echo "sudo $1"
    else
        echo "as root: $1"
    fi
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
    log=$venv/pip.log
    # shellcheck disable=SC2086 # several words on purpose
    if ! { pip_install pip && pip_install $requirements; } 2>"$log"; then
        reason=$(awk '/Retry\(total=0,/ { cut = "no connection to the package index" }
            /^ERROR/ { line = $0 } END { print cut ? cut : line }' "$log")
        echo "missing: packages that pip could not install (${reason:-no reason given}; log: $log): pip needs a package index that it can reach; then run this again" >&2
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
