#!/usr/bin/env bash
# Installs docker-compose, with which a test follows docs/containers.md, where it is missing. Only root
# can; without it that test is skipped.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

command -v docker-compose >/dev/null && exit 0
if ! is_root; then
    say "docker-compose is missing and only root can install it: its tests are skipped"
    exit 0
fi
scratch_directory
apt_install docker-compose docker-compose
