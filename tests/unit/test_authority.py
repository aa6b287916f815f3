"""The certificate authority: what it signs, and how another one takes its place."""

from __future__ import annotations

import ssl
import time
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography import x509

from hamanager.authority.authority import KEY, Authority
from hamanager.authority.certificates import (
    Certified,
    Wanted,
    checked_authority,
    described,
    due,
    issue,
    new_authority,
)
from hamanager.daemon.succession import SETTLE_SECONDS, Succession
from hamanager.errors import ConflictError, StoreError, UsageError
from hamanager.model.access import AccessRole
from tests.support.memory_store import MemoryStore
from tests.unit.fakes import NOW, FakeClock

DAY = 86400.0


class Clock(FakeClock):
    """Can be put forward."""

    present = NOW

    def now(self) -> float:
        return self.present

    def monotonic(self) -> float:
        return self.present


def test_what_a_certificate_says() -> None:
    authority = new_authority("a", NOW)
    hosts = ("db.example.org", "10.0.0.1", "fd00::1")
    made = issue(authority, Wanted("etcd-1", hosts, AccessRole.READ, 30), NOW)
    found = described(made.certificate)
    assert (found.name, found.hosts, found.role) == ("etcd-1", hosts, AccessRole.READ)
    assert found.begins_at == NOW - 7 * DAY
    assert found.ends_at == NOW + 30 * DAY
    plain = described(issue(authority, Wanted("x", role=None), NOW).certificate)
    assert (plain.hosts, plain.role) == ((), None)


def test_openssl_takes_it_for_what_it_is(tmp_path: Path) -> None:
    now = time.time()
    authority = new_authority("a", now)
    server = issue(authority, Wanted("s", ("10.0.0.1",)), now)
    client = issue(authority, Wanted("c", role=AccessRole.READ), now)
    others = issue(new_authority("b", now), Wanted("s", ("10.0.0.1",)), now)

    def connect(served: Certified, host: str, shown: Certified) -> None:
        """A handshake in memory, with strict rules on both sides."""
        sides = []
        for made, purpose in ((served, ssl.PROTOCOL_TLS_SERVER), (shown, ssl.PROTOCOL_TLS_CLIENT)):
            context = ssl.SSLContext(purpose)
            context.verify_flags |= ssl.VERIFY_X509_STRICT
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=authority.certificate)
            (tmp_path / "pair").write_text(made.certificate + made.key)
            context.load_cert_chain(tmp_path / "pair")
            sides.append(context)
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        ends = [
            sides[1].wrap_bio(to_client, to_server, server_hostname=host),
            sides[0].wrap_bio(to_server, to_client, server_side=True),
        ]
        for _ in range(4):
            for end in ends:
                with suppress(ssl.SSLWantReadError):
                    end.do_handshake()
        assert ends[1].getpeercert()

    connect(server, "10.0.0.1", client)
    connect(server, "10.0.0.1", server)
    for served, host, shown in (
        (server, "10.0.0.2", client),
        (client, "10.0.0.1", client),
        (others, "10.0.0.1", client),
        (server, "10.0.0.1", others),
    ):
        with pytest.raises(ssl.SSLCertVerificationError):
            connect(served, host, shown)


def test_it_is_due_when_a_third_is_left() -> None:
    made = issue(new_authority("a", NOW), Wanted("x", ("h",), days=83), NOW).certificate
    assert not due(made, NOW)
    assert not due(made, NOW + 52.9 * DAY)
    assert due(made, NOW + 53.1 * DAY)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Wanted("a b"), "no name for a certificate"),
        (Wanted(""), "no name for a certificate"),
        (Wanted("x", ("a host",)), "neither a host's name nor an address"),
        (Wanted("x", ("10.0.0.1:80",)), "neither a host's name nor an address"),
        (Wanted("x", days=0), "lasts 1 to 3650 days"),
        (Wanted("x", days=4000), "lasts 1 to 3650 days"),
    ],
)
def test_what_cannot_be_signed(wanted: Wanted, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        issue(new_authority("a", NOW), wanted, NOW)


def test_everybody_has_the_same_authority() -> None:
    store = MemoryStore()
    first, second = Authority(store, Clock()), Authority(store, Clock())
    assert first.known() is None
    assert first.trust() == second.trust()
    # The role-less certificate of one is verified by the other's.
    made = first.issue(Wanted("x", ("h",)))
    signer = x509.load_pem_x509_certificate(second.trust().bundle.encode())
    x509.load_pem_x509_certificate(made.certificate.encode()).verify_directly_issued_by(signer)


def test_another_one_takes_its_place_in_three_steps() -> None:
    authority = Authority(MemoryStore(), Clock())
    old = authority.trust().signer.certificate
    with pytest.raises(ConflictError, match="no change of the authority is under way"):
        authority.finish_rotation()
    begun = authority.begin_rotation()
    assert begun.upcoming is not None
    new = begun.upcoming.certificate
    assert begun.signer.certificate == old
    assert begun.bundle == old + new
    with pytest.raises(ConflictError, match="a change of the authority is under way"):
        authority.begin_rotation()
    with pytest.raises(ConflictError, match="does not sign yet"):
        authority.finish_rotation()
    signing = authority.sign_anew()
    assert signing.bundle == new + old
    assert authority.sign_anew() == signing
    assert authority.finish_rotation().bundle == new
    assert described(old).name != described(new).name


def test_the_new_one_signs_when_everybody_has_been_told() -> None:
    clock = Clock()
    authority = Authority(MemoryStore(), clock)
    told = [False]
    succession = Succession(authority, clock, lambda: told[0])
    succession.look()
    assert authority.known() is None
    authority.begin_rotation()

    def signs() -> bool:
        succession.look()
        return authority.trust().upcoming is None

    assert not signs()
    clock.present += SETTLE_SECONDS + 1
    assert not signs()
    told[0] = True
    assert signs()
    authority.finish_rotation()
    authority.begin_rotation()
    assert not signs()


def test_an_operators_own() -> None:
    authority = Authority(MemoryStore(), Clock())
    own = new_authority("ours", NOW)
    begun = authority.begin_rotation(own)
    assert begun.upcoming is not None
    assert begun.upcoming.certified == own


def test_an_operators_own_that_cannot_sign() -> None:
    own, other = new_authority("ours", NOW), new_authority("other", NOW)
    leaf = issue(own, Wanted("x"), NOW)
    for wrong, said in (
        (Certified("x", own.key), "are to be PEM"),
        (Certified(own.certificate, "x"), "are to be PEM"),
        (Certified(own.certificate, other.key), "does not belong to"),
        (leaf, "may not sign others"),
    ):
        with pytest.raises(UsageError, match=said):
            checked_authority(wrong, NOW)
    with pytest.raises(UsageError, match="not valid today"):
        checked_authority(own, NOW + 4000 * DAY)


def test_a_damaged_row_is_told_without_what_it_holds() -> None:
    store = MemoryStore()
    Authority(store, Clock()).trust()
    kept = store.get(KEY)
    assert kept is not None
    store.put(KEY, kept.value[:-10], kept.version)
    with pytest.raises(
        StoreError, match="its row 'ca/authority' in the store is damaged"
    ) as caught:
        Authority(store, Clock()).trust()
    assert "PRIVATE" not in str(caught.value)


def test_keys_are_not_shown() -> None:
    trust = Authority(MemoryStore(), Clock()).trust()
    assert "PRIVATE" not in repr(trust)
    assert "PRIVATE" not in repr(trust.signer.certified)
