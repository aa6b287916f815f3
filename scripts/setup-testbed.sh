#!/usr/bin/env bash
# Installs what a test bed of several hosts on one machine is made of (see tests/testbed), where it is
# missing. Only root can, and only root can make a test bed: without it those tests are skipped.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

PATH=$PATH:/usr/sbin:/sbin
packages=()
need() { # PACKAGE COMMAND...
    local package=$1 name
    shift
    for name in "$@"; do
        command -v "$name" >/dev/null || { packages+=("$package"); return 0; }
    done
}
need iproute2 ip
need iptables iptables
need util-linux nsenter unshare
need e2fsprogs mkfs.ext4
[ "${#packages[@]}" -gt 0 ] || exit 0
if ! is_root; then
    say "${packages[*]} missing and only root can install it: tests on several hosts are skipped"
    exit 0
fi
scratch_directory
apt_install "the tools of the test bed" "${packages[@]}"
