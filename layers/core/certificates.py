"""Make a folder of trusted certificates in which OpenSSL finds each one by its subject's hash.

TLS then reads the one certificate that a server's chain ends with, instead of a whole bundle. The
folder is what `openssl rehash` makes (openssl-rehash(1)), without a need for that program.
"""

import hashlib
import re
import ssl
from collections.abc import Iterator
from pathlib import Path

CERTIFICATE = re.compile("-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n", re.DOTALL)

SEQUENCE, SET, UTF8_STRING, VERSION = 0x30, 0x31, 0x0C, 0xA0
TEXTS = {
    UTF8_STRING: "utf-8",
    0x13: "ascii",  # PrintableString
    0x14: "latin-1",  # TeletexString
    0x16: "ascii",  # IA5String
    0x1A: "ascii",  # VisibleString
    0x1C: "utf-32-be",  # UniversalString
    0x1E: "utf-16-be",  # BMPString
}
"""Tags of ASN.1's types."""


def make_hashed_folder(bundle: Path, folder: Path) -> None:
    """Write each certificate of a PEM file to `<hash of its subject>.<number>` in a new folder."""
    folder.mkdir()
    for pem in CERTIFICATE.findall(bundle.read_text()):
        name = subject_hash(ssl.PEM_cert_to_DER_cert(pem))
        number = len(list(folder.glob(f"{name}.*")))
        (folder / f"{name}.{number}").write_text(pem)


def subject_hash(certificate: bytes) -> str:
    """Return the hash of a DER certificate's subject, as `openssl x509 -subject_hash` prints it."""
    [(_, parts)] = elements(certificate)
    (_, signed), *_ = elements(parts)
    fields = [content for tag, content in elements(signed) if tag != VERSION]
    _serial, _algorithm, _issuer, _validity, subject, *_ = fields
    names = b"".join(
        element(
            SET, b"".join(sorted(canonical(attribute) for _, attribute in elements(attributes)))
        )
        for _, attributes in elements(subject)
    )
    return hashlib.sha1(names, usedforsecurity=False).digest()[3::-1].hex()


def canonical(attribute: bytes) -> bytes:
    """Return an attribute of a name, its text in UTF-8, lower case and single spaces."""
    (kind, identifier), (tag, value) = elements(attribute)
    if tag in TEXTS:
        text = value.decode(TEXTS[tag]).encode()
        tag, value = UTF8_STRING, b" ".join(text.lower().split())
    return element(SEQUENCE, element(kind, identifier) + element(tag, value))


def elements(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the tag and the content of each DER element."""
    at = 0
    while at < len(der):
        tag, length = der[at], der[at + 1]
        at += 2
        if length >= 0x80:  # the length of the length
            octets = length - 0x80
            length = int.from_bytes(der[at : at + octets])
            at += octets
        yield tag, der[at : at + length]
        at += length


def element(tag: int, content: bytes) -> bytes:
    """Return a DER element."""
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes([tag, 0x80 + len(octets)]) + octets + content
