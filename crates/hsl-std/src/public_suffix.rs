//! `domain_publicsuffix` (5.10): the public suffix of a domain, by a list read at its first use.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hsl::host::{NativeStep, Registry};
use hsl::value::Value;
use publicsuffix::{List, Psl};
use tokio::sync::OnceCell;

use crate::args;
use crate::services::Services;

/// A list that is read at its first use. Clones share it.
#[derive(Clone)]
pub(crate) struct SuffixList {
    list: Arc<OnceCell<Option<List>>>,
    path: PathBuf,
}

impl SuffixList {
    /// The list that `services` name, else the system's.
    pub(crate) fn new(services: &Services) -> Self {
        let path = services.public_suffix_list.clone();
        let path = path.unwrap_or_else(|| PathBuf::from(SYSTEM_LIST));
        Self { list: Arc::new(OnceCell::new()), path }
    }

    /// The list, once it was read; the inner `None` when there is none.
    fn known(&self) -> Option<Option<&List>> {
        self.list.get().map(Option::as_ref)
    }

    /// Reads the list if nobody did.
    async fn get(&self) -> Option<&List> {
        let path = self.path.clone();
        let read = || async { tokio::task::spawn_blocking(move || read(&path)).await.ok()? };
        self.list.get_or_init(read).await.as_ref()
    }

    /// The organizational domain of a domain in lower case (RFC 7489 §3.2): its public suffix and one
    /// label more. Without a list, and for a public suffix itself, the domain as it is: nothing then
    /// aligns that should not.
    pub(crate) async fn organizational(&self, domain: &str) -> String {
        let list = self.get().await;
        let registrable = list.and_then(|list| list.domain(domain.as_bytes()));
        registrable
            .and_then(|found| str::from_utf8(found.as_bytes()).ok().map(str::to_owned))
            .unwrap_or_else(|| domain.to_owned())
    }
}

/// Registers the function.
pub(crate) fn register(registry: &mut Registry, services: &Services) {
    let list = SuffixList::new(services);
    registry.function(
        "domain_publicsuffix(string domain) -> string or none",
        "the public suffix that a domain ends with; none without a list of them",
        move |_, args| {
            let domain = args::bytes(args, 0).to_vec();
            if let Some(known) = list.known() {
                return suffix(known, &domain).into();
            }
            let list = list.clone();
            NativeStep::suspend(async move { Ok(suffix(list.get().await, &domain)) })
        },
    );
}

fn read(path: &Path) -> Option<List> {
    parse(&std::fs::read_to_string(path).ok()?)
}

/// Reads a list; one that an operator made by hand may have no sections.
fn parse(text: &str) -> Option<List> {
    format!("// ===BEGIN ICANN DOMAINS===\n{text}").parse().ok()
}

/// The suffix as the domain writes it, in lower case. A name whose last label no rule knows has that
/// label as suffix, as the algorithm of the list says ("the prevailing rule is *").
fn suffix(list: Option<&List>, domain: &[u8]) -> Value {
    let domain = domain.strip_suffix(b".").unwrap_or(domain).to_ascii_lowercase();
    let is_name = !domain.is_empty()
        && domain.split(|&byte| byte == b'.').all(|label| !label.is_empty())
        && str::from_utf8(&domain).is_ok_and(|text| text.parse::<std::net::IpAddr>().is_err());
    let found = list.filter(|_| is_name).and_then(|list| list.suffix(&domain));
    found.map_or(Value::None, |suffix| Value::from(suffix.as_bytes()))
}

/// Where Debian's package `publicsuffix` and Fedora's `publicsuffix-list` put it.
const SYSTEM_LIST: &str = "/usr/share/publicsuffix/public_suffix_list.dat";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_rule_counts_and_exceptions_shorten_it() {
        let list = parse("// test\norg\nco.uk\nuk\n*.ck\n!www.ck\nåå.example\n").unwrap();
        let table = [
            ("a.b.example.org", Some("org")),
            ("Example.CO.UK.", Some("co.uk")),
            ("uk", Some("uk")),
            ("a.b.ck", Some("b.ck")),
            ("www.ck", Some("ck")),
            ("host.nowhere", Some("nowhere")),
            ("x.åå.example", Some("åå.example")),
            ("x.xn--5caa.example", Some("xn--5caa.example")),
            ("", None),
            ("a..org", None),
            ("192.0.2.1", None),
        ];
        for (domain, expected) in table {
            let expected = expected.map_or(Value::None, Value::from);
            assert_eq!(suffix(Some(&list), domain.as_bytes()), expected, "{domain}");
        }
        assert_eq!(suffix(None, b"example.org"), Value::None);
    }
}
