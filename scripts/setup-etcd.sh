#!/usr/bin/env bash
# Puts etcd, which tests use, in .etcd, unpacked from Debian's package: installed, it would run as a
# service of this machine. Where that fails its tests are skipped.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

command -v etcd >/dev/null && command -v etcdctl >/dev/null && exit 0
[ -x .etcd/usr/bin/etcd ] && [ -x .etcd/usr/bin/etcdctl ] && exit 0
scratch_directory
unpack_debian .etcd etcd etcd-server etcd-client
