"""Certificates: made and read, nothing kept. The time is the caller's."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hamanager.errors import UsageError
from hamanager.model.access import AccessRole

AUTHORITY_DAYS = 3650
BACKDATED_DAYS = 7
"""Certificates count from so long ago: a machine whose clock is behind accepts a new one."""
LONGEST_DAYS = 3650
_HOST = re.compile(r"(?:\*\.)?[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
                   r"(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*")  # fmt: skip
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True)
class Certified:
    """A certificate with its private key, both PEM."""

    certificate: str
    key: str = field(repr=False)


@dataclass(frozen=True)
class Wanted:
    """What a certificate is to say."""

    name: str
    hosts: tuple[str, ...] = ()
    """Names and addresses at which its owner answers; of one that only asks: none."""
    role: AccessRole | None = None
    """What its owner may ask of the managers; None: nothing."""
    days: int = 365


@dataclass(frozen=True)
class Described:
    """What a certificate says."""

    name: str
    hosts: tuple[str, ...]
    role: AccessRole | None
    begins_at: float
    """Seconds since the epoch, as is the next."""
    ends_at: float
    fingerprint: str
    """SHA-256, hexadecimal."""


def new_authority(name: str, now: float) -> Certified:
    """A new certificate authority, which signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        _dated(subject, subject, key.public_key(), now, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Certified(_pem(made), _key_pem(key))


def issue(authority: Certified, wanted: Wanted, now: float) -> Certified:
    """A certificate of that authority.

    Raises:
        UsageError: it cannot be what is wanted.
    """
    _check(wanted)
    signer = x509.load_pem_x509_certificate(authority.certificate.encode())
    signing_key = _signing_key(authority.key)
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, wanted.name)]
    if wanted.role is not None:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, wanted.role))
    key = ec.generate_private_key(ec.SECP256R1())
    uses = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if wanted.hosts:
        uses.insert(0, ExtendedKeyUsageOID.SERVER_AUTH)
    builder = (
        _dated(x509.Name(attributes), signer.subject, key.public_key(), now, wanted.days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(
                signer.public_key()  # type: ignore[arg-type]
            ),
            critical=False,
        )
    )
    if wanted.hosts:
        names = x509.SubjectAlternativeName([_alternative(host) for host in wanted.hosts])
        builder = builder.add_extension(names, critical=False)
    return Certified(_pem(builder.sign(signing_key, hashes.SHA256())), _key_pem(key))


def described(certificate: str) -> Described:
    """What a certificate says.

    Raises:
        UsageError: it is none.
    """
    try:
        read = x509.load_pem_x509_certificate(certificate.encode())
    except ValueError:
        raise UsageError("that is no certificate in PEM form; nothing was changed") from None
    roles = read.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    names = read.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    try:
        extension = read.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        hosts = tuple(str(found.value) for found in extension.value)
    except x509.ExtensionNotFound:
        hosts = ()
    known = {str(role) for role in AccessRole}
    role = next((AccessRole(str(r.value)) for r in roles if str(r.value) in known), None)
    return Described(
        str(names[0].value) if names else read.subject.rfc4514_string(),
        hosts,
        role,
        read.not_valid_before_utc.timestamp(),
        read.not_valid_after_utc.timestamp(),
        read.fingerprint(hashes.SHA256()).hex(),
    )


def signed_by(certificate: str, authority: str) -> bool:
    """Whether that authority made the certificate."""
    read = x509.load_pem_x509_certificate(certificate.encode())
    try:
        read.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.encode()))
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def due(certificate: str, now: float) -> bool:
    """Whether it is time for the next one: a third of its time is left."""
    found = described(certificate)
    return found.ends_at - now < (found.ends_at - found.begins_at) / 3


def checked_authority(found: Certified, now: float) -> Certified:
    """An operator's own authority, when it can sign.

    Raises:
        UsageError: it cannot.
    """
    unchanged = "nothing was changed"
    try:
        read = x509.load_pem_x509_certificate(found.certificate.encode())
        key = _signing_key(found.key)
    except (ValueError, TypeError):
        raise UsageError(
            "the authority's certificate and its key are to be PEM, the key without a password;"
            f" {unchanged}"
        ) from None
    if _public_bytes(read.public_key()) != _public_bytes(key.public_key()):
        raise UsageError(f"that key does not belong to the authority's certificate; {unchanged}")
    try:
        authorized = read.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        authorized = False
    if not authorized:
        raise UsageError(f"that certificate may not sign others (it is no authority); {unchanged}")
    if not read.not_valid_before_utc.timestamp() <= now < read.not_valid_after_utc.timestamp():
        raise UsageError(f"that authority's certificate is not valid today; {unchanged}")
    return found


def _check(wanted: Wanted) -> None:
    if not _NAME.fullmatch(wanted.name):
        raise UsageError(
            f"'{wanted.name}' is no name for a certificate: use up to 63 letters, digits, dots and"
            " dashes"
        )
    if not 1 <= wanted.days <= LONGEST_DAYS:
        raise UsageError(f"a certificate lasts 1 to {LONGEST_DAYS} days, not {wanted.days}")
    for host in wanted.hosts:
        if _address(host) is None and not _HOST.fullmatch(host):
            raise UsageError(f"'{host}' is neither a host's name nor an address")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _alternative(host: str) -> x509.GeneralName:
    address = _address(host)
    return x509.DNSName(host) if address is None else x509.IPAddress(address)


def _dated(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: float, days: int
) -> x509.CertificateBuilder:
    present = datetime.fromtimestamp(now, UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(present - timedelta(days=BACKDATED_DAYS))
        .not_valid_after(present + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _signing_key(pem: str) -> CertificateIssuerPrivateKeyTypes:
    # Whatever kind of key it is: one that cannot sign fails there.
    return cast(
        "CertificateIssuerPrivateKeyTypes", serialization.load_pem_private_key(pem.encode(), None)
    )


def _public_bytes(key: object) -> bytes:
    return key.public_bytes(  # type: ignore[attr-defined, no-any-return]
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def bundle(certificates: Sequence[str]) -> str:
    """Several in one file."""
    return "".join(certificate.strip() + "\n" for certificate in certificates)
