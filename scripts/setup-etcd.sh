#!/usr/bin/env bash
# Puts etcd, which tests use, in .etcd, unpacked from Debian's package: installed, it would run as a
# service of this machine. Where that fails its tests are skipped.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

command -v etcd >/dev/null && command -v etcdctl >/dev/null && exit 0
[ -x .etcd/usr/bin/etcd ] && [ -x .etcd/usr/bin/etcdctl ] && exit 0
if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
    say "etcd is missing and this system has no apt-get: its tests are skipped"
    exit 0
fi
scratch_directory
log=$scratch/apt.log
say "unpacking etcd from Debian's packages"
fetch_etcd() {
    (cd "$scratch" && quietly 300 "$log" apt-get download -o Acquire::Retries=2 \
        -o Acquire::http::Timeout=20 etcd-server etcd-client)
}
if ! fetch_etcd; then
    ! is_root || quietly 300 "$scratch/update.log" apt-get update -o DPkg::Lock::Timeout=120 || true
    if ! fetch_etcd; then
        tail -n 5 "$log" | sed 's/^/    /' >&2
        say "etcd cannot be had from Debian's mirror, as said above: its tests are skipped"
        exit 0
    fi
fi
for package in "$scratch"/etcd-*.deb; do
    dpkg --extract "$package" "$scratch/etcd"
done
rm -rf .etcd
mv "$scratch/etcd" .etcd
