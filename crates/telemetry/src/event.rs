//! The catalogue of events: every constant name that a log line may carry, with its meaning.
//!
//! A test keeps `docs/operating/events.md` equal to this table, and another (`tests/tests/events.rs`)
//! finds names in the code that are not in it, and names in it that no code has.

/// One kind of event.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// The constant dotted name: `<room>.<noun>_<past verb>`.
    pub name: &'static str,
    /// When it is emitted and what an operator should do about it.
    pub meaning: &'static str,
}

/// Finds an event by its name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Event> {
    EVENTS.iter().find(|event| event.name == name)
}

macro_rules! events {
    ($($name:literal => $meaning:literal),* $(,)?) => {
        /// All events, in alphabetical order of their names.
        pub const EVENTS: &[Event] = &[$(Event { name: $name, meaning: $meaning }),*];
    };
}

events! {
    "admin.accept_failed" => "The web administration could not accept a connection: often too many open files. It is tried again after a pause.",
    "admin.api_called" => "A program called a control command through the HTTP door; logged when `accounting` is on.",
    "admin.api_key_refused" => "Somebody called the HTTP door without the key or with a wrong one.",
    "admin.call_failed" => "A page needed the control socket and did not get an answer; the error tells why.",
    "admin.connection_failed" => "A connection to the web administration broke off.",
    "admin.drain_timed_out" => "Requests to the web administration were still under way when the time for shutting down was over; they were cut.",
    "admin.listening" => "The web administration accepts connections at an address.",
    "admin.login_failed" => "Somebody gave a wrong user name or password to the web administration.",
    "admin.login_succeeded" => "Somebody logged in to the web administration.",
    "admin.login_throttled" => "A login was refused without looking at it, after too many failed ones.",
    "admin.queue_updated" => "Somebody changed or ended queued messages in the web administration; the fields tell who, what and how many.",
    "admin.ready" => "The web administration is up; without users nobody can log in.",
    "admin.reload_failed" => "The configuration of the web administration is wrong; the users stay as they were.",
    "admin.stopped" => "The web administration ended.",
    "admin.stopping" => "The web administration was asked to stop; it finishes requests that are under way.",
    "admin.users_reloaded" => "The users of the web administration were read again.",
    "config.key_ignored" => "A key was accepted whose function this release does not have; it has no effect.",
    "config.reload_failed" => "The new running configuration is wrong; the old one stays in force. The error names file and line.",
    "config.reloaded" => "A new running configuration is in force.",
    "control.connection_failed" => "A control client broke the protocol or went away; its connection was closed.",
    "control.listener_failed" => "The control socket cannot accept connections for the moment.",
    "daemon.drain_timed_out" => "Connections or deliveries were still open when the time for shutting down was over; they were cut.",
    "daemon.ready" => "All listeners are bound and the queue is loaded.",
    "daemon.stopped" => "Everything is written and closed.",
    "daemon.stopping" => "The daemon was asked to stop: it accepts no new connections and finishes what is under way.",
    "delivery.attempted" => "A delivery attempt ended; the fields tell with which reply or error.",
    "delivery.content_failed" => "The content could not be written to the next server, or not be read from the spool; the attempt ended.",
    "delivery.failed_internally" => "Our own fault ended an attempt; the message stays queued and is tried again.",
    "delivery.in_line_failed" => "An in-line delivery came to no answer of the next server; the client was asked to try again.",
    "delivery.tls_failed" => "The TLS handshake with the next server failed; the attempt goes on as its TLS mode says.",
    "dsn.created" => "A notification to the sender was queued.",
    "dsn.failed" => "A notification could not be queued; the message it is about stays queued.",
    "inbound.accept_failed" => "A listener could not accept: often too many open files. It is tried again after a pause.",
    "inbound.connection_accepted" => "A peer connected.",
    "inbound.connection_closed" => "A connection ended.",
    "inbound.connection_failed" => "Our own fault ended a connection; the peer got 421.",
    "inbound.connection_refused" => "A peer was refused with 421 because a limit on connections was reached.",
    "inbound.message_accepted" => "A message is durable and 250 was sent.",
    "inbound.message_refused" => "A message was refused or deferred at the end of its data.",
    "inbound.message_unseen" => "A message that an end-of-data script looked into has more parts, deeper ones or more header fields than scripts are shown.",
    "inbound.proxy_header_refused" => "A peer that is configured as a proxy sent no good PROXY header, or none in time; the connection was closed.",
    "inbound.tls_failed" => "A TLS handshake with a client failed.",
    "plugin.array_too_deep" => "A plugin made an array nested deeper than scripts may have; the deep part was left out.",
    "plugin.autoload_unreadable" => "The folder of plugins that load by themselves cannot be read; none of them was loaded.",
    "plugin.blocking_suspends_full" => "As many plugin calls as may wait inside C at once do; scripts that call such functions wait for their turn. Said again after half of them have ended.",
    "plugin.call_hangs" => "A function of a plugin that must not block has held its thread for five seconds and more and still does; said once for the call. What it holds up waits: deliveries, when it is a function of the queue.",
    "plugin.call_slow" => "A function of a plugin that must not block held its thread for 100 ms or more; said once a minute and function, with the number of such calls and the longest.",
    "plugin.calls_left_behind" => "Plugins still had calls or deliveries that nobody waits for when the program ended; they got their time to give them back.",
    "plugin.delivery_traced" => "A delivery plugin said something about the message it delivers.",
    "plugin.done_of_ended_delivery" => "A plugin ended a delivery that is over.",
    "plugin.export_panicked" => "Our own fault in a function that a plugin called; the plugin got a failure.",
    "plugin.function_not_found" => "A plugin registered a name without a function and exports no symbol of that name.",
    "plugin.inject_refused" => "A plugin tried to bring a message in where that is not possible.",
    "plugin.library_lent" => "A plugin uses a library that it was not linked with, and was given it.",
    "plugin.loaded" => "A plugin was loaded and initialised.",
    "plugin.many_blocking_suspends" => "Many plugin calls wait inside C at once, each holding a thread; the plugin should use the returning form.",
    "plugin.method_not_found" => "A plugin registered a method without a function and exports no symbol of that name.",
    "plugin.name_refused" => "A plugin registered a name that no function can have.",
    "plugin.queue_call_refused" => "A plugin changed policies or suspensions where that is not possible.",
    "plugin.schedule_ignored" => "A plugin woke a call that was not asleep, for the second time.",
    "plugin.schedule_of_ended_call" => "A plugin woke a call that is over.",
    "plugin.schema_unusable" => "The schema that came with a plugin cannot be read; its configuration is not checked.",
    "plugin.symbols_missing" => "A plugin wants functions that this release does not have; it fails when it calls one.",
    "plugin.watch_failed" => "The thread that finds hanging calls of plugins could not be started; they are not reported.",
    "queue.message_bounced" => "A recipient failed for good and its sender was notified, or could not be.",
    "queue.message_deferred" => "A recipient will be tried again.",
    "queue.message_deleted" => "A queued recipient was removed without notice.",
    "queue.message_delivered" => "A recipient's copy was accepted by the next server.",
    "queue.message_given_back" => "A queue plugin gave the message back at pickup; its pre-delivery script runs again.",
    "queue.message_held" => "A recipient's copy waits for an operator.",
    "script.echoed" => "A script printed a line with `echo`; its priority is debug.",
    "script.failed" => "A script ended with an error; the hook's error action was taken. The fields tell which script, what and where, and the calls that led there.",
    "script.logged" => "A script wrote a line with `syslog()`.",
    "script.message_queued" => "A script queued a message of its own; it is durable.",
    "spool.commit_failed" => "Messages could not be made durable; the peers got 451 and will try again.",
    "spool.damaged" => "The loader met a damaged part of the spool; the fields name the segment and offset.",
    "spool.loaded" => "The spool was read at start.",
    "spool.space_low" => "The spool volume is under its limit of free space; mail is deferred with 452.",
    "stage.ended" => "A live stage was cancelled, ended with its control connection, or made room for another; the number tells how many connections it had.",
    "stage.script_released" => "A script stood at a breakpoint for as long as it may; it went on without the debugger.",
    "stage.started" => "A live stage takes connections.",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_unique_and_well_formed() {
        for pair in EVENTS.windows(2) {
            assert!(pair[0].name < pair[1].name, "{} before {}", pair[0].name, pair[1].name);
        }
        for event in EVENTS {
            let (room, verb) = event.name.split_once('.').expect("a dot");
            assert!(!room.is_empty() && !verb.is_empty(), "{}", event.name);
            assert!(event.meaning.ends_with('.'), "{}", event.name);
        }
        assert!(find("daemon.ready").is_some() && find("nothing").is_none());
    }

    #[test]
    fn the_operators_page_lists_exactly_these_events() {
        let page = include_str!("../../../docs/operating/events.md");
        let listed: Vec<(&str, &str)> = page
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
            .map(|(name, rest)| (name, rest.trim_end_matches(" |")))
            .collect();
        let ours: Vec<(&str, &str)> = EVENTS.iter().map(|e| (e.name, e.meaning)).collect();
        assert_eq!(listed, ours);
    }
}
