"""Print what became of asking the Docker engine for a sign of life, in one word.

answers: it did. denied: its socket is there, but not for this user. silent: its socket is there
and nobody serves it. absent: there is no socket. It asks the way hamanager does: at DOCKER_HOST
or else at the default socket.
"""

import os
import socket
import sys

import docker
from docker.errors import DockerException
from requests.exceptions import RequestException

DEFAULT_HOST = "unix:///var/run/docker.sock"


def engine_state(host: str) -> str:
    if host.startswith("unix://"):
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(5)
                connection.connect("/" + host.removeprefix("unix://").lstrip("/"))
        except PermissionError:
            return "denied"
        except FileNotFoundError:
            return "absent"
        except OSError:
            return "silent"
    try:
        client = docker.from_env(timeout=5)
    except (DockerException, RequestException):
        return "silent"
    try:
        client.ping()
    except (DockerException, RequestException):
        return "silent"
    finally:
        client.close()
    return "answers"


if __name__ == "__main__":
    sys.stdout.write(engine_state(os.environ.get("DOCKER_HOST") or DEFAULT_HOST) + "\n")
