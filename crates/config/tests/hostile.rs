//! No text may panic a loader, and no file that validates may fail to read.

use config::Diagnostic;
use config::keys::{FILES, Key, Kind};
use proptest::prelude::*;
use proptest::strategy::Union;

fn faults(name: &str, text: &[u8]) -> Vec<Diagnostic> {
    match name {
        "smtpd" => config::load_startup(text, name).err(),
        "smtpd-app" => config::load_running(text, name).err(),
        "smtpd-policy" => config::load_policy(text, name).err(),
        "smtpd-suspend" => config::load_suspend(text, name).err(),
        _ => config::load_delivery(text, name).err(),
    }
    .unwrap_or_default()
}

/// Documents in flow style whose keys and values mostly fit the table.
fn document(keys: &'static [Key]) -> BoxedStrategy<String> {
    let entries: Vec<BoxedStrategy<Option<String>>> = keys
        .iter()
        .map(|key| {
            let value =
                value(&key.kind).prop_map(move |value| format!("\"{}\": {value}", key.name));
            if key.required {
                value.prop_map(Some).boxed()
            } else {
                proptest::option::weighted(0.6, value).boxed()
            }
        })
        .collect();
    entries
        .prop_map(|entries| {
            let entries: Vec<_> = entries.into_iter().flatten().collect();
            format!("{{{}}}", entries.join(", "))
        })
        .boxed()
}

fn list(of: BoxedStrategy<String>, min: usize) -> BoxedStrategy<String> {
    prop::collection::vec(of, min..min + 3)
        .prop_map(|items| format!("[{}]", items.join(", ")))
        .boxed()
}

fn one_of(texts: &[&str]) -> BoxedStrategy<String> {
    Union::new(texts.iter().map(|text| Just((*text).to_owned()))).boxed()
}

fn value(kind: &'static Kind) -> BoxedStrategy<String> {
    match kind {
        Kind::Any => one_of(&["x", "{a: [1, ~, 0640]}", "~", "[]"]),
        Kind::Boolean => one_of(&["true", "false", "TRUE"]),
        Kind::Id | Kind::Host | Kind::Tag => one_of(&["a", "b", "c.example", "192.0.2.1", "\"ü\""]),
        Kind::Text => one_of(&["\"\"", "a", "\"x\\ny\"", "YQ=="]),
        Kind::Duration { .. } => one_of(&["1", "60", "1h30m", "\"5\"", "2.5", "1e3", "0x10"]),
        Kind::Size { .. } => one_of(&["67108864", "64MiB", "1TiB", "8e8"]),
        Kind::Rate => one_of(&["0", "50", "\"5\"", "1000/60", "1/1h"]),
        Kind::Integer { min, max } => {
            let top = (*max).min(*min + 1000);
            (*min..=top).prop_map(|number| number.to_string()).boxed()
        }
        Kind::Number => one_of(&["0", "0.5", "1e3", "-4"]),
        Kind::NumberOf(numbers) => Union::new(numbers.iter().map(|n| Just(n.to_string()))).boxed(),
        Kind::Address => one_of(&["192.0.2.1", "\"::1\"", "\"2001:db8::5\""]),
        Kind::SocketAddress => {
            one_of(&["\"127.0.0.1:53\"", "\"[::1]:5353\"", "\"::1\"", "192.0.2.1"])
        }
        Kind::Mode => one_of(&["\"0660\"", "'027'"]),
        Kind::Matcher(field) if field.is_address() => {
            one_of(&["192.0.2.1", "192.0.2.0/24", "\"@list\"", "\"#roll\"", "\"2001:db8::/32\""])
        }
        Kind::Matcher(_) => {
            one_of(&["a", "\"*.example.com\"", "\"/^mx[0-9]/\"", "\"@list\"", "\"#roll\""])
        }
        Kind::TlsProtocols => one_of(&["\"!SSLv2,!SSLv3\"", "\"!TLSv1.2\"", "TLSv1.3"]),
        Kind::Version => one_of(&["\"5.6\"", "'6.0'"]),
        Kind::Word(words) => {
            Union::new(words.iter().map(|word| Just(format!("\"{word}\"")))).boxed()
        }
        Kind::Source => one_of(&["{path: /x}", "{data: \"---\"}"]),
        Kind::List { of, min } => list(value(of), *min),
        Kind::OneOrMany(of) => prop_oneof![value(of), list(value(of), 1)].boxed(),
        Kind::Either(kinds) => Union::new(kinds.iter().map(value)).boxed(),
        Kind::Map(keys) => document(keys),
        Kind::Dict(of) => {
            proptest::option::of(value(of).prop_map(|value| format!("free: {value}")))
                .prop_map(|entry| format!("{{{}}}", entry.unwrap_or_default()))
                .boxed()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn octets_never_panic_a_loader(text in prop::collection::vec(any::<u8>(), 0..300)) {
        for (name, _) in FILES {
            for fault in faults(name, &text) {
                let _ = fault.render(&String::from_utf8_lossy(&text));
            }
        }
    }

    #[test]
    fn mangled_samples_never_panic_a_loader(
        at in 0_usize..2000, cut in 0_usize..60, insert in "[-:\\[\\]{}&*!|>'\" \n#%@`a0,?\t.~]{0,6}"
    ) {
        let sample = include_str!("../../../packaging/config/standard/smtpd-app.yaml");
        let start = at % sample.len();
        let end = (start + cut).min(sample.len());
        let mut text = sample.as_bytes().to_vec();
        text.splice(start..end, insert.bytes());
        let _ = faults("smtpd-app", &text);
    }
}

proptest! {
    // Whole documents are large; fewer of them say as much.
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What the table lets pass, the types must take: otherwise table and types disagree.
    #[test]
    fn what_validates_also_reads(
        texts in FILES.iter().map(|(_, keys)| document(keys)).collect::<Vec<_>>()
    ) {
        for ((name, _), text) in FILES.iter().zip(&texts) {
            for fault in faults(name, text.as_bytes()) {
                let disagree = fault.message.contains("cannot be used")
                    || fault.message.starts_with("expected") && fault.message.contains(", found");
                prop_assert!(!disagree, "{name}: {fault}\n{text}");
            }
        }
    }
}
