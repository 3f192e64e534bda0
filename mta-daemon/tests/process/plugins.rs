//! Delivery and queue plugins, in C, inside the running program.

use std::path::Path;

use testkit::smtp_client::SmtpClient;
use testkit::smtp_sink::SmtpSink;

use crate::support::{Program, command, compile, configured};

pub(crate) async fn send(program: &Program, to: &str) {
    let (mut client, _) = SmtpClient::connect(program.address).await;
    client.command("EHLO client.example").await;
    let message = "Subject: for a plugin\r\n\r\nText\r\n";
    let reply = client.deliver("a@client.example", &[to], message).await;
    assert!(reply.starts_with("250 "), "{reply}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_delivers_and_the_script_sees_what_it_returned() {
    let build = tempfile::tempdir().unwrap();
    let library = compile(DELIVER, "filer", build.path());
    let startup = format!("plugins:\n  - id: filer\n    path: {}\n", library.display());
    let copy = build.path().join("copy.eml");
    let running = format!(
        "transportgroups:\n  - id: group\n    transports:\n      - id: out\n        connection:\n          \
         server: 0.0.0.0\n\
         scripting:\n  hooks:\n    predelivery: |\n      \
         $to = $message[\"recipientaddress\"][\"localpart\"];\n      \
         if ($to == \"nobody\") Try([\"plugin\" => [\"id\" => \"absent\"]]);\n      \
         Try([\"plugin\" => [\"id\" => \"filer\", \"arguments\" => [\"path\" => \"{}\", \"code\" => $to]]]);\n    \
         postdelivery: |\n      \
         $attempt = $arguments[\"attempt\"];\n      \
         syslog(\"info\", \"ended \" . json_encode([$attempt[\"result\"][\"code\"], $attempt[\"result\"][\"reason\"],\n        \
         $attempt[\"error\"][\"type\"], $attempt[\"plugin\"][\"return\"], $arguments[\"action\"]]));\n      \
         if (isset($arguments[\"action\"])) Delete();\n",
        copy.display()
    );
    let dir = configured(&startup, &running);
    let program = Program::start(dir.path());

    send(&program, "250@example.org").await;
    let line = program.log_until("ended [250");
    assert!(line.contains(r#"ended [250,["stored for example.org"],null,{"octets":"#), "{line}");
    let stored = std::fs::read_to_string(&copy).unwrap();
    assert!(stored.starts_with("Received: ") && stored.ends_with("\r\n\r\nText\r\n"), "{stored}");
    let octets = line.split("\"octets\":").nth(1).and_then(|rest| rest.split('}').next()).unwrap();
    assert_eq!(octets.parse(), Ok(stored.len()));

    send(&program, "550@example.org").await;
    let line = program.log_until("ended [550");
    assert!(line.contains("\"DELETE\""), "a final refusal without DSN settings: {line}");

    send(&program, "0@example.org").await;
    let line = program.log_until("ended [null,null,\"plugin\",{");
    assert!(line.contains("\"QUEUE\""), "an error is temporary: {line}");

    send(&program, "nobody@example.org").await;
    let line = program.log_until("ended [null,null,\"plugin\",null,");
    assert!(line.contains("\"QUEUE\""), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queue_plugins_give_messages_back_and_take_source_addresses_away() {
    let sink = SmtpSink::start().await;
    let build = tempfile::tempdir().unwrap();
    let library = compile(DECIDE, "decider", build.path());
    let startup = format!("plugins:\n  - id: decider\n    path: {}\n", library.display());
    let running = format!(
        "queues:\n  grouping:\n    groupings:\n      - id: friends\n        recipientdomain: [example.org]\n\
         addresses:\n  - id: two\n    address: 127.0.0.2\n  - id: three\n    address: 127.0.0.3\n\
         transportgroups:\n  - id: group\n    transports:\n      - id: out\n        connection:\n          \
         server: 127.0.0.1\n          port: {}\n          sourceip:\n            addresses: [two, three]\n\
         scripting:\n  hooks:\n    predelivery: |\n      \
         $returned = $arguments[\"queue\"][\"plugin\"][\"return\"];\n      \
         syslog(\"info\", \"asked again for \" . json_encode($returned));\n      \
         if ($returned == \"refused 1 for example.org\") Queue([\"delay\" => 0.1]);\n      \
         Try();\n    postdelivery: |\n      \
         syslog(\"info\", \"ended \" . json_encode([$arguments[\"attempt\"][\"connection\"][\"localip\"],\n        \
         $arguments[\"attempt\"][\"error\"][\"type\"], $arguments[\"queue\"][\"plugin\"][\"return\"]]));\n      \
         if (isset($arguments[\"action\"])) Delete();\n",
        sink.address.port()
    );
    let dir = configured(&startup, &running);
    let program = Program::start(dir.path());

    send(&program, "to@example.org").await;
    // Given back twice. The script queues the message the first time: when it runs again, that is over.
    program.log_until("asked again for null");
    program.log_until("asked again for \"refused 1 for example.org\"");
    let line = program.log_until("asked again for ");
    assert!(line.contains("asked again for null"), "{line}");
    program.log_until("asked again for \"refused 2 for example.org\"");
    let line = program.log_until("ended [");
    assert!(line.contains("ended [\"127.0.0.3\",null,null]"), "{line}");
    assert_eq!(sink.wait_for(1).await.len(), 1);
    // The grouping is known before the row has entered.
    program.log_until("enters with grouping &friends");

    // No address is left: the message fails for now, and the script hears why.
    send(&program, "to@closed.example").await;
    let line = program.log_until("ended [null,");
    assert!(line.contains("ended [null,\"plugin\",{\"error\":\"NO_IPS\"}]"), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugins_add_lists_policies_and_suspends_from_their_first_call_on() {
    let sink = SmtpSink::start().await;
    let build = tempfile::tempdir().unwrap();
    let library = compile(RULES, "rules", build.path());
    let startup = format!("plugins:\n  - id: rules\n    path: {}\n", library.display());
    let running = format!(
        "transportgroups:\n  - id: group\n    transports:\n      - id: out\n        connection:\n          \
         server: 127.0.0.1\n          port: {}\n\
         scripting:\n  hooks:\n    postdelivery: |\n      \
         syslog(\"info\", \"tags \" . json_encode([$message[\"recipient\"], $arguments[\"policy\"][\"tags\"]]));\n",
        sink.address.port()
    );
    let dir = configured(&startup, &running);
    // The list is the plugin's; the counter is there for its policy.
    let policies = "version: \"5.6\"\npolicies:\n  - fields: [recipientdomain]\n    conditions:\n      \
                    - if:\n          recipientdomain: '@known'\n        then:\n          tag: listed\n";
    std::fs::write(dir.path().join("smtpd-policy.yaml"), policies).unwrap();
    let program = Program::start(dir.path());

    send(&program, "to@held.example").await;
    send(&program, "to@listed.example").await;
    send(&program, "to@added.example").await;
    let line = program.log_until("tags [\"to@listed.example\"");
    assert!(line.contains("[\"listed\"]"), "{line}");
    let line = program.log_until("tags [\"to@added.example\"");
    assert!(line.contains("[\"added\"]"), "{line}");
    // The suspend ends after a second, and the message that came first goes last.
    let arrived = sink.wait_for(3).await;
    assert_eq!(arrived[2].to, ["<to@held.example>"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_plugin_injects_goes_through_the_hook_of_its_server() {
    let sink = SmtpSink::start().await;
    let build = tempfile::tempdir().unwrap();
    let library = compile(INJECT, "injector", build.path());
    let startup = format!("plugins:\n  - id: injector\n    path: {}\n", library.display());
    let running = format!(
        "  - id: plugged\n    type: plugin\n    transport: out\n    phases:\n      eod:\n        hook: queue\n\
         transportgroups:\n  - id: group\n    transports:\n      - id: out\n        connection:\n          \
         server: 127.0.0.1\n          port: {}\n\
         scripting:\n  hooks:\n    eod:\n      - id: queue\n        data: |\n          \
         syslog(\"info\", \"injected \" . json_encode([$arguments[\"metadata\"], $connection[\"serverid\"], \
         isset($connection[\"remoteip\"])]));\n          \
         if ($transaction[\"sender\"] == \"\") Reject(\"no sender\");\n          \
         foreach ($transaction[\"recipients\"] as $r) $arguments[\"mail\"]->queue(\
         $transaction[\"senderaddress\"], $r[\"address\"], $r[\"transportid\"]);\n          \
         Accept();\n",
        sink.address.port()
    );
    let dir = configured(&startup, &running);
    let file = dir.path().join("smtpd.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replacen("servers:\n", "servers:\n  - id: plugged\n    type: plugin\n", 1);
    std::fs::write(&file, text).unwrap();
    let program = Program::start(dir.path());

    program.log_until("result for good: 250");
    program.log_until("injected [{\"k\":\"v\"},\"plugged\",false]");
    let message = sink.wait_for(1).await.remove(0);
    assert!(message.from.starts_with("<from@client.example>"), "{}", message.from);
    assert_eq!(message.to, ["<to@example.org>"]);
    // Line ends are those of the wire, and nobody is said to have sent it over SMTP.
    assert!(message.content.starts_with("Received: by "), "{}", message.content);
    assert!(message.content.ends_with("Subject: put in\r\n\r\none\r\ntwo\r\n"));
    program.log_until("result for refused: 550");
    program.log_until("there is no such server");
    program.log_until("aborted quietly");
    assert_eq!(sink.messages().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_does_not_fit_the_schema_of_the_plugin_is_refused() {
    let build = tempfile::tempdir().unwrap();
    let library = compile(RELOADED, "reloaded", build.path());
    let startup = |key: &str| {
        let library = library.display();
        format!("plugins:\n  - id: reloaded\n    path: {library}\n    config:\n      {key}: 0640\n")
    };
    let install = |dir: &Path| {
        let share = dir.join("share/plugins");
        std::fs::create_dir_all(&share).unwrap();
        std::fs::create_dir_all(dir.join("plugins")).unwrap();
        std::fs::write(share.join("reloaded.schema.json"), SCHEMA).unwrap();
        std::fs::write(share.join("reloaded-app.schema.json"), SCHEMA).unwrap();
    };
    // Before it is loaded: its constructor would say so.
    let dir = configured(&startup("chomd"), TRANSPORT);
    install(dir.path());
    let refused = command(dir.path()).output().unwrap();
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success(), "{text}");
    assert!(text.contains("plugin reloaded: config: ") && text.contains("chomd"), "{text}");
    assert!(!text.contains("reloaded is loaded"), "{text}");

    let running =
        format!("{TRANSPORT}plugins:\n  - id: reloaded\n    config:\n      chmod: 0600\n");
    let dir = configured(&startup("chmod"), &running);
    install(dir.path());
    let program = Program::start(dir.path());
    let file = dir.path().join("smtpd-app.yaml");
    let good = std::fs::read_to_string(&file).unwrap();
    let reload = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let id = i32::try_from(program.id()).expect("a process id");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), nix::sys::signal::Signal::SIGHUP)
            .expect("it runs");
    };
    reload(&good.replace("chmod: 0600", "chomd: 0600"));
    let line = program.log_until("config.reload_failed");
    assert!(line.contains("plugin reloaded: config: ") && line.contains("chomd"), "{line}");
    reload(&good.replace("chmod: 0600", "chmod: 0644"));
    program.log_until("reloaded with 0644");
}

/// Says when it is loaded, and with what it is reloaded.
const RELOADED: &str = r#"
#include <HalonMTA.h>
#include <stdio.h>

__attribute__((constructor)) static void loaded(void) { fprintf(stderr, "reloaded is loaded\n"); }

int Halon_version() { return HALONMTA_PLUGIN_VERSION; }

void Halon_config_reload(HalonConfig *config)
{
    const char *mode = HalonMTA_config_string_get(HalonMTA_config_object_get(config, "chmod"), NULL);
    fprintf(stderr, "reloaded with %s\n", mode ? mode : "nothing");
}
"#;

/// A way out that nothing takes.
const TRANSPORT: &str = "transportgroups:\n  - id: group\n    transports:\n      - id: out\n        \
                         connection:\n          server: 127.0.0.1\n";

/// As packages of plugins bring it.
const SCHEMA: &str = r#"{
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "additionalProperties": false,
    "properties": { "chmod": { "type": "string", "pattern": "^[0-7]{4}$" } }
}"#;

/// Writes the message to a file; the arguments say where and with which code.
const DELIVER: &str = r#"
#include <HalonMTA.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int Halon_version() { return HALONMTA_PLUGIN_VERSION; }

void Halon_deliver(HalonDeliverContext *context)
{
    HalonHSLValue *arguments = NULL, *result = NULL, *key, *value;
    HalonQueueMessage *message = NULL;
    const char *domain = NULL;
    char *path = NULL, *text = NULL, reason[200], buffer[512];
    FILE *in = NULL;
    size_t count, total = 0;
    short code;
    double octets;

    HalonMTA_deliver_getinfo(context, HALONMTA_INFO_ARGUMENTS, NULL, 0, &arguments, NULL);
    HalonMTA_deliver_getinfo(context, HALONMTA_INFO_RETURN, NULL, 0, &result, NULL);
    HalonMTA_deliver_getinfo(context, HALONMTA_INFO_MESSAGE, NULL, 0, &message, NULL);
    HalonMTA_deliver_getinfo(context, HALONMTA_INFO_FILE, NULL, 0, &in, NULL);
    HalonMTA_message_getinfo(message, HALONMTA_MESSAGE_RECIPIENTDOMAIN, NULL, 0, &domain, NULL);
    HalonMTA_hsl_value_get(HalonMTA_hsl_value_array_find(arguments, "path"), HALONMTA_HSL_TYPE_STRING, &path, NULL);
    HalonMTA_hsl_value_get(HalonMTA_hsl_value_array_find(arguments, "code"), HALONMTA_HSL_TYPE_STRING, &text, NULL);
    FILE *out = fopen(path, "wb");
    while ((count = fread(buffer, 1, sizeof buffer, in)) > 0)
        total += fwrite(buffer, 1, count, out);
    fclose(out);
    octets = (double)total;
    HalonMTA_hsl_value_array_add(result, &key, &value);
    HalonMTA_hsl_value_set(key, HALONMTA_HSL_TYPE_STRING, "octets", 0);
    HalonMTA_hsl_value_set(value, HALONMTA_HSL_TYPE_NUMBER, &octets, 0);
    code = (short)atoi(text);
    snprintf(reason, sizeof reason, "stored for %s", domain);
    if (code == 0) {
        HalonMTA_deliver_setinfo(context, HALONMTA_ERROR_REASON, "out of order", 0);
    } else {
        HalonMTA_deliver_setinfo(context, HALONMTA_RESULT_CODE, &code, 0);
        HalonMTA_deliver_setinfo(context, HALONMTA_RESULT_REASON, reason, 0);
    }
    HalonMTA_deliver_done(context);
}
"#;

/// Gives the first message back twice; takes the first source address away, or all for a domain.
const DECIDE: &str = r#"
#include <HalonMTA.h>
#include <stdio.h>
#include <string.h>

static int refusals;

int Halon_version() { return HALONMTA_PLUGIN_VERSION; }

static const char *domain(HalonQueueContext *context)
{
    HalonQueueMessage *message = NULL;
    const char *domain = NULL;
    HalonMTA_queue_getinfo(context, HALONMTA_INFO_MESSAGE, NULL, 0, &message, NULL);
    HalonMTA_message_getinfo(message, HALONMTA_MESSAGE_RECIPIENTDOMAIN, NULL, 0, &domain, NULL);
    return domain;
}

bool Halon_queue_pickup_acquire2(HalonQueueContext *context)
{
    HalonHSLValue *result = NULL;
    char text[100];
    if (refusals >= 2)
        return true;
    HalonMTA_queue_getinfo(context, HALONMTA_INFO_RETURN, NULL, 0, &result, NULL);
    snprintf(text, sizeof text, "refused %d for %s", ++refusals, domain(context));
    HalonMTA_hsl_value_set(result, HALONMTA_HSL_TYPE_STRING, text, 0);
    return false;
}

bool Halon_queue_insert_callback(HalonQueueContext *context)
{
    HalonQueueMessage *message = NULL;
    char **localips = NULL;
    const char *left[8], *grouping = NULL;
    size_t count = 0, kept = 0, at;
    HalonMTA_queue_getinfo(context, HALONMTA_INFO_LOCALIPS, NULL, 0, &localips, &count);
    HalonMTA_queue_getinfo(context, HALONMTA_INFO_MESSAGE, NULL, 0, &message, NULL);
    HalonMTA_message_getinfo(message, HALONMTA_MESSAGE_GROUPING, NULL, 0, &grouping, NULL);
    fprintf(stderr, "enters with grouping %s\n", grouping);
    if (strcmp(domain(context), "closed.example") == 0) {
        HalonHSLValue *result = NULL, *key, *value;
        HalonMTA_queue_getinfo(context, HALONMTA_INFO_RETURN, NULL, 0, &result, NULL);
        HalonMTA_hsl_value_array_add(result, &key, &value);
        HalonMTA_hsl_value_set(key, HALONMTA_HSL_TYPE_STRING, "error", 0);
        HalonMTA_hsl_value_set(value, HALONMTA_HSL_TYPE_STRING, "NO_IPS", 0);
        return false;
    }
    for (at = 0; at < count; at++)
        if (strcmp(localips[at], "127.0.0.2") != 0)
            left[kept++] = localips[at];
    HalonMTA_queue_setinfo(context, HALONMTA_INFO_LOCALIPS, left, kept);
    return true;
}
"#;

/// Makes a list early, then a policy and a suspend; a suspend that is taken back holds nothing.
const RULES: &str = r#"
#include <HalonMTA.h>
#include <stdlib.h>
#include <string.h>

int Halon_version() { return HALONMTA_PLUGIN_VERSION; }

bool Halon_early_init(HalonInitContext *context)
{
    (void)context;
    HalonMTA_queue_list_add(HALONMTA_QUEUE_RECIPIENTDOMAIN, "known");
    HalonMTA_queue_list_item_add(HALONMTA_QUEUE_RECIPIENTDOMAIN, "known", "listed.example");
    HalonMTA_queue_list_reload(0, NULL);
    return true;
}

bool Halon_init(HalonInitContext *context)
{
    (void)context;
    char *id = HalonMTA_queue_policy_add(HALONMTA_QUEUE_RECIPIENTDOMAIN, NULL, NULL, NULL, NULL, "added.example",
                                         NULL, 2, 0, 0, "added", 60);
    bool good = id && HalonMTA_queue_policy_update(id, 3, 0, 0, "added", 60);
    free(id);
    /* There is no counter of these fields. */
    good = good && !HalonMTA_queue_policy_add(HALONMTA_QUEUE_JOBID, NULL, NULL, NULL, NULL, NULL, "job", 1, 0, 0,
                                              NULL, 60);
    id = HalonMTA_queue_suspend_add(NULL, NULL, NULL, NULL, NULL, NULL, "everything", 0);
    good = good && id && HalonMTA_queue_suspend_delete(id) && !HalonMTA_queue_suspend_delete(id);
    free(id);
    id = HalonMTA_queue_suspend_add5("mine", NULL, NULL, NULL, NULL, "held.example", NULL, NULL, NULL, "held", NULL, 0, 1);
    good = good && id && strcmp(id, "mine") == 0;
    free(id);
    return good;
}
"#;

/// Injects as soon as that is allowed, and says what became of it.
const INJECT: &str = r#"
#include <HalonMTA.h>
#include <stdio.h>
#include <string.h>

int Halon_version() { return HALONMTA_PLUGIN_VERSION; }

static void told(HalonInjectResultContext *context, void *name)
{
    short code = 0;
    HalonMTA_inject_result_getinfo(context, HALONMTA_RESULT_CODE, NULL, 0, &code, NULL);
    fprintf(stderr, "result for %s: %d\n", (char *)name, code);
}

static HalonInjectContext *start(const char *name)
{
    HalonInjectContext *context = HalonMTA_inject_new("plugged");
    HalonMTA_inject_callback_set(context, told, (void *)name);
    HalonMTA_inject_recipient_add(context, "to", "example.org", NULL);
    HalonMTA_inject_message_append(context, "Subject: put in\n\non", 19);
    HalonMTA_inject_message_append(context, "e\r", 2);
    HalonMTA_inject_message_append(context, "\ntwo\n", 5);
    return context;
}

void Halon_ready(HalonReadyContext *ready)
{
    (void)ready;
    HalonHSLValue *metadata = NULL, *key, *value;
    HalonInjectContext *context = start("good");
    HalonMTA_inject_sender_set(context, "from", "client.example");
    HalonMTA_inject_getinfo(context, HALONMTA_MESSAGE_METADATA, NULL, 0, &metadata, NULL);
    HalonMTA_hsl_value_array_add(metadata, &key, &value);
    HalonMTA_hsl_value_set(key, HALONMTA_HSL_TYPE_STRING, "k", 0);
    HalonMTA_hsl_value_set(value, HALONMTA_HSL_TYPE_STRING, "v", 0);
    if (!HalonMTA_inject_commit(context))
        fprintf(stderr, "not taken\n");

    if (!HalonMTA_inject_commit(start("refused")))
        fprintf(stderr, "not taken\n");
    if (!HalonMTA_inject_new("default") && !HalonMTA_inject_new("absent"))
        fprintf(stderr, "there is no such server\n");
    HalonMTA_inject_abort(start("aborted"));
    fprintf(stderr, "aborted quietly\n");
}
"#;
