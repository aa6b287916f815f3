"""Signatures of the authority itself under documents: whoever trusts it can check them."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa

from hamanager.errors import UsageError

DER_SEQUENCE = b"0"
"""With which every certificate begins."""


def signed(key: str, document: bytes) -> bytes:
    """The signature, as `openssl dgst -sha256 -verify` takes it; `key`: PEM.

    Raises:
        UsageError: a key of that kind does not sign documents, or the document could be taken for
            a certificate.
    """
    if document[:1] == DER_SEQUENCE:
        raise UsageError("that document could be taken for a certificate; nothing was signed")
    found = serialization.load_pem_private_key(key.encode(), None)
    if isinstance(found, ec.EllipticCurvePrivateKey):
        return found.sign(document, ec.ECDSA(hashes.SHA256()))
    if isinstance(found, rsa.RSAPrivateKey):
        return found.sign(document, padding.PKCS1v15(), hashes.SHA256())
    if isinstance(found, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey):
        return found.sign(document)
    raise UsageError(
        "the authority's key signs no documents: it is to be of elliptic curves or RSA"
    )


def signer_of(document: bytes, signature: bytes, trusted: str) -> str | None:
    """Which of the trusted certificates (PEM, one or several) signed that; None for none of them.

    Raises:
        UsageError: there are no certificates.
    """
    try:
        certificates = x509.load_pem_x509_certificates(trusted.encode())
    except ValueError:
        raise UsageError("that is no certificate in PEM form; nothing was checked") from None
    for certificate in certificates:
        if _signed_by(certificate, document, signature):
            return certificate.public_bytes(serialization.Encoding.PEM).decode()
    return None


def _signed_by(certificate: x509.Certificate, document: bytes, signature: bytes) -> bool:
    key = certificate.public_key()
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, document, ec.ECDSA(hashes.SHA256()))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, document, padding.PKCS1v15(), hashes.SHA256())
        elif isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
            key.verify(signature, document)
        else:
            return False
    except (InvalidSignature, ValueError):
        return False
    return True
