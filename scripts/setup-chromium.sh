#!/usr/bin/env bash
# Installs Chromium, in which the tests look at the page, where it is missing. Only root can; without
# it they are skipped.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

command -v chromium >/dev/null && exit 0
if ! is_root; then
    say "chromium is missing and only root can install it: its tests are skipped"
    exit 0
fi
scratch_directory
apt_install chromium chromium
