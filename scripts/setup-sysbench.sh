#!/usr/bin/env bash
# Installs sysbench, which one test and `make sysbench` use, where it is missing. Only root can;
# without it that test is skipped.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

command -v sysbench >/dev/null && exit 0
if ! is_root; then
    say "sysbench is missing and only root can install it: its test is skipped"
    exit 0
fi
scratch_directory
apt_install sysbench sysbench
