"""The files for keepalived and systemd are what these programs take."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.keepalived import ADDRESSES, SOURCE, configure, why_not

SYSTEMD = SOURCE.parent / "systemd"


@pytest.mark.skipif(bool(why_not()), reason=why_not())
@pytest.mark.parametrize("machine", sorted(ADDRESSES))
def test_keepalived_takes_its_configuration(machine: str, tmp_path: Path) -> None:
    path = configure(tmp_path, {})
    # In a network of its own, with the interface that is named there.
    network = (
        "ip link add eth0 type veth peer name other && ip link set eth0 up"
        f" && ip address add {ADDRESSES[machine]}/24 dev eth0"
    )
    check = f"{network} && exec keepalived --config-test -l -i {machine} -f {path}"
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", check], capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_check_goes_by_the_age_of_the_file(tmp_path: Path) -> None:
    script, alive = SOURCE / "check-proxy.sh", tmp_path / "alive"

    def check() -> int:
        return subprocess.run([str(script), str(alive)], timeout=10).returncode

    assert check() == 1
    alive.touch()
    assert check() == 0
    long_ago = time.time() - 10
    os.utime(alive, (long_ago, long_ago))
    assert check() == 1


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed here")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    shutil.copytree(SYSTEMD, tmp_path, dirs_exist_ok=True)
    (tmp_path / "etcd.service").write_text("[Service]\nType=notify\nExecStart=/bin/true\n")
    units = sorted(path for path in tmp_path.iterdir() if path.is_file())
    assert len(units) == 5
    done = subprocess.run(
        ["systemd-analyze", "verify", *units], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    for name in (*(unit.name for unit in units), "hamanager.conf"):
        assert name not in done.stderr, "it warns of nothing in it"
