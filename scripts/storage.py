#!/usr/bin/env python3
"""A small object storage that takes what is signed with its key, for trying things out.

usage: scripts/storage.py PORT DIR KEYID SECRET

Listens on loopback. PUT /a/b.eml becomes DIR/a/b.eml if its AWS Signature Version 4 is the one that
the storage computes itself; otherwise the answer is 403. One line on standard output tells of each
request. Only modules that a minimal Python has are used.
"""
import hashlib
import os
import socket
import sys
import threading

# The example of the specification: GET of the list of users, 2015-08-30.
EXAMPLE = ("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20150830/us-east-1/iam/aws4_request",
           "AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/us-east-1/iam/aws4_request\n"
           "f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59",
           "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7")


def hmac(key, text):
    """HMAC with SHA-256 (RFC 2104)."""
    key = (key if len(key) <= 64 else hashlib.sha256(key).digest()).ljust(64, b"\0")
    inner = hashlib.sha256(bytes(octet ^ 0x36 for octet in key) + text).digest()
    return hashlib.sha256(bytes(octet ^ 0x5C for octet in key) + inner).digest()


def sign(secret, scope, text):
    """The signature of a string to sign, in hexadecimal digits."""
    key = b"AWS4" + secret.encode()
    for step in scope.split("/"):
        key = hmac(key, step.encode())
    return hmac(key, text.encode()).hex()


def is_signed(method, target, headers, keyid, secret):
    """Tells whether a request carries the signature that the key gives for it."""
    scheme, _, rest = headers.get("authorization", "").partition(" ")
    parts = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    key, _, scope = parts.get("Credential", "").partition("/")
    names = parts.get("SignedHeaders", "").split(";")
    if scheme != "AWS4-HMAC-SHA256" or key != keyid:
        return False
    signed = {"host", "x-amz-date", "x-amz-content-sha256"}
    if not signed <= set(names) or not signed <= set(headers):
        return False
    date, _, service = scope.partition("/")
    if not headers["x-amz-date"].startswith(date + "T") or not service.endswith("/s3/aws4_request"):
        return False
    path, _, query = target.partition("?")
    lines = "".join("%s:%s\n" % (name, headers.get(name, "")) for name in names)
    request = "\n".join([method, path, query, lines, ";".join(names),
                         headers["x-amz-content-sha256"]])
    text = "\n".join([scheme, headers["x-amz-date"], scope,
                      hashlib.sha256(request.encode()).hexdigest()])
    return sign(secret, scope, text) == parts.get("Signature")


def serve(connection, folder, keyid, secret):
    """One connection; it may carry several requests."""
    stream = connection.makefile("rwb")
    while True:
        words = stream.readline().decode().split()
        if len(words) < 2:
            return
        method, target = words[:2]
        headers = {}
        for line in iter(lambda: stream.readline().decode().strip(), ""):
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        body = stream.read(int(headers.get("content-length", 0)))
        status = "403 Forbidden"
        if method == "PUT" and ".." not in target and is_signed(method, target, headers, keyid, secret):
            path = folder + target
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path + ".part", "wb") as file:
                file.write(body)
            os.rename(path + ".part", path)
            status = "200 OK"
        print("%s %s: %s" % (method, target, status), flush=True)
        stream.write(("HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n" % status).encode())
        stream.flush()


def main():
    """Serves until it is ended."""
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    port, folder, keyid, secret = sys.argv[1:]
    if sign(*EXAMPLE[:3]) != EXAMPLE[3]:
        sys.exit("the signature of the specification's example is another one")
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", int(port)))
    listener.listen(64)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection, folder, keyid, secret), daemon=True).start()


if __name__ == "__main__":
    main()
