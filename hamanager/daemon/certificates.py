"""The certificates of services that are encrypted: made with the service, made anew in time and
when the authority or the hosts change, and brought to the servers without a restart."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from hamanager.authority.authority import Authority
from hamanager.authority.certificates import Wanted, due
from hamanager.contracts.clock import Clock
from hamanager.contracts.driver import Driver
from hamanager.contracts.runtime import InstanceRef, Runtime
from hamanager.contracts.store import Store
from hamanager.errors import HamanagerError, StaleVersionError
from hamanager.model.encryption import Encryption, identity
from hamanager.model.record import ServiceRecord
from hamanager.model.service import Target
from hamanager.model.snapshot import Contact, Process, Snapshot
from hamanager.model.spec import Spec
from hamanager.stores.repository import (
    load_context,
    load_encryption,
    load_hosts,
    load_record,
    load_spec,
    save_encryption,
    service_names,
)

log = logging.getLogger("hamanager")

DAYS = 365
LOOK_SECONDS = 5.0
"""So often a service's certificate is looked at."""
GONE = (Process.EXITED, Process.MISSING)
LOCAL = ("localhost", "127.0.0.1")
"""For what an operator runs inside a container."""


def host_addresses(store: Store) -> list[str]:
    """Where the hosts on record are reached."""
    return [host.address for host in load_hosts(store)]


class Certificates:
    """Of all services; a service is looked after by whoever leads it."""

    def __init__(self, store: Store, authority: Authority, clock: Clock) -> None:
        self._store = store
        self._authority = authority
        self._clock = clock
        self._looked: dict[str, float] = {}
        self._told: dict[tuple[str, int], str] = {}
        """What each server was told to use: by volume's generation, the fingerprint."""

    def make(self, name: str, hosts: Sequence[str] = ()) -> None:
        """What a new service begins with."""
        present, version = load_encryption(self._store, name)
        if present is None:
            wanted = self._hosts(name, hosts)
            save_encryption(self._store, name, self._made(name, wanted), version)

    def is_time(self, name: str) -> bool:
        """Whether that service should be looked after now; says so once."""
        now = self._clock.monotonic()
        if now - self._looked.get(name, -LOOK_SECONDS) < LOOK_SECONDS:
            return False
        self._looked[name] = now
        return True

    def look(self, name: str, driver: Driver, runtime: Runtime, snapshot: Snapshot) -> None:
        """Make another when it is time, and let the servers use it. Raises nothing."""
        try:
            loaded = load_spec(self._store, name)
            if loaded is not None and loaded[0].encrypted and driver.certificates is not None:
                self._look(loaded[0], driver, runtime, snapshot)
        except StaleVersionError:
            return  # somebody else looks after it
        except HamanagerError as error:
            log.warning("the certificate of %s: %s", name, error)

    def behind(self) -> list[str]:
        """The services with a running server that does not trust yet whom it should, or does not
        show a certificate of the authority that signs yet."""
        trust = self._authority.trust()
        found = []
        for name in service_names(self._store):
            loaded = load_spec(self._store, name)
            if loaded is None or not loaded[0].encrypted:
                continue
            present, _ = load_encryption(self._store, name)
            if (
                present is None
                or present.trusted != trust.bundle
                or present.spread != present.fingerprint
                or (trust.former is not None and not self._authority.signs(present.certificate))
            ):
                found.append(name)
        return found

    def _look(self, spec: Spec, driver: Driver, runtime: Runtime, snapshot: Snapshot) -> None:
        record, _ = load_record(self._store, spec.name)
        present, version = load_encryption(self._store, spec.name)
        encryption = self._renewed(spec.name, record, present)
        if encryption != present:
            version = save_encryption(self._store, spec.name, encryption, version)
            log.info("%s has another certificate", spec.name)
        everybody = True
        for instance in record.instances:
            seen = snapshot.of(instance.name)
            if seen is None or seen.contact is not Contact.ANSWERS:
                # One that does not run gets them when it starts.
                everybody = everybody and seen is not None and seen.process in GONE
                continue
            key = (instance.name, instance.generation)
            if self._told.get(key) == encryption.fingerprint:
                continue
            service, target = load_context(self._store, spec), Target.of(instance)
            part = driver.certificates
            assert part is not None
            launch = driver.launch_spec(service, target)
            files = {n: content for n, content in launch.files.items() if n in part.file_names}
            ref = InstanceRef.of(spec.name, instance)
            runtime.rewrite_files(ref, replace(launch, files=files))
            part.reload_certificates(service, target)
            self._told[key] = encryption.fingerprint
        if everybody and encryption.spread != encryption.fingerprint:
            save_encryption(self._store, spec.name, encryption.spread_everywhere(), version)

    def _renewed(self, name: str, record: ServiceRecord, present: Encryption | None) -> Encryption:
        """The present one, or another where it is time for it."""
        own = [instance.host for instance in record.instances]
        if record.endpoint is not None:
            own.append(record.endpoint.host)
        trust = self._authority.trust()
        hosts = self._hosts(name, own)
        if (
            present is None
            or due(present.certificate, self._clock.now())
            or not set(hosts) <= set(present.hosts)
            or (trust.former is not None and not self._authority.signs(present.certificate))
        ):
            kept = present.hosts if present is not None else ()
            return self._made(name, tuple(dict.fromkeys([*hosts, *kept])))
        if present.trusted != trust.bundle:
            return present.trusting(trust.bundle)
        return present

    def _made(self, name: str, hosts: tuple[str, ...]) -> Encryption:
        made = self._authority.issue(Wanted(name, hosts, days=DAYS))
        return Encryption(
            trusted=self._authority.trust().bundle,
            certificate=made.certificate,
            key=made.key,
            hosts=hosts,
        )

    def _hosts(self, name: str, more: Sequence[str]) -> tuple[str, ...]:
        found = [identity(name), *more, *host_addresses(self._store), *LOCAL]
        return tuple(dict.fromkeys(found))
