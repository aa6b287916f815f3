#!/usr/bin/env bash
# Puts promtool, which checks metrics and alert rules, in .prometheus, unpacked from Debian's package:
# installed, Prometheus would run as a service of this machine. Where that fails its tests are skipped.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

command -v promtool >/dev/null && exit 0
[ -x .prometheus/usr/bin/promtool ] && exit 0
scratch_directory
unpack_debian .prometheus promtool prometheus
