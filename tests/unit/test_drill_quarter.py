"""A quarter's report: its numbers, its page, its signature; and the commands about drills."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from hamanager.api.drills import (
    quarter_bounds,
    quarter_of,
)
from hamanager.authority.certificates import new_authority
from hamanager.authority.signatures import signed, signer_of
from hamanager.daemon.drill_report import as_page, figures, summarized
from hamanager.errors import UsageError
from hamanager.model.drill import DrilledRound, DrillFault, DrillResult, Outcome
from hamanager.model.settings import Settings
from hamanager.stores import drills
from tests.unit.fakes import NOW, FakeManager
from tests.unit.test_cli import Run, daemon, home, manager, run  # noqa: F401 - fixtures

DAY = 86400.0


def drilled(*first_writes: float | None, lost: int = 0) -> tuple[DrilledRound, ...]:
    return tuple(
        DrilledRound(
            first_write_seconds=seconds,
            longest_gap_seconds=seconds,
            acknowledged=100,
            lost=lost,
            duplicate_primaries=0,
            recovered=True,
        )
        for seconds in first_writes
    )


def result(outcome: Outcome, at: float = NOW, **changes: object) -> DrillResult:
    filled: dict[str, object] = {
        "service": "db",
        "fault": DrillFault.KILL,
        "rounds_wanted": 1,
        "outcome": outcome,
        "text": f"it {outcome}",
        "due_at": at,
        "began_at": at,
        "ended_at": at + 20,
        **changes,
    }
    return DrillResult.model_validate(filled)


RESULTS = [
    result(
        Outcome.PASSED, rounds=drilled(0.2, 0.4, None), acknowledged=300, lost=0, rounds_wanted=3
    ),
    result(Outcome.FAILED, NOW + DAY, rounds=drilled(1.0), acknowledged=100, lost=7),
    result(Outcome.REFUSED, NOW + 2 * DAY, fault=DrillFault.HANG),
    result(Outcome.MISSED, NOW + 3 * DAY, times=3),
    result(Outcome.UNFINISHED, NOW + 4 * DAY, rounds=drilled(3.5), acknowledged=50, lost=None),
]


# --- Words ----------------------------------------------------------------------------------------


def test_quarters() -> None:
    begins, ends = quarter_bounds("2026Q4")
    assert (quarter_of(begins), quarter_of(ends - 1), quarter_of(ends)) == (
        "2026Q4",
        "2026Q4",
        "2027Q1",
    )
    assert quarter_bounds("2026q1")[1] == quarter_bounds("2026Q2")[0]
    assert quarter_of(NOW) == "2026Q3"
    for text in ("2026", "2026Q5", "Q4", "1999Q1", "2026Q4x"):
        with pytest.raises(UsageError, match="a quarter is written 2026Q4"):
            quarter_bounds(text)


# --- Numbers --------------------------------------------------------------------------------------


def test_the_numbers() -> None:
    found = figures(None, RESULTS)
    counts = (found.drills, found.passed, found.failed, found.refused, found.missed)
    assert counts == (7, 1, 1, 1, 3)
    assert found.unfinished == 1
    assert (found.rounds, found.uninterrupted_rounds) == (5, 1)
    times = (found.rto_seconds_min, found.rto_seconds_median, found.rto_seconds_max)
    assert times == (0.2, 0.7, 3.5)
    assert (found.acknowledged, found.lost, found.lost_most, found.lost_unknown) == (450, 7, 7, 1)


def test_by_fault() -> None:
    made = summarized("db", "2026Q3", RESULTS, NOW, "ab12")
    assert [found.fault for found in made.faults] == [DrillFault.KILL, DrillFault.HANG]
    assert made.faults[1].refused == 1
    assert made.faults[1].rto_seconds_median is None


def test_the_page_needs_nothing_and_escapes_what_others_said() -> None:
    hostile = result(Outcome.REFUSED, text="<script>alert(1)</script>")
    page = as_page(summarized("db", "2026Q3", [*RESULTS, hostile], NOW, "ab12"))
    assert "<script" not in page
    assert "http" not in page
    assert "missed (3 times)" in page
    assert "7 (unknown of 1)" in page
    assert "ab12" in page


# --- Signatures -----------------------------------------------------------------------------------


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def own_authority(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey,
) -> str:
    """The certificate of an operator's own authority."""
    made = x509.load_pem_x509_certificate(new_authority("a", NOW).certificate.encode())
    builder = (
        x509.CertificateBuilder()
        .subject_name(made.subject)
        .issuer_name(made.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(made.not_valid_before_utc)
        .not_valid_after(made.not_valid_after_utc)
    )
    how = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, how).public_bytes(serialization.Encoding.PEM).decode()


Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@pytest.mark.parametrize(
    "made",
    [
        lambda: ec.generate_private_key(ec.SECP384R1()),
        lambda: rsa.generate_private_key(65537, 2048),
        ed25519.Ed25519PrivateKey.generate,
    ],
    ids=["ec", "rsa", "ed25519"],
)
def test_whatever_key_the_authority_has_it_signs_and_one_changed_byte_shows(
    made: Callable[[], Key],
) -> None:
    key = made()
    certificate, document = own_authority(key), b"<!doctype html> 7 lost"
    signature = signed(pem(key), document)
    other = new_authority("other", NOW).certificate
    assert signer_of(document, signature, other + certificate) == certificate
    assert signer_of(document, signature, other) is None
    for place in range(len(document)):
        changed = bytearray(document)
        changed[place] ^= 1
        assert signer_of(bytes(changed), signature, certificate) is None
    assert signer_of(document, signature[:-1], certificate) is None
    assert signer_of(document, b"", certificate) is None


def test_nothing_is_signed_that_could_be_a_certificate() -> None:
    made = new_authority("a", NOW)
    wanted = x509.load_pem_x509_certificate(made.certificate.encode()).tbs_certificate_bytes
    with pytest.raises(UsageError, match="could be taken for a certificate"):
        signed(made.key, wanted)


# --- Commands -------------------------------------------------------------------------------------


@pytest.fixture
def db(run: Run, manager: FakeManager) -> None:  # noqa: F811
    """A service with results, marked for drills."""
    manager.commands.create("db", "redis", instances=2, settings=Settings(allow_drills=True))
    manager.fulfil("db")
    for found in RESULTS:
        drills.keep(manager.store, found, "", NOW)


@pytest.mark.usefixtures("db")
def test_a_quarter_in_text_and_json(run: Run) -> None:  # noqa: F811
    told = run("drill", "report", "db", "--quarter", "2026Q3")
    about, *lines = told.output.splitlines()
    assert about == "db, 2026Q3: 7 drills"
    found = [re.split(r" {3,}", line) for line in lines]
    assert found[0][:6] == ["FAULT", "DRILLS", "PASSED", "FAILED", "REFUSED", "MISSED"]
    assert found[0][6:] == ["UNFINISHED", "RTO MIN", "MEDIAN", "MAX", "LOST"]
    rto, lost = ["0.200 s", "0.700 s", "3.500 s"], "7 of 450 (unknown of 1)"
    assert found[1] == ["kill", "6", "1", "1", "0", "3", "1", *rto, lost]
    assert found[2] == ["hang", "1", "0", "0", "1", "0", "0", "-", "-", "-", "0 of 0"]
    assert found[3] == ["all", "7", "1", "1", "1", "3", "1", *rto, lost]
    report = json.loads(run("drill", "report", "db", "--output", "json").output)
    assert report["quarter"] == "2026Q3", "the present one"
    assert report["all"]["missed"] == 3
    assert len(report["drills"]) == 5
    empty = run("drill", "report", "db", "--quarter", "2026Q4")
    assert empty.output == "db, 2026Q4: 0 drills\n"
    wrong = run("drill", "report", "db", "--quarter", "2026Q7")
    assert (wrong.exit_code, len(wrong.output.splitlines())) == (2, 1)
    assert run("drill", "report", "no").exit_code == 1


@pytest.mark.usefixtures("db")
@pytest.mark.parametrize("name", ["drills.html", "drills.json"])
def test_a_file_is_verified_and_one_changed_byte_is_refused(
    run: Run,  # noqa: F811
    tmp_path: Path,
    name: str,
) -> None:
    file, ca = tmp_path / name, tmp_path / "ca.pem"
    told = run("drill", "report", "db", "--quarter", "2026Q3", "--file", str(file))
    assert told.exit_code == 0, told.output
    assert f"written to {file}, its signature to {file}.sig" in told.output
    ca.write_text(run("ca", "show").output)
    good = run("drill", "verify", str(file), "--ca", str(ca))
    assert good.exit_code == 0, good.output
    assert "as signed by hamanager " in good.output
    content = file.read_bytes()
    file.write_bytes(content.replace(b"0.7", b"0.6", 1))
    assert file.read_bytes() != content
    bad = run("drill", "verify", str(file), "--ca", str(ca))
    assert bad.exit_code == 1
    assert "is not what the authority in" in bad.output
    file.write_bytes(content)
    ca.write_text(new_authority("another", NOW).certificate)
    assert run("drill", "verify", str(file), "--ca", str(ca)).exit_code == 1
    ca.write_text("-")
    assert run("drill", "verify", str(file), "--ca", str(ca)).exit_code == 2
    Path(f"{file}.sig").unlink()
    missing = run("drill", "verify", str(file), "--ca", str(ca))
    assert missing.exit_code == 2
    assert f"{file}.sig cannot be read" in missing.output


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl here")
@pytest.mark.usefixtures("db")
def test_an_auditor_needs_openssl_alone(run: Run, tmp_path: Path) -> None:  # noqa: F811
    file, ca, key = tmp_path / "drills.html", tmp_path / "ca.pem", tmp_path / "ca.pub"
    assert run("drill", "report", "db", "--file", str(file)).exit_code == 0
    ca.write_text(run("ca", "show").output)

    def openssl(*words: str) -> subprocess.CompletedProcess[bytes]:
        command = ["openssl", *words]
        return subprocess.run(command, check=False, capture_output=True, timeout=10)

    key.write_bytes(openssl("x509", "-in", str(ca), "-noout", "-pubkey").stdout)
    words = ("dgst", "-sha256", "-verify", str(key), "-signature", f"{file}.sig", str(file))
    assert openssl(*words).returncode == 0
    file.write_bytes(file.read_bytes() + b" ")
    assert openssl(*words).returncode != 0
