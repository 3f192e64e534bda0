#!/bin/bash
# Checks through the installed product, inside a booted system: mail in with nc, mail out to a sink,
# the command line, the web administration. Prints `ok   - …` and `FAIL - …` lines.
# scripts/test-install puts the sink and the object storage beside it, as /lab/sink.py and /lab/storage.py.
export LANG=C.UTF-8
check() {
    local text=$1 log; shift
    if log=$("$@" 2>&1); then echo "ok   - $text"
    else echo "FAIL - $text"; printf '%s\n' "$log" | tail -n 15 | sed 's/^/       | /'; fi
}
# Until the command succeeds, 15 seconds at most.
soon() { for _ in $(seq 75); do "$@" && return 0; sleep 0.2; done; return 1; }
port_answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

python3 /lab/sink.py 2599 /lab/mail >/lab/sink.log 2>&1 &
sink=$!
python3 /lab/storage.py 2598 /lab/objects KEYID top/secret+1 >/lab/storage.log 2>&1 &
storage=$!
trap 'kill $sink $storage' EXIT
check "the sink listens" soon port_answers 2599
check "the object storage listens" soon port_answers 2598

# The packaged configuration with one change: mail goes to the sink.
cp -p /etc/halon/smtpd-app.yaml /lab/smtpd-app.yaml
sed -i 's/^      - id: mx$/      - id: mx\n        connection:\n          server: 127.0.0.1\n          port: 2599/' /etc/halon/smtpd-app.yaml
check "the changed configuration is good" /opt/halon/sbin/smtpd --check -c /etc/halon/smtpd.yaml
check "halonctl reloads it" halonctl config reload

# Without pipelining: each line waits for the reply to the one before.
dialogue() {
    local line reply
    exec 3<>/dev/tcp/127.0.0.1/25 || return 1
    while read -r line; do
        [ "$line" = - ] || printf '%s\r\n' "$line" >&3
        case $line in Subject:* | '' | Body* | ..*) continue ;; esac
        while IFS= read -r -t 10 reply <&3; do
            echo "$reply"
            case $reply in [0-9][0-9][0-9]-*) ;; *) break ;; esac
        done
        case $reply in 2* | 3*) ;; *) return 1 ;; esac
    done
    exec 3>&-
}
first_message() {
    dialogue <<'M'
-
EHLO client.example.test
MAIL FROM:<sender@example.test>
RCPT TO:<recipient@example.test>
DATA
Subject: through the package

Body of the test.
.
QUIT
M
}
check "smtpd takes a message" first_message
check "nc gets a greeting" sh -c "printf 'QUIT\r\n' | nc -q 5 -w 5 127.0.0.1 25 | grep -q '^220 '"
check "the message arrives at the sink" soon grep -qs 'Body of the test' /lab/mail/1.eml
check "with its envelope" grep -q '^X-Envelope-To: <recipient@example.test>' /lab/mail/1.eml
check "and with a Received line" grep -qi '^Received: .*' /lab/mail/1.eml
empty() { ! halonctl --json queue list | grep -q '"id"'; }
check "the queue is empty again" soon empty
check "halonctl queue list answers" halonctl queue list
check "halonctl process-stats answers" sh -c 'halonctl process-stats | grep -q .'
check "the control socket belongs to group staff" sh -c '[ "$(stat -L -c "%G %a" /run/halon/smtpd.ctl)" = "staff 660" ]'
check "the spool is closed to others" sh -c '[ "$(stat -c "%U %a" /var/spool/halon/queue)" = "halon 750" ]'

# A wrong configuration is refused by the reload and changes nothing.
echo 'nonsense: true' >>/etc/halon/smtpd-app.yaml
check "a wrong configuration is refused by systemctl reload" sh -c '! systemctl reload halon'
check "and smtpd goes on" sh -c "systemctl is-active halon && printf 'QUIT\r\n' | nc -q 5 -w 5 127.0.0.1 25 | grep -q '^220 '"
cp -p /lab/smtpd-app.yaml /etc/halon/smtpd-app.yaml
check "the packaged configuration reloads" systemctl reload halon

# Scripts: checked, tried and tested with hsh, and found in the journal when they fail.
hsh() { (cd /lab && /opt/halon/bin/hsh "$@"); }
check "the page about scripts is installed" test -s /opt/halon/share/doc/scripting.md
check "hsh checks a script of the packaged configuration" hsh -s --hook eod/queue -A /etc/halon/smtpd-app.yaml
tried() {
    hsh --hook rcptto/relay -A /etc/halon/smtpd-app.yaml --connection '{"remoteip": "192.0.2.1"}' \
        --arguments '{"recipient": "b@example.test"}' | tee /dev/stderr | grep -q '550 5.7.1 Relaying is not permitted'
}
check "and shows what it decides" tried
for example in csv-schema/customers.hsl ffi-file/lines.hsl; do
    check "the example $example runs" hsh --ffi /opt/halon/share/examples/scripts/$example
done
mkdir /lab/scripts
printf '//@ example.test A 192.0.2.7\n//> 192.0.2.7\necho dns_query("example.test", ["type" => "A"])["result"][0];\n' >/lab/scripts/dns.hsl
check "hsh runs a folder of tests" hsh --test scripts
lint() { printf 'type: eod\ndata: |\n  %s\n' "$1" | /opt/halon/bin/hsl-lint 2>&1; }
check "hsl-lint lets a right script pass" lint 'Accept();'
refused() { ! lint 'Acept();' >/lab/lint && grep -q '^line: 1$' /lab/lint && grep -q 'there is no function Acept' /lab/lint; }
check "and says where a wrong one is wrong" refused
prompt() { printf 'function twice($n) { return $n * 2; }\ntwice(21)\nexit\n' | hsh | tee /dev/stderr | grep -qx 42; }
check "the prompt keeps functions, shows values and can be left" prompt
cat >/etc/halon/smtpd-app.yaml <<'Y'
version: "5.6"
servers:
  - id: default
    transport: none
    phases:
      mailfrom:
        hook: spend
transportgroups:
  - transports:
      - id: none
scripting:
  limits:
    depth: 20
    time: 1
  hooks:
    mailfrom:
      - id: spend
        data: |
          import { spend } from "lib.hsl";
          echo "asked to spend " . $arguments["address"]["localpart"];
          spend($arguments["address"]["localpart"]);
          Accept();
  files:
    - id: lib.hsl
      data: |
        function deep($n) { return $n == 0 ? 0 : deep($n - 1) + 1; }
        function spend($what) {
            if ($what == "deep") deep(30);
            if ($what == "loop") forever {}
            if ($what == "fault") lookup(["key" => $what]);
        }
        function lookup($table) { return $table["key"]["secret word"](); }
Y
check "a configuration with limits of scripts reloads" systemctl reload halon
fails() {
    printf 'EHLO c\r\nMAIL FROM:<%s@example.test>\r\nQUIT\r\n' "$1" | nc -q 5 -w 5 127.0.0.1 25 |
        tee /dev/stderr | grep -q '^450 4.7.1 Sender deferred'
}
journal() { journalctl --no-pager -o cat -u halon >/lab/journal; grep -E "$1" /lab/journal; }
for what in deep loop fault; do check "a script that fails by $what defers the mail" fails $what; done
check "the journal names the limit of calls" soon journal 'script.failed hook=mailfrom/spend error="recursion limit of 20 calls exceeded in lib.hsl on line 1'
check "and the calls that led there" journal 'in function deep, entered at lib.hsl:1:[0-9]+ \(18 steps alike\); in function deep, entered at lib.hsl:3:26; in function spend, entered at mailfrom/spend:3:'
check "and the limit of time" soon journal 'the script did not end within 1 s in lib.hsl on line 4'
check "and the code of a fault without its texts" soon journal 'code=".*return [$]table\[.{1,2}key.{1,2}\]\[.{1,2}….{1,2}\]\(\);'
check "but not what they say" sh -c '! grep -q "secret word" /lab/journal'
check "and what scripts echo, with the transaction" journal '^\[[0-9a-f-]{36}\] script.echoed text="asked to spend deep"'
cp -p /lab/smtpd-app.yaml /etc/halon/smtpd-app.yaml
check "the packaged configuration reloads once more" systemctl reload halon

# Plugins, built from the installed examples against the installed header.
if [ -d /opt/halon/share/examples/plugins ]; then
    export HOME=/root GOCACHE=/lab/go GOPROXY=off GOFLAGS=-mod=mod
    callable="upper-c counter-cpp sleep-go reverse-rust"
    for example in $callable deliver-at-c warmup-cpp file-deliver-c folder-inject-c s3-deliver-c; do
        cp -r /opt/halon/share/examples/plugins/$example /lab/$example
        check "make builds $example against /opt/halon/include/HalonMTA.h" make -C /lab/$example
    done
    for example in $callable; do
        check "make install puts $example where smtpd looks" make -C /lab/$example install
    done
    cat >/etc/halon/smtpd-app.yaml <<'Y'
version: "5.6"
servers:
  - id: default
    transport: none
    phases:
      mailfrom:
        hook: plugins
transportgroups:
  - transports:
      - id: none
scripting:
  hooks:
    mailfrom:
      - id: plugins
        data: |
          import { upper } from "extras://upper";
          import { Counter } from "extras://counter";
          import { sleep as doze } from "extras://sleep";
          import { reverse, reverse_later } from "extras://reverse";
          Accept(["reason" => upper("from c") . " " . Counter()->add(2)->add(3)->value() . " slept " . doze(0.2)
              . " " . reverse("tsur") . " " . reverse_later("retal", 0.2)]);
Y
    check "smtpd starts with the four plugins" systemctl restart halon
    calls() {
        printf 'EHLO c\r\nMAIL FROM:<a@example.test>\r\nQUIT\r\n' | nc -q 5 -w 5 127.0.0.1 25 |
            tee /dev/stderr | grep -q 'FROM C 5 slept 0\.2 rust later'
    }
    check "a hook calls C, C++, Go and Rust" calls

    # A source of mail, a wait, and two ways to deliver.
    for example in deliver-at-c warmup-cpp file-deliver-c folder-inject-c; do
        check "make install puts $example where smtpd looks" make -C /lab/$example install
    done
    install -d -o halon -g halon -m 750 /var/spool/halon/archive /var/spool/halon/incoming
    cp -p /etc/halon/smtpd.yaml /lab/smtpd.yaml
    sed -i 's/^servers:$/servers:\n  - id: folder\n    type: plugin/' /etc/halon/smtpd.yaml
    cat >>/etc/halon/smtpd.yaml <<'Y'
plugins:
  - id: file-deliver
    config:
      folder: /var/spool/halon/archive
  - id: folder-inject
    config:
      folder: /var/spool/halon/incoming
      serverid: folder
      interval: 1
Y
    # configure: standard input becomes the running configuration, with a transport to the sink in it.
    configure() {
        {
            cat <<'Y'
version: "5.6"
transportgroups:
  - id: group
    transports:
      - id: out
        connection:
          server: 127.0.0.1
          port: 2599
Y
            cat
        } >/etc/halon/smtpd-app.yaml
    }
    configure <<'Y'
servers:
  - id: default
    transport: out
  - id: folder
    type: plugin
    transport: out
    phases:
      eod:
        hook: folder
scripting:
  hooks:
    eod:
      - id: folder
        data: |
          import { deliver_at } from "extras://deliver-at";
          foreach ($arguments["mail"]->getHeaders("To") as $to)
              $arguments["mail"]->queue("", trim($to), "out", ["jobid" => deliver_at(time() + 8)]);
          Accept();
    predelivery: |
      if ($message["recipientaddress"]["localpart"] == "archive") Try(["plugin" => ["id" => "file-deliver"]]);
      Try();
Y
    check "smtpd starts with plugins that bring in, hold and deliver mail" systemctl restart halon
    for to in archive late; do
        printf 'To: %s@example.test\n\nfrom the folder to %s\n' $to $to >/var/spool/halon/incoming/$to.tmp
        mv /var/spool/halon/incoming/$to.tmp /var/spool/halon/incoming/$to.eml
    done
    taken() { [ -z "$(ls /var/spool/halon/incoming)" ]; }
    check "what lies in the folder is injected and removed" soon taken
    held() { halonctl queue suspend list | grep -q 'at:'; }
    check "it waits for its time behind a suspend" soon held
    stored() { grep -qs 'from the folder to archive' /var/spool/halon/archive/*.eml; }
    check "a plugin delivers it to a file" soon stored
    arrived() { grep -qs 'from the folder to late' /lab/mail/*.eml; }
    check "and the other goes out by SMTP" soon arrived

    # An object storage that checks signatures.
    check "make install puts s3-deliver-c where smtpd looks" make -C /lab/s3-deliver-c install
    to_storage() { # SECRET
        cp -p /lab/smtpd.yaml /etc/halon/smtpd.yaml
        cat >>/etc/halon/smtpd.yaml <<Y
plugins:
  - id: s3-deliver
    config:
      endpoint: http://127.0.0.1:2598
      bucket: mail
      region: eu-test-1
      keyid: KEYID
      secret: $1
Y
        systemctl restart halon
    }
    configure <<'Y'
servers:
  - id: default
    transport: out
scripting:
  hooks:
    predelivery: |
      $to = $message["recipientaddress"]["localpart"];
      if ($to == "copy") Try();
      Try(["plugin" => ["id" => "s3-deliver", "arguments" => ["key" => "in box/" . $to . ".eml"]]]);
    postdelivery: |
      if (isset($arguments["attempt"]["plugin"]))
          syslog("info", "storage said " . $arguments["attempt"]["plugin"]["return"]["status"] . " for "
              . $message["recipientaddress"]["localpart"]);
Y
    # send TO...: one message through port 25.
    send() {
        local to
        {
            printf '%s\n' - 'EHLO client.example.test' 'MAIL FROM:<sender@example.test>'
            for to in "$@"; do echo "RCPT TO:<$to@example.test>"; done
            printf '%s\n' DATA "Subject: to $*" '' "Body for $*" '..dotted' . QUIT
        } | dialogue
    }
    storage_said() { # STATUS TO
        grep -q "^PUT /mail/in%20box/$2.eml: $1" /lab/storage.log && journalctl -u halon | grep -q "storage said $1 for $2"
    }
    object=/lab/objects/mail/in%20box/object.eml
    body() { printf 'Body for object copy\r\n.dotted\r\n' | cmp - <(sed '1,/^\r$/d' "$object"); }
    # The same message went to the sink, which writes the two lines of the envelope before it.
    copy() { cmp "$object" <(sed 1,2d "$(grep -l '^X-Envelope-To: <copy@' /lab/mail/*.eml)"); }
    check "smtpd starts with the plugin for the object storage" to_storage top/secret+1
    check "smtpd takes a message for the storage and the sink" send object copy
    check "the storage takes the signed message, and the script hears it" soon storage_said 200 object
    check "what is stored ends with what was sent" body
    check "and is octet for octet what went out by SMTP" soon copy
    check "the queue is empty after it" soon empty
    check "smtpd starts with another secret" to_storage another
    check "smtpd takes a message that will be refused" send wrong
    check "the storage refuses the signature, and the script hears it" soon storage_said 403 wrong
    check "nothing of it is stored" test ! -e /lab/objects/mail/in%20box/wrong.eml
    check "and it does not wait" soon empty

    # A source address that may send two messages on its first day and five on its second. The days are those
    # of UTC: none may begin between two checks.
    while [ "$(date -u +%H%M)" -ge 2357 ]; do sleep 1; done
    cp -p /lab/smtpd.yaml /etc/halon/smtpd.yaml
    printf 'version: "5.6"\npolicies:\n  - fields: [localip]\n' >/etc/halon/smtpd-policy.yaml
    warming() { # DAYS: since the first one
        cat >/etc/halon/smtpd-app.yaml <<Y
version: "5.6"
servers:
  - id: default
    transport: out
plugins:
  - id: warmup-plan
    config:
      plan: [2, 5]
      addresses:
        - address: 127.0.0.2
          start: $(date -u -d "$1 days ago" +%F)
addresses:
  - id: two
    address: 127.0.0.2
transportgroups:
  - id: group
    transports:
      - id: out
        connection:
          server: 127.0.0.1
          port: 2599
          sourceip:
            addresses: [two]
Y
    }
    # warm N: exactly N of the eight have arrived, and the others wait.
    warm() {
        [ "$(grep -ls '^Body for warm' /lab/mail/*.eml | wc -l)" = "$1" ] &&
            [ "$(halonctl --json queue list | grep -o '"id"' | wc -l)" = $((8 - $1)) ]
    }
    warming 0
    check "smtpd starts with a plan for a source address" systemctl restart halon
    for number in 1 2 3 4 5 6 7 8; do check "smtpd takes message $number of eight" send "warm$number"; done
    check "the first day's two go out" soon warm 2
    sleep 2
    check "and no third" warm 2
    # A start counts anew.
    warming 1
    check "smtpd starts with the plan a day later" systemctl restart halon
    check "the second day's five go out" soon warm 7
    sleep 2
    check "and no sixth" warm 7
    warming 2
    check "smtpd reloads the plan when its days are over" systemctl reload halon
    check "the last one is released" soon warm 8
    rm -f /etc/halon/smtpd-policy.yaml

    # Packages of a plugin, made with the template against the installed header. The system's own package
    # manager is dpkg: rpm gets a database of its own, and does not know of ours.
    rm -rf /opt/halon/plugins
    mkdir /lab/packages
    cp -r /opt/halon/share/examples/plugins/{upper-c,package-template} /lab/packages/
    check "the template makes packages" sh -c 'cd /lab/packages && package-template/make-packages'
    cat >/etc/halon/smtpd-app.yaml <<'Y'
version: "5.6"
servers:
  - id: default
    transport: none
    phases:
      mailfrom:
        hook: packed
transportgroups:
  - transports:
      - id: none
scripting:
  hooks:
    mailfrom:
      - id: packed
        data: |
          import { upper } from "extras://upper";
          Accept(["reason" => upper("from a package")]);
Y
    echo 'import { upper } from "extras://upper"; echo upper("x");' >/lab/upper.hsl
    packed() {
        printf 'EHLO c\r\nMAIL FROM:<a@example.test>\r\nQUIT\r\n' | nc -q 5 -w 5 127.0.0.1 25 |
            tee /dev/stderr | grep -q 'FROM A PACKAGE'
    }
    for format in deb rpm; do
        case $format in
        deb) in=(dpkg -i /lab/packages/*.deb) out=(dpkg -r halon-extras-upper) ;;
        rpm) in=(rpm --dbpath /lab/rpm -i --nodeps /lab/packages/*.rpm) out=(rpm --dbpath /lab/rpm -e halon-extras-upper) ;;
        esac
        check "the .$format of the plugin is installed" "${in[@]}"
        check "smtpd starts with the plugin of the .$format" systemctl restart halon
        check "a hook calls it" packed
        check "a script in hsh does" sh -c '/opt/halon/bin/hsh /lab/upper.hsl | grep -qx X'
        check "the .$format is removed" "${out[@]}"
        check "and nothing of it is left" test ! -e /opt/halon/plugins
    done

    rm -rf /opt/halon/plugins /var/spool/halon/archive /var/spool/halon/incoming
    cp -p /lab/smtpd.yaml /etc/halon/smtpd.yaml
    cp -p /lab/smtpd-app.yaml /etc/halon/smtpd-app.yaml
    check "and starts without them" systemctl restart halon
fi

check "the web administration shows its login page" sh -c 'curl -sS -L http://127.0.0.1:8080/ | grep -qi password'
check "and lets nobody in without one" sh -c '[ "$(curl -s -o /dev/null -w "%{http_code}" http://127.0.0.1:8080/queue)" != 200 ]'
for unit in halon halon-web; do
    score=$(systemd-analyze security --no-pager "$unit.service" | sed -n 's/.*level for [^:]*: \([0-9.]*\).*/\1/p')
    check "$unit.service is confined (exposure $score)" awk -v s="$score" 'BEGIN { exit !(s != "" && s <= 2.0) }'
done
