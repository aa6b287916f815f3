"""A shell as a container's process 1 that decides what becomes of who asks the server to end."""

from __future__ import annotations

from hamanager.contracts.driver import HELD_SECONDS


def guarded(server: str) -> str:
    """A script that runs this command and ends with it, with its exit code. SIGTERM, which is
    what `docker stop` and a host that goes down send, reaches the server after `HELD_SECONDS`;
    SIGINT and SIGQUIT are passed on as SIGTERM at once. When the script is killed the server dies
    with it: the end of process 1 is that of the whole container (pid_namespaces(7)).
    """
    return ending_with(
        server,
        f"trap '(sleep {HELD_SECONDS:g}; kill -s TERM $server) &' TERM\n"
        "trap 'kill -s TERM $server' INT QUIT",
    )


def ending_with(server: str, traps: str) -> str:
    """A script that runs this command under these traps, which find its number in `$server`, and
    ends with it, with its exit code."""
    # A signal ends `wait` before the server does; while it runs it is waited for again. When both
    # happen at once the first word is the signal's, the last one the server's (127: told before).
    return f"""\
{server} &
server=$!
{traps}
while kill -s 0 $server 2>/dev/null; do
  status=0
  wait $server || status=$?
done
last=0
wait $server 2>/dev/null || last=$?
[ $last -eq 127 ] || status=$last
exit $status
"""
