"""How a host of the test bed begins."""

INIT = """
import signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody else reaps orphans
print("up", flush=True)
sys.stdin.read()  # ends when whoever made the host does
"""
BOOT = """
set -e
hostname "$2"
mount -t tmpfs tmpfs /run
mount -o loop,noatime "$3" "$4"
[ -d "$4/docker" ] || cp -a "$6/docker" "$4/docker"
for place in docker docker/overlay2; do  # else dockerd does this, and hides the mounts below
    mkdir -p "$4/$place"
    mount --bind "$4/$place" "$4/$place"
done
while read -r layer place; do
    mount --bind "$layer" "$4/docker/$place"
    mount -o remount,bind,ro "$4/docker/$place"
done <"$6/layers"
for place in $9; do  # it sees what this machine has there, and what it writes is on its own disk
    own=$4/own/$(echo "$place" | tr / _)
    mkdir -p "$own/upper" "$own/work"
    mount -t overlay overlay -o "lowerdir=$place,upperdir=$own/upper,workdir=$own/work" "$place"
done
mount --bind "$5" /etc/hosts
mkdir -p "$4/etc-docker" /etc/docker
mount --bind "$4/etc-docker" /etc/docker  # its engine's own identity
exec "$7" -S -c "$8" "$0" "$1" "$2"
"""
