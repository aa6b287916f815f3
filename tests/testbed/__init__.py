"""Several hosts on one machine: see `bed.py`."""

from tests.testbed.bed import Testbed, why_not
from tests.testbed.host import Host
from tests.testbed.process import Process

__all__ = ["Host", "Process", "Testbed", "why_not"]
