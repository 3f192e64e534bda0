#!/usr/bin/env python3
"""A small SMTP server that takes every message and keeps it in a folder, for trying things out.

usage: scripts/sink.py PORT DIR

Listens on loopback. Each message becomes DIR/N.eml with its envelope in the first lines; one line
on standard output tells of it. Only modules that a minimal Python has are used.
"""
import os
import socket
import sys
import threading

counter_lock = threading.Lock()
counter = 0


def keep(folder, sender, recipients, content):
    """Writes one message; the name appears when it is whole."""
    global counter
    with counter_lock:
        counter += 1
        number = counter
    path = os.path.join(folder, "%d.eml" % number)
    with open(path + ".part", "wb") as file:
        file.write(b"X-Envelope-From: " + sender + b"\r\n")
        for recipient in recipients:
            file.write(b"X-Envelope-To: " + recipient + b"\r\n")
        file.write(content)
    os.rename(path + ".part", path)
    print("%d: from %s to %s" % (number, sender.decode("utf-8", "replace"),
                                 b", ".join(recipients).decode("utf-8", "replace")), flush=True)


def serve(connection, folder):
    """One session."""
    stream = connection.makefile("rwb")

    def reply(line):
        stream.write(line + b"\r\n")
        stream.flush()

    reply(b"220 sink ESMTP")
    sender, recipients = b"", []
    while True:
        line = stream.readline(65536)
        if not line:
            break
        command = line.strip()
        verb = command[:4].upper()
        if verb == b"EHLO":
            reply(b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE")
        elif verb == b"MAIL":
            sender, recipients = command[10:].split(b" ")[0], []
            reply(b"250 2.1.0 Sender OK")
        elif verb == b"RCPT":
            recipients.append(command[8:].split(b" ")[0])
            reply(b"250 2.1.5 Recipient OK")
        elif verb == b"DATA":
            reply(b"354 Go ahead")
            content = []
            while True:
                line = stream.readline()
                if not line:
                    return
                if line in (b".\r\n", b".\n"):
                    break
                content.append(line[1:] if line.startswith(b".") else line)
            keep(folder, sender, recipients, b"".join(content))
            reply(b"250 2.0.0 Taken")
        elif verb == b"QUIT":
            reply(b"221 2.0.0 Bye")
            break
        elif verb in (b"HELO", b"RSET", b"NOOP"):
            reply(b"250 2.0.0 OK")
        else:
            reply(b"502 5.5.1 Not here")


def session(connection, folder):
    """Keeps a peer's faults from ending the sink."""
    try:
        serve(connection, folder)
    except OSError:
        pass
    finally:
        connection.close()


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    port, folder = int(sys.argv[1]), sys.argv[2]
    os.makedirs(folder, exist_ok=True)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(128)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=session, args=(connection, folder), daemon=True).start()


if __name__ == "__main__":
    main()
