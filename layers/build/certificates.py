"""Make a folder of trusted certificates; OpenSSL finds each file by the hash of its subject.

OpenSSL then reads only the certificate at the end of a server's chain, instead of a whole bundle.
The folder is the same as that of `openssl rehash`: see openssl-rehash(1).
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
"""The encoding of each ASN.1 string type, by its tag."""


def make_hashed_folder(bundle: Path, folder: Path) -> None:
    """Write each certificate of a PEM file to `<hash of its subject>.<number>` in a new folder."""
    folder.mkdir()
    for pem in CERTIFICATE.findall(bundle.read_text()):
        name = hash_subject(ssl.PEM_cert_to_DER_cert(pem))
        number = len(list(folder.glob(f"{name}.*")))
        (folder / f"{name}.{number}").write_text(pem)


def hash_subject(certificate: bytes) -> str:
    """Return the hash of a DER certificate's subject, as `openssl x509 -subject_hash` prints it."""
    [(_, parts)] = split(certificate)
    (_, signed), *_ = split(parts)
    fields = [content for tag, content in split(signed) if tag != VERSION]
    _serial, _algorithm, _issuer, _validity, subject, *_ = fields
    names = b"".join(
        encode(SET, b"".join(sorted(normalize(attribute) for _, attribute in split(attributes))))
        for _, attributes in split(subject)
    )
    return hashlib.sha1(names, usedforsecurity=False).digest()[3::-1].hex()


def normalize(attribute: bytes) -> bytes:
    """Return an attribute with its text in UTF-8, in lower case and with single spaces."""
    (kind, identifier), (tag, value) = split(attribute)
    if tag in TEXTS:
        text = value.decode(TEXTS[tag]).encode()
        tag, value = UTF8_STRING, b" ".join(text.lower().split())
    return encode(SEQUENCE, encode(kind, identifier) + encode(tag, value))


def split(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the tag and the content of each DER element."""
    at = 0
    while at < len(der):
        tag, length = der[at], der[at + 1]
        at += 2
        if length >= 0x80:  # the low bits are the number of bytes of the length
            octets = length - 0x80
            length = int.from_bytes(der[at : at + octets])
            at += octets
        yield tag, der[at : at + length]
        at += length


def encode(tag: int, content: bytes) -> bytes:
    """Return the DER element with a tag and a content."""
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes([tag, 0x80 + len(octets)]) + octets + content
