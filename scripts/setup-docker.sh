#!/usr/bin/env bash
# Makes a Docker engine answer: installs Debian's where there is none and starts it where it is
# not running. Only root can do either; anyone whose engine already answers needs neither.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

log=/var/log/hamanager-dockerd.log
patience=60 # seconds for the engine to answer

state() {
    .venv/bin/python scripts/docker_state.py
}

# alive PIDFILE NAME: whether the process that wrote the file runs. A killed daemon leaves its
# file behind, and after a reboot the number in it may belong to some other program.
alive() {
    local pid
    pid=$(cat "$1" 2>/dev/null) && [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$2" ]
}

# running NAME: whether any process has that name; a fresh machine need not have pgrep.
running() {
    grep -qsx "$1" /proc/[0-9]*/comm
}

install_engine() {
    local packages=(docker.io iptables ca-certificates)
    # dockerd confines containers with AppArmor where the kernel has it, and fails without its parser.
    if [ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" = Y ]; then
        packages+=(apparmor)
    fi
    apt_install "Docker" "${packages[@]}"
    # Later Debian releases have the client in a package of its own.
    command -v docker >/dev/null || apt_install "Docker's client" docker-cli
}

# dockerd trusts what a killed one left in these places, and then waits for it in vain.
remove_leftovers() {
    alive /var/run/docker.pid dockerd || rm -f /var/run/docker.pid
    local directory=/var/run/docker/containerd
    alive $directory/containerd.pid containerd ||
        rm -f $directory/containerd.pid $directory/*.sock $directory/*.sock.ttrpc
    # This one belongs to a containerd that the system runs on its own.
    running containerd || rm -f /run/containerd/containerd.sock
}

# Without a service manager: detached from this terminal and from every file that make or CI
# opened, so that nobody waits for the daemon to close them.
start_detached() {
    if ! mountpoint -q /sys/fs/cgroup; then
        mount -t cgroup2 cgroup2 /sys/fs/cgroup || say "could not mount /sys/fs/cgroup"
    fi
    (
        cd /
        for descriptor in /proc/self/fd/*; do
            descriptor=${descriptor##*/}
            [ "$descriptor" -le 2 ] || [ "$descriptor" = 255 ] || eval "exec $descriptor>&-"
        done
        # Databases open many files; Debian's service sets this limit too.
        ulimit -n 1048576 2>/dev/null || ulimit -n "$(ulimit -Hn)"
        exec setsid --fork dockerd >>"$log" 2>&1 </dev/null
    )
}

start_engine() {
    local started=$SECONDS first
    if [ -d /run/systemd/system ]; then
        say "starting Docker"
        timeout "$patience" systemctl start docker || {
            journalctl --unit docker --no-pager --lines 15 2>/dev/null | sed 's/^/    /' >&2
            die "Docker did not start: 'systemctl start docker' failed, with the end of its journal above."
        }
    elif ! alive /var/run/docker.pid dockerd; then
        say "starting Docker, with its log in $log"
        remove_leftovers
        touch "$log"
        first=$(($(wc -l <"$log") + 1))
        start_detached
    fi
    until [ "$(state)" = answers ]; do
        local waited=$((SECONDS - started)) sentence=
        if [ "$waited" -ge 5 ] && ! running dockerd; then
            sentence="Docker ended right after its start"
        elif [ "$waited" -ge "$patience" ]; then
            sentence="Docker did not answer within $patience seconds of its start"
        fi
        if [ -n "$sentence" ]; then
            [ -z "${first-}" ] || tail -n "+$first" "$log" | tail -n 15 | sed 's/^/    /' >&2
            die "$sentence; its log is $log."
        fi
        sleep 0.5
    done
}

state=$(state)
[ "$state" != answers ] || exit 0

if [ -n "${DOCKER_HOST-}" ]; then
    die "no Docker engine answers this user at DOCKER_HOST=$DOCKER_HOST: start it, or unset the variable to use this machine's own."
fi
if ! is_root; then
    case "$state" in
        denied) die "this user may not use Docker's socket /var/run/docker.sock: join the group docker, or run make as root." ;;
        silent) die "Docker is not running and only root can start it: start it, or run make as root." ;;
    esac
    if command -v dockerd >/dev/null || [ -x /usr/sbin/dockerd ]; then
        die "Docker is not running and only root can start it: start it, or run make as root."
    fi
    die "Docker is missing and only root can install it: install it (on Debian 'apt-get install docker.io'), or run make as root."
fi

scratch_directory
PATH=$PATH:/usr/sbin:/sbin
command -v dockerd >/dev/null || install_engine
start_engine
