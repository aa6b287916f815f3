"""Make sure that the images are there: of all engines, unless some are named, and the proxy's."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

from hamanager.discovery import load_drivers
from hamanager.endpoints.haproxy.endpoint import IMAGE, SIDECAR
from hamanager.runtimes.docker.images import ImageUnavailable, ensure_images


def main(named: Sequence[str]) -> int:
    """The exit code."""
    known = {name: driver.traits.image for name, driver in load_drivers().items()}
    known = {name: image for name, image in known.items() if image} | {SIDECAR: IMAGE}
    for name in named:
        if name not in known:
            print(f"hamanager: {name!r} is none of {', '.join(known)}.", file=sys.stderr)
            return 2
    wanted = {n: image for n, image in known.items() if not named or n in (*named, SIDECAR)}
    try:
        for name, choice in ensure_images(wanted):
            print(f"{name}: {choice.image} ({choice.how})", flush=True)
    except ImageUnavailable as error:
        print(f"hamanager: {error}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, which ends a build
    sys.exit(main(sys.argv[1:]))
