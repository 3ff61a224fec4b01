#!/usr/bin/env bash
# Runs the README's two commands and the Dockerfile's steps on a minimal Debian.
#
# usage: tools/check/minimal_root.sh bookworm|trixie [run|test|docker ...]   (as root, on Debian or Ubuntu)
#        tools/check/minimal_root.sh sid library
#
# Makes a debootstrap minbase root under FLUORO_ROOTS (default: /var/tmp/fluoro-roots). Then, inside it:
#   run     as root, README's `apt install` line word for word; as a user, `make run` in a fresh clone
#   test    `make test` in that clone, without PyTorch
#   docker  in a second root: the Dockerfile's RUN steps, and its CMD until the console answers
#   library the library alone, without the application's packages, on the Python of Debian sid (3.14)
# Without a list the first three run. The log is printed and kept as NAME.log beside the root.
set -euo pipefail
cd "$(dirname "$0")/../.."
suite=${1:?usage: tools/check/minimal_root.sh bookworm|trixie [run|test|docker ...]}
shift
parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=(run test docker)
roots=${FLUORO_ROOTS:-/var/tmp/fluoro-roots}
project=$PWD
revision=$(git rev-parse --short HEAD)

fail() { echo "minimal_root.sh: $1" >&2; exit 2; }

case "$suite" in bookworm | trixie | sid) ;; *) fail "the suite must be bookworm, trixie or sid, got $suite" ;; esac
for part in "${parts[@]}"; do
    case "$part" in run | test | docker | library) ;; *) fail "a part must be run, test, docker or library, got $part" ;; esac
done
[ "$(id -u)" -eq 0 ] || fail "needs root, to make and enter a root file system: run it with sudo"
command -v debootstrap >/dev/null || fail "needs debootstrap: apt install debootstrap"

mirror() {
    apt-get indextargets --format '$(REPO_URI)' 'Component: main' 2>/dev/null |
        grep -E '/debian/?$' | sort -u | head -n 1
}

# An own root with this machine's way to package indexes: apt's and pip's settings and its certificates.
make_root() {
    local root=$1 from
    rm -rf "$root"
    mkdir -p "$root"
    from=$(mirror)
    debootstrap --variant=minbase --include=ca-certificates "$suite" "$root" ${from:+"$from"} >"$root.debootstrap.log" 2>&1 ||
        fail "debootstrap failed, see $root.debootstrap.log: it needs a Debian mirror that it can reach"
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    cp -r /etc/apt/apt.conf.d/. "$root/etc/apt/apt.conf.d/"
    [ ! -f /etc/pip.conf ] || cp /etc/pip.conf "$root/etc/pip.conf"
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
    clone_into "$root/home/user/fluoro"
    chroot "$root" useradd --create-home --shell /bin/bash user 2>/dev/null || true
    chroot "$root" chown -R user:user /home/user
}

# A clone of what is committed here. CI's root has no git, so the clone is made outside.
clone_into() {
    mkdir -p "$(dirname "$1")"
    git clone --quiet "file://$project" "$1"
    git -C "$1" checkout --quiet --detach "$revision"
}

enter() {
    local root=$1
    shift
    # shellcheck disable=SC2086 # NAMESPACES is empty or an option
    unshare --mount ${NAMESPACES:-} --fork bash -c '
        set -e
        root=$1; shift
        mount -t proc proc "$root/proc"
        mount --bind /sys "$root/sys"
        mount -t tmpfs tmpfs "$root/dev/shm"
        mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts "$root/dev/pts"
        ln -sf pts/ptmx "$root/dev/ptmx" 2>/dev/null || true
        exec chroot "$root" env -i HOME="${HOME_INSIDE:-/root}" TERM=dumb LANG=C.UTF-8 \
            PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
    ' enter "$root" "$@"
}

as_user() {
    local root=$1
    shift
    HOME_INSIDE=/home/user enter "$root" setpriv --reuid user --regid user --init-groups \
        bash -c "cd /home/user/fluoro && $*"
}

# The line of the README that a user of Debian types first.
prerequisites() { sed -n 's/^    sudo \(apt install .*\)$/\1/p' README.md | head -n 1; }

step() { echo; echo "== $suite, $(date -u '+%Y-%m-%d %H:%M UTC'), $revision: $*"; }

# What a user gets who has no network: exactly one line that names the fix.
without_network() {
    local line
    line=$(NAMESPACES=--net as_user "$1" "make env" 2>&1 | grep '^missing: ' || true)
    echo "$line"
    [[ $line == "missing: packages that pip could not install"* && $line != *$'\n'* ]] ||
        fail "without a network: expected one line about packages, got: $line"
}

user_commands() {
    local root=$roots/$suite install part
    install=$(prerequisites)
    [ -n "$install" ] || fail "README.md has no line '    sudo apt install ...'"
    step "a minbase root"
    make_root "$root"
    step "before the prerequisites: what is missing, without sudo; the same on an unknown distribution"
    as_user "$root" "make run || tools/env/bootstrap.sh .venv requirements.txt" 2>&1 | tail -n 5 || true
    as_user "$root" "OS_RELEASE=/dev/null tools/env/bootstrap.sh .venv requirements.txt" 2>&1 | tail -n 5 || true
    step "$install"
    enter "$root" bash -c "apt-get update -qq && ${install/apt install/DEBIAN_FRONTEND=noninteractive apt-get install -y -qq}" >"$root.apt.log" 2>&1 ||
        fail "apt failed, see $root.apt.log: it needs a mirror that it can reach"
    step "the same user without a network: one line with the fix"
    without_network "$root"
    for part in "${parts[@]}"; do
        [ "$part" != docker ] || continue
        step "make $part"
        SECONDS=0
        as_user "$root" "make $part" 2>&1 | tail -n 25
        echo "make $part: done in $SECONDS s"
    done
}

docker_steps() {
    local root=$roots/$suite-docker address="" answer=""
    step "the Dockerfile's steps"
    make_root "$root"
    { echo 'echo $$ >/steps.pid'; python3 tools/check/dockerfile_steps.py Dockerfile /home/user/fluoro; } >"$root/steps.sh"
    enter "$root" bash /steps.sh >"$root.docker.log" 2>&1 &
    local job=$!
    for _ in $(seq 1800); do
        address=$(sed -n 's/.*console at *\(http[^ ]*\).*/\1/p' "$root.docker.log" | head -n 1)
        [ -z "$address" ] && kill -0 "$job" 2>/dev/null || break
        sleep 1
    done
    [ -n "$address" ] || fail "the container's command printed no address, see $root.docker.log"
    answer=$(curl --silent --location --cookie-jar /dev/null --output /dev/null --write-out '%{http_code}' "$address" || true)
    sleep 5
    kill "$(cat "$root/steps.pid")" || true # as `docker stop` does; the command has replaced the script
    wait "$job" || true
    tail -n 12 "$root.docker.log"
    echo "$address answered: $answer"
    [ "$answer" = 200 ] || fail "the console did not answer, see $root.docker.log"
}

library() {
    local root=$roots/$suite
    step "a minbase root"
    make_root "$root"
    enter "$root" bash -c "apt-get update -qq && apt-get install -y -qq python3-venv g++ libx11-6" >"$root.apt.log" 2>&1 ||
        fail "apt failed, see $root.apt.log: it needs a mirror that it can reach"
    step "the library alone: $(chroot "$root" python3 --version)"
    as_user "$root" "python3 -m venv /home/user/venv && /home/user/venv/bin/python -m pip install --quiet . pytest pytest-timeout hypothesis mpmath pillow"
    as_user "$root" "/home/user/venv/bin/python -m pytest -q tests/geometry/test_geometry.py tests/rendering/test_projectors.py tests/imaging/test_image_chain.py" 2>&1 | tail -n 15
}

main() {
    if [ "${parts[*]}" = library ]; then
        library
        step "passed: library"
        return
    fi
    [[ " ${parts[*]} " == *" run "* || " ${parts[*]} " == *" test "* ]] && user_commands
    [[ " ${parts[*]} " == *" docker "* ]] && docker_steps
    step "passed: ${parts[*]}"
}

mkdir -p "$roots"
main 2>&1 | tee "$roots/$suite.log"
