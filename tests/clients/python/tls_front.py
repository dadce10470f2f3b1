"""Speaks TLS in front of a plain address on this machine, for libraries that cannot be told
to leave it out. The certificate is made here, trusted by nobody but who is given the file,
and of no use once this program has ended.

Says its address on its first line and ends with its standard input."""

import argparse
import asyncio
import contextlib
import datetime
import ipaddress
import json
import os
import ssl
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

HERE = "127.0.0.1"


def common_name(text):
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def der_items(sequence):
    """The elements of a DER sequence, each with its header. Lengths above 65535 do not occur."""

    def element(at):
        length, header = sequence[at + 1], 2
        if length >= 0x80:
            count = length - 0x80
            length = int.from_bytes(sequence[at + 2 : at + 2 + count], "big")
            header += count
        return header, length

    at = element(0)[0]
    items = []
    while at < len(sequence):
        end = at + sum(element(at))
        items.append(sequence[at:end])
        at = end
    return items


def der(tag, content):
    """One element of DER."""
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    size = (length.bit_length() + 7) // 8
    return bytes([tag, 0x80 + size]) + length.to_bytes(size, "big") + content


def version_1(made, key):
    """The certificate without its version and its extensions, which is one of version 1, signed
    again: the library makes none."""
    fields = der_items(made.tbs_certificate_bytes)
    # The version has the tag [0], the extensions have [3] (RFC 5280, section 4.1).
    signed = der(0x30, b"".join(it for it in fields if it[0] not in (0xA0, 0xA3)))
    signature = key.sign(signed, ec.ECDSA(hashes.SHA256()))
    algorithm = der_items(made.public_bytes(serialization.Encoding.DER))[1]
    whole = der(0x30, signed + algorithm + der(0x03, b"\0" + signature))
    return ssl.DER_cert_to_PEM_cert(whole).encode()


def certificate(address, until, is_version_1):
    """An authority, a certificate that it has signed for an address, and the key of that, as
    PEM. `until` says in how many minutes the certificate ends."""
    now = datetime.datetime.now(datetime.timezone.utc)
    until = now + datetime.timedelta(minutes=until)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    key = ec.generate_private_key(ec.SECP256R1())

    def begun(name, public_key):
        return (
            x509.CertificateBuilder()
            .subject_name(common_name(name))
            .issuer_name(common_name("stsd tests"))
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=2))
        )

    authority = (
        begun("stsd tests", authority_key.public_key())
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    made = (
        begun("stsd front", key.public_key())
        .not_valid_after(until)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    own = version_1(made, authority_key) if is_version_1 else made.public_bytes(pem)
    return authority.public_bytes(pem), own + private


def context(arguments):
    """The server's side, with the authority left at `certificate` for the client to trust."""
    path = arguments.certificate
    authority, own = certificate(arguments.address, arguments.until, arguments.x509_version_1)
    with open(path, "wb") as file:
        file.write(authority)
    # `ssl` reads a key from a file only; it is gone again before anybody connects.
    key_path = f"{path}.key"
    key_file = os.open(key_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(key_file, "wb") as file:
        file.write(own)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(key_path)
    os.remove(key_path)
    return made


async def pump(reader, writer):
    with contextlib.suppress(OSError):
        while block := await reader.read(64 * 1024):
            writer.write(block)
            await writer.drain()
    writer.close()


async def serve(arguments):
    host, port = arguments.to.rsplit(":", 1)

    async def join(client_reader, client_writer):
        reader, writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(pump(client_reader, writer), pump(reader, client_writer))

    made = context(arguments)
    server = await asyncio.start_server(join, HERE, 0, ssl=made)
    own_port = server.sockets[0].getsockname()[1]
    print(json.dumps({"address": f"{HERE}:{own_port}"}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", required=True, help="HOST:PORT of what is behind")
    parser.add_argument("--certificate", required=True, help="the file to leave it in")
    parser.add_argument("--address", default=HERE, help="what its certificate is for")
    parser.add_argument("--until", type=int, default=60, help="its last minute, from now on")
    parser.add_argument("--x509-version-1", action="store_true", help="an X.509 of version 1")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
