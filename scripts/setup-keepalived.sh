#!/usr/bin/env bash
# Installs keepalived, with which two tests try the configuration in compose/keepalived, where it is
# missing. Only root can; without it they are skipped. It is not started.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

PATH=$PATH:/usr/sbin:/sbin
command -v keepalived >/dev/null && exit 0
if ! is_root; then
    say "keepalived is missing and only root can install it: its tests are skipped"
    exit 0
fi
scratch_directory
apt_install keepalived keepalived
