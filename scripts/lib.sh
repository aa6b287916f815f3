# shellcheck shell=bash
# Functions shared by the set-up scripts; sourced, never run.

say() {
    printf 'hamanager: %s\n' "$*"
}

# Every failure ends here, with one sentence.
die() {
    printf 'hamanager: %s\n' "$*" >&2
    exit 1
}

is_root() {
    [ "$(id -u)" = 0 ]
}

# A command in the background, because bash runs a trap only between commands in the foreground
# and an interrupted script must stop its command and clean up at once.
child=
stop_child() {
    [ -n "$child" ] || return 0
    kill "$child" 2>/dev/null || true
    wait "$child" 2>/dev/null || true
    child=
}

# quietly SECONDS LOG COMMAND...: runs a command within a time limit, its output in LOG.
quietly() {
    local limit=$1 log=$2 status=0
    shift 2
    timeout --kill-after=10 "$limit" "$@" >"$log" 2>&1 </dev/null &
    child=$!
    wait "$child" || status=$?
    child=
    return "$status"
}

# step SECONDS LOG SENTENCE COMMAND...: like quietly, but when the command fails this shows the
# end of its output and gives up with SENTENCE.
step() {
    local limit=$1 log=$2 sentence=$3 status=0
    shift 3
    quietly "$limit" "$log" "$@" || status=$?
    [ "$status" -ne 0 ] || return 0
    tail -n 15 "$log" | sed 's/^/    /' >&2
    if [ "$status" -eq 124 ]; then
        die "$sentence: gave up after $limit seconds, with the output above."
    fi
    die "$sentence: failed with the output above."
}

# A directory for logs and the like that goes away with the script, however that ends.
scratch_directory() {
    scratch=$(mktemp -d)
    trap cleanup EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
}

discard() { :; } # a script with more to clean up defines its own

cleanup() {
    local status=$?
    trap '' INT TERM HUP
    trap - EXIT
    stop_child
    discard
    # Should a killed build have left /proc mounted below, this leaves it alone.
    rm -rf --one-file-system "$scratch"
    exit "$status"
}

# Prints a Python 3.11 or newer; fails when there is none.
find_python() {
    local name
    for name in python3.11 python3; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return 0
        fi
    done
    return 1
}

# apt_install PURPOSE PACKAGE...: installs Debian packages; needs scratch_directory.
apt_install() {
    local purpose=$1 attempt log=$scratch/apt.log
    shift
    is_root || die "$purpose is missing and only root can install it: run 'apt-get install $*' as root."
    command -v apt-get >/dev/null ||
        die "$purpose is missing and this system has no apt-get: install it and run make again."
    local options=(
        -o DPkg::Lock::Timeout=120
        -o Acquire::Retries=2
        -o Acquire::http::Timeout=20
        -o Acquire::https::Timeout=20
        -o Dpkg::Options::=--force-confdef
        -o Dpkg::Options::=--force-confold
    )
    export DEBIAN_FRONTEND=noninteractive
    say "installing $purpose with apt-get"
    for attempt in 1 2 3; do
        if [ "$attempt" -gt 1 ]; then
            # The first attempt fails where package lists are missing or old, or an earlier
            # installation was cut off. An update fails as a whole when any one list can't be had,
            # so what counts is the installation after it.
            sleep $((attempt * 2 - 4))
            quietly 300 "$scratch/dpkg.log" dpkg --configure --pending || true
            quietly 300 "$scratch/update.log" apt-get update "${options[@]}" || true
        fi
        if quietly 900 "$log" apt-get install --yes --no-install-recommends "${options[@]}" "$@"; then
            return 0
        fi
    done
    { grep -hE '^(Err|E):|dpkg: error' "$scratch/update.log" "$log" || cat "$log"; } |
        tail -n 15 | sed 's/^/    /' >&2
    die "could not install $purpose: apt-get failed as above, as it does when Debian's package mirror is out of reach."
}

# unpack_debian DIRECTORY PURPOSE PACKAGE...: unpacks Debian packages there without installing them;
# where they cannot be had it says so, and succeeds. Needs scratch_directory.
unpack_debian() {
    local directory=$1 purpose=$2 log=$scratch/unpack.log package
    shift 2
    if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
        say "$purpose is missing and this system has no apt-get: its tests are skipped"
        return
    fi
    say "unpacking $purpose from Debian's packages"
    if ! fetch_debian "$log" "$@"; then
        ! is_root || quietly 300 "$scratch/update.log" apt-get update -o DPkg::Lock::Timeout=120 || true
        if ! fetch_debian "$log" "$@"; then
            tail -n 5 "$log" | sed 's/^/    /' >&2
            say "$purpose cannot be had from Debian's mirror, as said above: its tests are skipped"
            return
        fi
    fi
    for package in "$scratch"/*.deb; do
        dpkg --extract "$package" "$scratch/unpacked"
    done
    rm -rf "$directory"
    mv "$scratch/unpacked" "$directory"
}

fetch_debian() {
    local log=$1
    shift
    (cd "$scratch" && quietly 300 "$log" apt-get download -o Acquire::Retries=2 \
        -o Acquire::http::Timeout=20 "$@")
}
