import re

HEADER = re.compile(r"^([A-Za-z0-9-]+):\s*(.*)$")
ADDRESS = re.compile(r"<[^@>]+@[a-z.]+>")


def work():
    total = 0
    for i in range(10000):
        line = "X-Header-" + str(i) + ":  <user" + str(i) + "@mail.example.com> text"
        parts = HEADER.match(line)
        total += len(parts[1]) + len(parts[2])
        if ADDRESS.search(line):
            total += 1
    return total
