//! What changed between two generations of a file, in words.
//!
//! Lists whose elements have an `id` are compared by id, so that an inserted server does not make all
//! later ones look new. Secrets are named, never shown.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use crate::keys::{Key, Kind};
use crate::load::Loaded;
use crate::node::{Node, Scalar, Value};
use crate::yaml::shorten;

/// One difference; prints as one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What changed: `servers[default].timeout.idle`; elements are named by id where they have one.
    pub what: String,
    /// How.
    pub kind: ChangeKind,
}

/// How something changed. Texts are ready for people; secrets are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is new; `None` when its value is not shown.
    Added(Option<String>),
    /// It has another value; `None` when the values are not shown.
    Changed(Option<(String, String)>),
    /// It is gone.
    Removed,
    /// The same elements stand in another order.
    Reordered,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = &self.what;
        match &self.kind {
            ChangeKind::Added(Some(value)) => write!(f, "{what} was added: {value}"),
            ChangeKind::Added(None) => write!(f, "{what} was added"),
            ChangeKind::Changed(Some((from, to))) => {
                write!(f, "{what} changed from {from} to {to}")
            }
            ChangeKind::Changed(None) => write!(f, "{what} changed"),
            ChangeKind::Removed => write!(f, "{what} was removed"),
            ChangeKind::Reordered => write!(f, "{what} has a new order"),
        }
    }
}

/// The differences from `before` to `after`, in the order of `after`; what was removed comes last in
/// its mapping or list.
#[must_use]
pub fn diff<T>(before: &Loaded<T>, after: &Loaded<T>) -> Vec<Change> {
    let mut walk = Walk { changes: Vec::new(), secret: false };
    let kind = Kind::Map(after.keys);
    walk.nodes(&before.root, &after.root, Some(&kind), "");
    walk.changes
}

struct Walk {
    changes: Vec<Change>,
    /// Whether values here must not be shown.
    secret: bool,
}

impl Walk {
    fn nodes(&mut self, before: &Node, after: &Node, kind: Option<&Kind>, what: &str) {
        if std::ptr::eq(before, after) {
            return;
        }
        match (&before.value, &after.value) {
            (Value::Mapping(_), Value::Mapping(_)) => self.mappings(before, after, kind, what),
            (Value::Sequence(old), Value::Sequence(new)) => match (ids(old), ids(new)) {
                (Some(old_ids), Some(new_ids)) => self.by_id(&old_ids, &new_ids, kind, what),
                _ => self.by_place(old, new, kind, what),
            },
            (Value::Scalar(old), Value::Scalar(new)) => {
                if old.kind != new.kind || old.text != new.text {
                    let shown = (!self.secret).then(|| texts(old, new)).flatten();
                    self.push(what, ChangeKind::Changed(shown));
                }
            }
            _ => self.push(what, ChangeKind::Changed(None)),
        }
    }

    fn mappings(&mut self, before: &Node, after: &Node, kind: Option<&Kind>, what: &str) {
        let keys = kind.map_or(&[][..], Kind::keys);
        let free = match kind {
            Some(Kind::Dict(of)) => Some(*of),
            _ => None,
        };
        let old: HashMap<&str, &Arc<Node>> =
            before.entries().iter().map(|entry| (entry.name(), &entry.value)).collect();
        for entry in after.entries() {
            let key = keys.iter().find(|key| key.name == entry.name());
            let below = free.or(key.map(|key| &key.kind));
            let secret = self.secret;
            self.secret |= key.is_some_and(is_secret);
            let what = join(what, entry.name());
            match old.get(entry.name()) {
                Some(node) => self.nodes(node, &entry.value, below, &what),
                None => self.added(&entry.value, &what),
            }
            self.secret = secret;
        }
        let new: HashSet<&str> = after.entries().iter().map(|entry| entry.name()).collect();
        for entry in before.entries().iter().filter(|entry| !new.contains(entry.name())) {
            self.push(&join(what, entry.name()), ChangeKind::Removed);
        }
    }

    fn by_id(&mut self, old: &[Named<'_>], new: &[Named<'_>], kind: Option<&Kind>, what: &str) {
        let below = element(kind);
        let before: HashMap<&str, &Arc<Node>> = old.iter().copied().collect();
        let after: HashSet<&str> = new.iter().map(|(id, _)| *id).collect();
        for (id, node) in new {
            let what = format!("{what}[{id}]");
            match before.get(id) {
                Some(old) => self.nodes(old, node, below, &what),
                None => self.added(node, &what),
            }
        }
        for (id, _) in old.iter().filter(|(id, _)| !after.contains(id)) {
            self.push(&format!("{what}[{id}]"), ChangeKind::Removed);
        }
        let kept_before = old.iter().map(|(id, _)| *id).filter(|id| after.contains(id));
        let kept_after = new.iter().map(|(id, _)| *id).filter(|id| before.contains_key(id));
        if !kept_before.eq(kept_after) {
            self.push(what, ChangeKind::Reordered);
        }
    }

    fn by_place(&mut self, old: &[Arc<Node>], new: &[Arc<Node>], kind: Option<&Kind>, what: &str) {
        let plain = |nodes: &[Arc<Node>]| nodes.iter().all(|node| node.scalar().is_some());
        if plain(old) && plain(new) {
            if !old.iter().map(|node| node.text()).eq(new.iter().map(|node| node.text())) {
                let shown = (!self.secret).then(|| (list(old), list(new)));
                self.push(what, ChangeKind::Changed(shown));
            }
            return;
        }
        let below = element(kind);
        for (index, (old, new)) in old.iter().zip(new).enumerate() {
            self.nodes(old, new, below, &format!("{what}[{index}]"));
        }
        for (index, node) in new.iter().enumerate().skip(old.len()) {
            self.added(node, &format!("{what}[{index}]"));
        }
        for index in new.len()..old.len() {
            self.push(&format!("{what}[{index}]"), ChangeKind::Removed);
        }
    }

    fn added(&mut self, node: &Node, what: &str) {
        let value = node.scalar().filter(|_| !self.secret).filter(|scalar| is_short(scalar));
        self.push(what, ChangeKind::Added(value.map(|scalar| shorten(&scalar.text))));
    }

    fn push(&mut self, what: &str, kind: ChangeKind) {
        self.changes.push(Change { what: what.to_owned(), kind });
    }
}

type Named<'a> = (&'a str, &'a Arc<Node>);

/// The elements with their ids, when all have one.
fn ids(elements: &[Arc<Node>]) -> Option<Vec<Named<'_>>> {
    let id = |node: &'_ Arc<Node>| node.member("id").is_some_and(|id| id.text().is_some());
    if elements.is_empty() || !elements.iter().all(id) {
        // An empty list fits both views; with ids the other side decides.
        return elements.is_empty().then(Vec::new);
    }
    let named = |node| {
        let node: &Arc<Node> = node;
        Some((node.member("id")?.text()?, node))
    };
    elements.iter().map(named).collect()
}

fn element<'k>(kind: Option<&'k Kind>) -> Option<&'k Kind> {
    match kind {
        Some(Kind::List { of, .. } | Kind::OneOrMany(of)) => Some(of),
        _ => None,
    }
}

/// Keys marked so, and all of a plugin's settings: what they mean is the plugin's business.
fn is_secret(key: &Key) -> bool {
    key.secret || matches!(key.kind, Kind::Any)
}

fn is_short(scalar: &Scalar) -> bool {
    !scalar.text.contains('\n') && scalar.text.len() <= 80
}

/// Both values, or their sizes when they are long.
fn texts(old: &Scalar, new: &Scalar) -> Option<(String, String)> {
    if is_short(old) && is_short(new) {
        let show = |scalar: &Scalar| match &*scalar.text {
            "" => "nothing".to_owned(),
            text => shorten(text),
        };
        return Some((show(old), show(new)));
    }
    let (from, to) = (old.text.lines().count(), new.text.lines().count());
    (from != to).then(|| (format!("{from} lines"), format!("{to} lines")))
}

fn list(nodes: &[Arc<Node>]) -> String {
    let mut out = String::from("[");
    for (index, node) in nodes.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        if index == 8 {
            out.push_str(&format!("… {} in all", nodes.len()));
            break;
        }
        out.push_str(&shorten(node.text().unwrap_or_default()));
    }
    out.push(']');
    out
}

fn join(what: &str, name: &str) -> String {
    if what.is_empty() { name.to_owned() } else { format!("{what}.{name}") }
}

#[cfg(test)]
mod tests {
    use crate::load_running;

    fn changes(before: &str, after: &str) -> Vec<String> {
        let load = |text: &str| {
            load_running(format!("version: \"5.6\"\n{text}"), "smtpd-app.yaml")
                .unwrap_or_else(|faults| panic!("{text}: {faults:?}"))
        };
        super::diff(&load(before), &load(after)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_inserted_element_does_not_disturb_the_others() {
        let before = "servers: [{id: a}, {id: b, timeout: {idle: 60}}]";
        let after = "servers: [{id: new}, {id: a}, {id: b, timeout: {idle: 2m}}]";
        assert_eq!(
            changes(before, after),
            ["servers[new] was added", "servers[b].timeout.idle changed from 60 to 2m"]
        );
    }

    #[test]
    fn secrets_and_scripts_are_named_but_not_shown() {
        let session = |password: &str| {
            format!(
                "transportgroups: [{{id: g, session: {{username: u, password: {password}}}, transports: [{{id: t}}]}}]"
            )
        };
        let lines = changes(&session("hunter1"), &session("hunter2"));
        assert_eq!(lines, ["transportgroups[g].session.password changed"]);
        let pki =
            |data: &str| format!("pki: {{private: [{{id: k, privatekey: {{data: {data}}}}}]}}");
        assert_eq!(changes(&pki("one"), &pki("two")), ["pki.private[k].privatekey.data changed"]);
        assert_eq!(changes("", &pki("one")), ["pki was added"]);
        let script = |data: &str| format!("scripting: {{hooks: {{predelivery: {data}}}}}");
        let long = format!("'{}'", "x\n\n".repeat(50));
        assert_eq!(
            changes(&script("Try();"), &script(&long)),
            ["scripting.hooks.predelivery changed from 1 lines to 50 lines"]
        );
    }

    #[test]
    fn removal_order_and_plain_lists_are_told() {
        assert_eq!(
            changes("servers: [{id: a}, {id: b}, {id: c}]", "servers: [{id: b}, {id: a}]"),
            ["servers[c] was removed", "servers has a new order"]
        );
        assert_eq!(
            changes("resolver: {servers: ['::1']}", "resolver: {servers: ['::1', '127.0.0.1:53']}"),
            ["resolver.servers changed from [::1] to [::1, 127.0.0.1:53]"]
        );
        assert_eq!(changes("servers: [{id: a}]", "servers: [{id: a}]"), [""; 0]);
    }
}
