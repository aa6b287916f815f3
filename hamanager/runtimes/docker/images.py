"""Which container image a program runs from: an engine's servers, the proxy.

An image that is named, on the command line or by a variable, is used or refused. Without a name it
is the official one where the Docker engine has it, the locally built one where that exists, the
official one again where a registry gives it, and else one built on the spot from Debian's packages.
The official one's name is the driver's to say; the variables' names and the local images' are known
to this module alone.
"""

import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
from docker.errors import DockerException, ImageNotFound
from requests.exceptions import RequestException

BUILD_SCRIPT = Path(__file__).parents[3] / "compose" / "images" / "build.sh"

FIRST_WORD_SECONDS = 20.0
"""How long a pull may wait for the registry's first word; an engine waits for minutes."""
STALL_SECONDS = 120.0
"""How long a pull may go without progress after that."""


class ImageUnavailable(Exception):
    """No image to run an engine from; the message is one sentence that says what would be right."""


@dataclass(frozen=True)
class Choice:
    image: str
    how: str


def variable(engine: str) -> str:
    return f"HAMANAGER_IMAGE_{engine.upper()}"


def built_image(engine: str) -> str:
    return f"hamanager/{engine}:debian"


def names_of(engine: str, default: str) -> list[str]:
    """Every name under which an engine's image may be there, the preferred one first."""
    found = [os.environ.get(variable(engine), ""), default, built_image(engine)]
    return [name for name in found if name]


def resolve_image(
    client: docker.DockerClient,
    engine: str,
    default: str,
    configured: str | None = None,
    build: Callable[[str], None] | None = None,
) -> str:
    """Return the name of the image to run, pulled or built when need be.

    ``default`` is the official image's name, '' where there is none.
    ``configured`` is the image that the user named, if any; the engine's variable comes second.
    ``build`` makes the engine's local image; without it none is built here.
    """
    return _choose(client, engine, default, configured, build).image


def ensure_images(defaults: Mapping[str, str]) -> Iterator[tuple[str, Choice]]:
    """Make sure that the image of each engine is there, one after the other."""
    try:
        client = docker.from_env()
    except DockerException as error:
        raise ImageUnavailable(
            "no Docker engine answers: start one, or say where it is with DOCKER_HOST"
        ) from error
    try:
        for engine, default in defaults.items():
            yield engine, _choose(client, engine, default, None, build_image)
    finally:
        client.close()


def build_image(engine: str) -> None:
    """Build an engine's image from Debian's packages; this takes about half a minute."""
    if not BUILD_SCRIPT.exists():
        raise ImageUnavailable(
            f"there is no image for {engine} and no build script outside a checkout of hamanager:"
            f" name an image with --image or {variable(engine)}"
        )
    environment = {**os.environ, "PYTHON": sys.executable}
    with subprocess.Popen(
        [BUILD_SCRIPT, engine], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment
    ) as process:
        try:
            errors = process.communicate()[1].decode(errors="replace").strip().splitlines()
        except BaseException:
            process.terminate()
            process.wait()  # the script removes its temporary files
            raise
    if process.returncode:
        *output, sentence = errors or [f"building {built_image(engine)} failed"]
        sys.stderr.writelines(f"{line}\n" for line in output)
        raise ImageUnavailable(sentence.removeprefix("hamanager: ").rstrip("."))


def _choose(
    client: docker.DockerClient,
    engine: str,
    default: str,
    configured: str | None,
    build: Callable[[str], None] | None,
) -> Choice:
    named = configured or os.environ.get(variable(engine))
    image, built = named or default, built_image(engine)
    if image and _is_present(client, image):
        return Choice(image, "present")
    if not named and _is_present(client, built):
        return Choice(built, "present")
    if not image:
        raise ImageUnavailable(
            f"{engine} has no image of its own: name one with --image or {variable(engine)}"
        )
    started = time.monotonic()
    problem = pull(client, image)
    if problem is None:
        return Choice(image, f"pulled in {time.monotonic() - started:.0f} s")
    if named:
        raise ImageUnavailable(
            f"image {image} is not in the Docker engine and can't be pulled ({problem}):"
            f" load it, or correct its name where --image or {variable(engine)} gives it"
        )
    if build is None:
        raise ImageUnavailable(
            f"image {image} is not in the Docker engine and can't be pulled ({problem}):"
            f" run 'make images' in a checkout of hamanager, or name another image with --image"
            f" or {variable(engine)}"
        )
    started = time.monotonic()
    build(engine)
    return Choice(built, f"built in {time.monotonic() - started:.0f} s")


def _is_present(client: docker.DockerClient, image: str) -> bool:
    try:
        client.images.get(image)
    except ImageNotFound:
        return False
    return True


def pull(client: docker.DockerClient, image: str) -> str | None:
    """Pull an image; return what went wrong, if anything did.

    The engine bounds neither its wait for a registry nor the pull, and the client's call has no
    time limit, so the call has a thread of its own, which is left behind when it hangs.
    """
    events: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()

    def run() -> None:
        try:
            for event in client.api.pull(image, stream=True, decode=True):
                events.put(event)
            events.put(None)
        except (DockerException, RequestException) as error:
            events.put({"error": getattr(error, "explanation", None) or str(error)})

    threading.Thread(target=run, name=f"pull {image}", daemon=True).start()
    patience = FIRST_WORD_SECONDS
    while True:
        try:
            event = events.get(timeout=patience)
        except queue.Empty:
            return f"no word from its registry for {patience:.0f} s"
        if event is None:
            return None
        if "error" in event:
            return str(event["error"])
        patience = STALL_SECONDS
