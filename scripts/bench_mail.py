"""The measuring half of scripts/bench-mail; see there for what it does and how to call it."""
import argparse
import collections
import glob
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

TICK = os.sysconf("SC_CLK_TCK")
PATIENCE = 300.0


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port, what):
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit("error: %s does not answer on port %d" % (what, port))


def tree(root):
    """Process ids of `root` and all below it."""
    children = collections.defaultdict(list)
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path) as file:
                fields = file.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        children[int(fields[1])].append(int(path.split("/")[2]))
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo.extend(children[pid])
    return found


def cpu_seconds(root):
    """User and system time of a process, its children and what they reaped."""
    ticks = 0
    for pid in tree(root):
        try:
            with open("/proc/%d/stat" % pid) as file:
                fields = file.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        ticks += sum(int(field) for field in fields[11:15])
    return ticks / TICK


def end_all(process):
    """Ends a process and all below it: a tracer does not hand the signal on."""
    family = tree(process.pid)
    for pid in reversed(family):
        signal_to(pid, signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in family[1:]:
        signal_to(pid, signal.SIGKILL)


def signal_to(pid, number):
    try:
        os.kill(pid, number)
    except OSError:
        pass


class Sink:
    """smtp-sink, and how many messages it took."""

    def __init__(self, folder, keep):
        self.port = free_port()
        self.count = 0
        self.arrived = threading.Event()
        self.wanted = None
        self.dump = None
        command = ["smtp-sink", "-c", "-u", "nobody"]
        if keep:
            self.dump = tempfile.mkdtemp(prefix="sink", dir=folder)
            shutil.chown(self.dump, "nobody")
            command += ["-R", self.dump, "-D", "all."]
        command += ["127.0.0.1:%d" % self.port, "1024"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        threading.Thread(target=self.read, daemon=True).start()
        wait_for_port(self.port, "smtp-sink")

    def read(self):
        while True:
            chunk = os.read(self.process.stdout.fileno(), 65536)
            if not chunk:
                return
            found = re.findall(rb"mesg=(\d+)", chunk)
            if found:
                self.count = int(found[-1])
                if self.wanted is not None and self.count >= self.wanted:
                    self.arrived.set()

    def wait(self, wanted):
        self.arrived.clear()
        self.wanted = wanted
        if self.count < wanted:
            self.arrived.wait(PATIENCE)
        return self.count

    def ids(self):
        """Message-Id header to how often it arrived."""
        seen = collections.Counter()
        for path in glob.glob(os.path.join(self.dump, "*")):
            with open(path, "rb") as file:
                for line in file:
                    if line[:11].lower() == b"message-id:":
                        seen[line[11:].strip()] += 1
        return seen

    def end(self):
        self.process.kill()
        self.process.wait()


class Smtpd:
    name = "smtpd"

    def __init__(self, folder, sink_port, options, tracer=()):
        self.folder = tempfile.mkdtemp(prefix="smtpd", dir=folder)
        self.port = free_port()
        at = lambda name: os.path.join(self.folder, name)
        with open(at("smtpd.yaml"), "w") as file:
            file.write(
                'version: "5.6"\nservers:\n  - id: default\n    listeners:\n      - port: %d\n'
                "        address: 127.0.0.1\nspool:\n  path: %s\nenvironment:\n  appconf: %s\n"
                "  policyconf: %s\n  suspendconf: %s\n  deliveryconf: %s\n"
                "  controlsocket:\n    path: %s\n"
                % (self.port, at("queue"), at("smtpd-app.yaml"), at("smtpd-policy.yaml"),
                   at("smtpd-suspend.yaml"), at("smtpd-delivery.yaml"), at("smtpd.ctl")))
        hook = "    phases:\n      eod:\n        hook: queue\n" if options.script else ""
        script = (
            "scripting:\n  hooks:\n    eod:\n      - id: queue\n        data: |\n"
            '          foreach ($transaction["recipients"] as $recipient)\n'
            '            $arguments["mail"]->queue($transaction["senderaddress"], $recipient["address"],'
            ' $recipient["transportid"]);\n          Accept();\n' if options.script else "")
        with open(at("smtpd-app.yaml"), "w") as file:
            file.write(
                'version: "5.6"\nservers:\n  - id: default\n    transport: sink\n%s'
                "transportgroups:\n  - transports:\n      - id: sink\n        connection:\n"
                "          server: 127.0.0.1\n          port: %d\n%s" % (hook, sink_port, script))
        with open(at("smtpd-policy.yaml"), "w") as file:
            # As many connections to the next hop as Postfix makes.
            file.write('version: "5.6"\npolicies:\n  - fields: [remotemx]\n    default:\n'
                       "      concurrency: 20\n")
        with open(at("smtpd-suspend.yaml"), "w") as file:
            file.write('version: "5.6"\nsuspends: []\n')
        with open(at("smtpd-delivery.yaml"), "w") as file:
            file.write('version: "5.6"\ndelivery:\n  default:\n    pooling:\n      enabled: true\n'
                       "      timeout: 10\n      transactions: 100000\n")
        self.log = open(at("log"), "w")
        program = [os.path.join(options.programs, "smtpd"), "-f", "-c", at("smtpd.yaml")]
        self.process = subprocess.Popen(list(tracer) + program, stdout=self.log, stderr=self.log)
        wait_for_port(self.port, "smtpd")

    @property
    def root(self):
        return self.process.pid

    def end(self):
        end_all(self.process)
        self.log.close()


class Postfix:
    name = "postfix"

    def __init__(self, folder, sink_port, options, tracer=()):
        self.folder = tempfile.mkdtemp(prefix="postfix", dir=folder)
        # Postfix's users must reach their folders.
        os.chmod(self.folder, 0o755)
        self.port = free_port()
        at = lambda name: os.path.join(self.folder, name)
        for name in ("etc", "queue", "data"):
            os.mkdir(at(name))
        shutil.chown(at("data"), "postfix", "postfix")
        with open(at("etc/main.cf"), "w") as file:
            file.write("\n".join([
                "compatibility_level = 3.6",
                "queue_directory = " + at("queue"),
                "data_directory = " + at("data"),
                "command_directory = /usr/sbin",
                "daemon_directory = /usr/lib/postfix/sbin",
                "mail_owner = postfix", "setgid_group = postdrop",
                "myhostname = postfix.example.test", "mydestination =",
                "inet_interfaces = 127.0.0.1", "inet_protocols = ipv4",
                "mynetworks = 127.0.0.0/8", "smtpd_relay_restrictions = permit_mynetworks, reject",
                "smtpd_recipient_restrictions =", "relayhost = [127.0.0.1]:%d" % sink_port,
                "alias_maps =", "alias_database =", "local_recipient_maps =",
                "smtpd_peername_lookup = no", "smtp_host_lookup = native", "disable_dns_lookups = yes",
                "in_flow_delay = 0", "default_process_limit = 100",
                "initial_destination_concurrency = 20", "default_destination_concurrency_limit = 20",
                "qmgr_message_active_limit = 40000",
                "smtp_connection_cache_destinations = [127.0.0.1]:%d" % sink_port,
                "smtpd_client_connection_count_limit = 0", "smtpd_client_connection_rate_limit = 0",
                "receive_override_options = no_address_mappings, no_header_body_checks",
                "smtpd_tls_security_level = none", "smtp_tls_security_level = none", ""]))
        with open(at("etc/master.cf"), "w") as file:
            file.write("\n".join([
                "127.0.0.1:%d inet n - n - - smtpd" % self.port,
                "pickup unix n - n 60 1 pickup", "cleanup unix n - n - 0 cleanup",
                "qmgr unix n - n 300 1 qmgr", "tlsmgr unix - - n 1000? 1 tlsmgr",
                "rewrite unix - - n - - trivial-rewrite", "bounce unix - - n - 0 bounce",
                "defer unix - - n - 0 bounce", "trace unix - - n - 0 bounce",
                "verify unix - - n - 1 verify", "flush unix n - n 1000? 0 flush",
                "proxymap unix - - n - - proxymap", "proxywrite unix - - n - 1 proxymap",
                "smtp unix - - n - - smtp", "relay unix - - n - - smtp",
                "showq unix n - n - - showq", "error unix - - n - - error",
                "retry unix - - n - - error", "discard unix - - n - - discard",
                "scache unix - - n - 1 scache", "anvil unix - - n - 1 anvil", ""]))
        subprocess.run(["postfix", "-c", at("etc"), "set-permissions"], check=False,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        subprocess.run(["postfix", "-c", at("etc"), "check"], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        master = ["/usr/lib/postfix/sbin/master", "-c", at("etc"), "-d"]
        environment = dict(os.environ, MAIL_CONFIG=at("etc"))
        self.process = subprocess.Popen(list(tracer) + master, env=environment,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for_port(self.port, "Postfix")

    @property
    def root(self):
        return self.process.pid

    def end(self):
        end_all(self.process)


def load(port, messages, options):
    """Runs smtp-source; returns when it has handed over everything."""
    command = ["smtp-source", "-s", str(options.sessions), "-m", str(messages), "-l", str(options.size),
               "-d", "-f", "sender@example.test", "-t", "recipient@example.test", "127.0.0.1:%d" % port]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=PATIENCE)
    if done.returncode != 0:
        sys.exit("error: smtp-source: " + done.stderr.decode(errors="replace"))


def timed(server_class, folder, options):
    """One round: messages per second and CPU seconds per 1,000 messages."""
    sink = Sink(folder, keep=False)
    server = server_class(folder, sink.port, options)
    try:
        load(server.port, 200, options)
        sink.wait(200)
        before = cpu_seconds(server.root)
        begin = time.monotonic()
        load(server.port, options.messages, options)
        handed_over = time.monotonic() - begin
        count = sink.wait(200 + options.messages) - 200
        took = time.monotonic() - begin
        cpu = cpu_seconds(server.root) - before
    finally:
        server.end()
        sink.end()
    if count != options.messages:
        sys.exit("error: %s delivered %d of %d" % (server_class.name, count, options.messages))
    return count / took, cpu * 1000 / count, options.messages / handed_over


def exactly_once(server_class, folder, options):
    """How many messages did not arrive, and how many arrived more than once."""
    sink = Sink(folder, keep=True)
    server = server_class(folder, sink.port, options)
    try:
        load(server.port, options.messages, options)
        sink.wait(options.messages)
        # Whatever would come twice gets the time to come.
        time.sleep(2)
    finally:
        server.end()
        sink.end()
    seen = sink.ids()
    shutil.rmtree(sink.dump)
    return options.messages - len(seen), sum(count - 1 for count in seen.values())


def syncs(server_class, folder, options):
    """fsync and fdatasync calls per message."""
    messages = min(options.messages, 4000)
    log = os.path.join(folder, "%s.strace" % server_class.name)
    tracer = ["strace", "--seccomp-bpf", "-f", "-q", "-e", "trace=fsync,fdatasync,sync_file_range,syncfs,sync",
              "-e", "signal=none", "-o", log]
    sink = Sink(folder, keep=False)
    server = server_class(folder, sink.port, options, tracer)
    try:
        before = os.path.getsize(log)
        load(server.port, messages, options)
        sink.wait(messages)
    finally:
        server.end()
        sink.end()
    with open(log) as file:
        file.seek(before)
        count = sum(1 for line in file if re.search(r"\b(fsync|fdatasync|syncfs|sync)\(", line))
    return count / messages


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench mail")
    parser.add_argument("--programs", required=True)
    parser.add_argument("--messages", type=int, default=20000)
    parser.add_argument("--size", type=int, default=10240)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["smtpd", "postfix"])
    parser.add_argument("--script", action="store_true")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    servers = [server for server in (Smtpd, Postfix) if options.only in (None, server.name)]
    folder = tempfile.mkdtemp(prefix="bench-mail")
    os.chmod(folder, 0o755)
    print("%d messages of %d octets, %d sessions, %d rounds in turns, %d cores, load %.1f"
          % (options.messages, options.size, options.sessions, options.rounds, os.cpu_count(),
             os.getloadavg()[0]), flush=True)
    rounds = {server.name: [] for server in servers}
    try:
        for number in range(options.rounds):
            for server in servers:
                rate, cpu, accepted = timed(server, folder, options)
                rounds[server.name].append((rate, cpu, accepted))
                print("round %d  %-8s %7.0f messages/s delivered, %7.0f accepted, "
                      "%.3f CPU s per 1,000" % (number + 1, server.name, rate, accepted, cpu), flush=True)
        middle = {}
        for server in servers:
            lost, twice = exactly_once(server, folder, options)
            middle[server.name] = (
                statistics.median(row[0] for row in rounds[server.name]),
                statistics.median(row[1] for row in rounds[server.name]),
                syncs(server, folder, options), lost, twice)
    finally:
        if options.keep:
            print("kept: " + folder)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    print()
    print("%-10s %12s %16s %18s %6s %6s"
          % ("", "messages/s", "CPU s per 1,000", "syncs per message", "lost", "twice"))
    for name, row in middle.items():
        print("%-10s %12.0f %16.3f %18.3f %6d %6d" % ((name,) + row))
    if len(middle) == 2:
        ours, theirs = middle["smtpd"], middle["postfix"]
        print("\nsmtpd beside postfix: %.2f times the rate, %.3f of the CPU time, %.3f of the syncs"
              % (ours[0] / theirs[0], ours[1] / theirs[1], ours[2] / max(theirs[2], 1e-9)))
    if any(row[3] or row[4] for row in middle.values()):
        sys.exit(1)


main()
