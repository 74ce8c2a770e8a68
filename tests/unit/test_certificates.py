"""The folder of trusted certificates that the core layer's build makes."""

import shutil
import ssl
import subprocess
from pathlib import Path

import certifi
import pytest
from cryptography import x509

from certificates import CERTIFICATE, hash_subject, make_hashed_folder

BUNDLE = Path(certifi.where())

HASHES = {
    "CN=ISRG Root X1,O=Internet Security Research Group,C=US": "4042bcee",
    "CN=Amazon Root CA 1,O=Amazon,C=US": "ce5e74ef",
    "CN=GTS Root R1,O=Google Trust Services LLC,C=US": "1001acf7",
}
"""Subjects, and their hashes as OpenSSL prints them."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("layer") / "certificates"
    make_hashed_folder(BUNDLE, made)
    return made


def test_the_hashed_folder_holds_every_certificate_of_the_bundle_once(folder: Path) -> None:
    given = CERTIFICATE.findall(BUNDLE.read_text())
    assert sorted(path.read_text() for path in folder.iterdir()) == sorted(given)


def test_the_files_of_trusted_certificates_have_the_names_that_openssl_expects(
    folder: Path,
) -> None:
    for subject, name in HASHES.items():
        found = x509.load_pem_x509_certificate((folder / f"{name}.0").read_bytes())
        assert found.subject.rfc4514_string() == subject


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl program")
def test_every_certificate_has_the_hash_that_openssl_computes(folder: Path, tmp_path: Path) -> None:
    """`openssl rehash` adds a link to each certificate, named after the certificate's hash."""
    for path in folder.iterdir():
        (tmp_path / f"{path.name}.pem").write_text(path.read_text())
    subprocess.run(["openssl", "rehash", str(tmp_path)], check=True)
    links = [path for path in tmp_path.iterdir() if path.is_symlink()]
    assert {path.name for path in links} == {path.name for path in folder.iterdir()}
    for link in links:
        assert link.readlink().name.partition(".")[0] == link.name.partition(".")[0]


def test_certificates_with_the_same_subject_are_numbered(tmp_path: Path) -> None:
    [first, *_] = CERTIFICATE.findall(BUNDLE.read_text())
    (tmp_path / "twice.pem").write_text(f"# a comment\n{first}\n{first}")
    make_hashed_folder(tmp_path / "twice.pem", tmp_path / "made")
    name = hash_subject(ssl.PEM_cert_to_DER_cert(first))
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == [f"{name}.0", f"{name}.1"]
