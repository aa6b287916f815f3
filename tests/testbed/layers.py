"""Images of this machine's Docker engine, lent to the engines of the hosts.

To load images into every host would write gigabytes. An engine that stores them with overlay2 never
changes a layer, so hosts are given a copy of what the engine notes about the images, and see the
layers themselves through read-only mounts. Where the machine's engine keeps images in another way
there is nothing to lend, and they are loaded.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import docker
from docker.errors import ImageNotFound

from tests.testbed.process import TestbedError

DRIVER = "overlay2"


def lend(images: Sequence[str], template: Path) -> dict[Path, Path] | None:
    """Make, in the template, what a host's `--data-root` begins with; where each layer lies here
    and, below the data root, there. None when this machine's engine keeps its images otherwise.

    Raises:
        TestbedError: it has no such image.
    """
    with closing(docker.from_env()) as client:
        told = client.info()
        root = Path(told["DockerRootDir"])
        if told["Driver"] != DRIVER or not (root / "image" / DRIVER / "layerdb").is_dir():
            return None
        found = {}
        for image in images:
            try:
                found[image] = client.images.get(image).attrs
            except ImageNotFound as error:
                raise TestbedError(f"there is no image {image} here: run make images") from error
    layers: dict[Path, Path] = {}
    for told in found.values():
        for part in ("content", "metadata"):
            _copy(root, template, _database("imagedb", part, told["Id"]))
        for chain in _chains(told["RootFS"]["Layers"]):
            noted = _database("layerdb", "", chain)
            _copy(root, template, noted)
            name = (root / noted / "cache-id").read_text()
            layer = Path(DRIVER) / name
            for part in ("link", "lower", "committed"):
                _copy(root, template, layer / part)
            target = template / layer / "diff"
            target.mkdir(parents=True, exist_ok=True)
            link = template / DRIVER / "l" / (root / layer / "link").read_text()
            link.parent.mkdir(exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(f"../{name}/diff")
            layers[root / layer / "diff"] = layer / "diff"
    ids = {image: told["Id"] for image, told in found.items()}
    names = template / "image" / DRIVER / "repositories.json"
    names.write_text(json.dumps({"Repositories": _repositories(ids)}))
    for path in (template, *template.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o711)
    return layers


def _database(name: str, part: str, digest: str) -> Path:
    algorithm, _, value = digest.partition(":")
    return Path("image") / DRIVER / name / part / algorithm / value


def _chains(layers: Sequence[str]) -> list[str]:
    """The names of each layer together with those below it."""
    chains: list[str] = []
    for layer in layers:
        if chains:
            together = f"{chains[-1]} {layer}".encode()
            chains.append(f"sha256:{sha256(together).hexdigest()}")
        else:
            chains.append(layer)
    return chains


def _repositories(ids: Mapping[str, str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for image, digest in ids.items():
        found.setdefault(image.rpartition(":")[0], {})[image] = digest
    return found


def _copy(root: Path, template: Path, what: Path) -> None:
    source, target = root / what, template / what
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    elif source.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
