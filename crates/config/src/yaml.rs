//! YAML text into [`Node`]s, bounded against hostile input.
//!
//! One document per file. Aliases share their target, but count in full towards the limits, so that a
//! few lines of nested aliases cannot make a walk take for ever. Keys are scalars and unique. Merge
//! keys (`<<`) are ordinary keys. Standard: YAML 1.2.2, core schema.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use granit_parser::{Event, Options, Parser, ScalarStyle, Span, Tag};

use crate::diagnostic::{Diagnostic, Severity};
use crate::node::{Entry, KeyPath, Node, Position, Scalar, ScalarType, Value};

/// Parses one document.
///
/// `file` only names the file in diagnostics.
///
/// # Errors
///
/// Faults of the YAML itself: invalid UTF-8, syntax, repeated keys, keys that are no scalars, more
/// than one document, and the limits [`MAX_INPUT`], [`MAX_NODES`], [`MAX_TEXT`] and [`MAX_DEPTH`].
/// Repeated keys are all reported; the others end the reading.
pub fn parse(text: &[u8], file: &str) -> Result<Arc<Node>, Vec<Diagnostic>> {
    let mut builder = Builder::new(Arc::from(file));
    match builder.run(text) {
        Ok(node) if builder.faults.is_empty() => Ok(node),
        Ok(_) => Err(builder.faults),
        Err(fault) => {
            builder.faults.push(fault);
            Err(builder.faults)
        }
    }
}

/// The type that the core schema gives a plain scalar.
#[must_use]
pub fn resolve(text: &str) -> ScalarType {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return ScalarType::Null,
        "true" | "True" | "TRUE" => return ScalarType::Bool(true),
        "false" | "False" | "FALSE" => return ScalarType::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return ScalarType::Float(f64::NAN),
        _ => {}
    }
    // Nearly all text starts with a letter: leave before looking closer.
    if !text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first)) {
        return ScalarType::String;
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix) {
            let number = digits.starts_with(|first: char| first != '+' && first != '-');
            return match i128::from_str_radix(digits, radix) {
                Ok(value) if number && in_range(value) => ScalarType::Integer(value),
                _ => ScalarType::String,
            };
        }
    }
    let (negative, unsigned) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return ScalarType::Float(if negative { f64::NEG_INFINITY } else { f64::INFINITY });
    }
    if !unsigned.is_empty() && unsigned.bytes().all(|digit| digit.is_ascii_digit()) {
        return match text.parse::<i128>() {
            Ok(value) if in_range(value) => ScalarType::Integer(value),
            _ => text.parse().map_or(ScalarType::String, ScalarType::Float),
        };
    }
    if is_float(unsigned) {
        return text.parse().map_or(ScalarType::String, ScalarType::Float);
    }
    ScalarType::String
}

fn in_range(value: i128) -> bool {
    (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&value)
}

/// Tells whether `text`, without its sign, is `[0-9]*(\.[0-9]*)?([eE][-+]?[0-9]+)?` with a digit in
/// its first part.
fn is_float(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let digits = |part: &str| part.bytes().all(|digit| digit.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent_fits = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    digits(whole) && digits(fraction) && whole.len() + fraction.len() > 0 && exponent_fits
}

/// Builds the tree from the parser's events, without recursion.
struct Builder {
    file: Arc<str>,
    faults: Vec<Diagnostic>,
    /// Collections that are not complete yet, outermost first.
    open: Vec<Open>,
    /// Complete nodes that aliases may name.
    anchors: HashMap<usize, Built>,
    /// What has been built, aliases counted in full.
    total: Weight,
    root: Option<Arc<Node>>,
}

/// A complete node with what it adds to the limits.
#[derive(Clone)]
struct Built {
    node: Arc<Node>,
    weight: Weight,
    /// Levels below and including this node.
    height: usize,
}

#[derive(Clone, Copy, Default)]
struct Weight {
    nodes: usize,
    octets: usize,
}

/// A collection that is not complete yet.
struct Open {
    position: Position,
    tag: Option<Arc<str>>,
    anchor: usize,
    weight: Weight,
    height: usize,
    content: Content,
}

enum Content {
    Mapping { entries: Vec<Entry>, names: HashSet<Arc<str>>, key: Option<Arc<Node>> },
    Sequence(Vec<Arc<Node>>),
}

impl Builder {
    fn new(file: Arc<str>) -> Self {
        Self {
            file,
            faults: Vec::new(),
            open: Vec::new(),
            anchors: HashMap::new(),
            total: Weight::default(),
            root: None,
        }
    }

    fn run(&mut self, text: &[u8]) -> Result<Arc<Node>, Diagnostic> {
        if text.len() > MAX_INPUT {
            let message = format!("the file is larger than {} MiB", MAX_INPUT >> 20);
            return Err(self.fault(Position::default(), message));
        }
        let text = match std::str::from_utf8(text) {
            Ok(text) => text,
            Err(error) => {
                let good = text.get(..error.valid_up_to()).unwrap_or_default();
                return Err(self.fault(position_after(good), "the text is not UTF-8".to_owned()));
            }
        };
        let mut options = Options::default();
        options.flow_nesting_limit = MAX_DEPTH;
        options.block_nesting_limit = MAX_DEPTH;
        let mut documents = 0;
        for event in Parser::new_from_str_with_options(text, options) {
            let (event, span) = event.map_err(|error| {
                let marker = error.marker();
                let position = place(marker.line(), marker.col());
                self.fault(position, format!("this is not valid YAML: {}", error.info()))
            })?;
            let position = place(span.start.line(), span.start.col());
            if matches!(event, Event::DocumentStart(..)) {
                documents += 1;
                if documents > 1 {
                    return Err(self.fault(position, "only one YAML document is read".to_owned()));
                }
            }
            self.event(event, &span, position)?;
        }
        match self.root.take() {
            Some(root) => Ok(root),
            None => Err(self.fault(Position::default(), "the file is empty".to_owned())),
        }
    }

    fn event(
        &mut self,
        event: Event<'_>,
        span: &Span,
        position: Position,
    ) -> Result<(), Diagnostic> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                let start = span.tag_start().filter(|_| text.is_empty() && plain);
                let position = start.map_or(position, |mark| place(mark.line(), mark.col()));
                let (kind, tag) = self.scalar_type(&text, plain, tag.as_deref(), position)?;
                let weight = Weight { nodes: 1, octets: text.len() };
                let value = Value::Scalar(Scalar { text: Arc::from(text), kind });
                let node = Arc::new(Node { position, tag, value });
                self.count(weight, 1, position)?;
                self.add(Built { node, weight, height: 1 }, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                let tag = self.collection_tag(tag.as_deref(), "seq", position)?;
                self.begin(Content::Sequence(Vec::new()), anchor, tag, position)
            }
            Event::MappingStart(_, anchor, tag) => {
                let tag = self.collection_tag(tag.as_deref(), "map", position)?;
                let content =
                    Content::Mapping { entries: Vec::new(), names: HashSet::new(), key: None };
                self.begin(content, anchor, tag, position)
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => self.finish(open),
                None => Err(self.fault(position, "a collection ends that never began".to_owned())),
            },
            Event::Alias(id) => {
                let Some(target) = self.anchors.get(&id).cloned() else {
                    let message = "this alias refers to a value that contains it".to_owned();
                    return Err(self.fault(position, message));
                };
                self.count(target.weight, target.height, position)?;
                self.add(target, 0)
            }
            _ => Ok(()),
        }
    }

    fn begin(
        &mut self,
        content: Content,
        anchor: usize,
        tag: Option<Arc<str>>,
        position: Position,
    ) -> Result<(), Diagnostic> {
        let weight = Weight { nodes: 1, octets: 0 };
        self.count(weight, 1, position)?;
        self.open.push(Open { position, tag, anchor, weight, height: 1, content });
        Ok(())
    }

    fn finish(&mut self, open: Open) -> Result<(), Diagnostic> {
        let value = match open.content {
            Content::Mapping { entries, .. } => Value::Mapping(entries),
            Content::Sequence(elements) => Value::Sequence(elements),
        };
        let node = Arc::new(Node { position: open.position, tag: open.tag, value });
        self.add(Built { node, weight: open.weight, height: open.height }, open.anchor)
    }

    /// Puts a complete node where it belongs.
    fn add(&mut self, built: Built, anchor: usize) -> Result<(), Diagnostic> {
        if anchor != 0 {
            self.anchors.insert(anchor, built.clone());
        }
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(built.node);
            return Ok(());
        };
        parent.weight.nodes += built.weight.nodes;
        parent.weight.octets += built.weight.octets;
        parent.height = parent.height.max(built.height + 1);
        match &mut parent.content {
            Content::Sequence(elements) => elements.push(built.node),
            Content::Mapping { entries, names, key } => match key.take() {
                Some(key) => entries.push(Entry { key, value: built.node }),
                None => {
                    let position = built.node.position;
                    let Some(scalar) = built.node.scalar() else {
                        let message = "a key must be a single word or text".to_owned();
                        return Err(self.fault(position, message));
                    };
                    if !names.insert(Arc::clone(&scalar.text)) {
                        let message =
                            format!("the key `{}` is already there", shorten(&scalar.text));
                        let fault = self.fault(position, message);
                        self.faults.push(fault);
                        if self.faults.len() >= MAX_FAULTS {
                            return Err(self.fault(position, "giving up".to_owned()));
                        }
                    }
                    // The borrow of the parent ended with the fault; it is still the last one.
                    if let Some(Open { content: Content::Mapping { key, .. }, .. }) =
                        self.open.last_mut()
                    {
                        *key = Some(built.node);
                    }
                }
            },
        }
        Ok(())
    }

    fn count(&mut self, weight: Weight, height: usize, at: Position) -> Result<(), Diagnostic> {
        self.total.nodes = self.total.nodes.saturating_add(weight.nodes);
        self.total.octets = self.total.octets.saturating_add(weight.octets);
        let message = if self.total.nodes > MAX_NODES {
            format!("the file holds more than {MAX_NODES} values, aliases counted in full")
        } else if self.total.octets > MAX_TEXT {
            format!("the file holds more than {} MiB, aliases counted in full", MAX_TEXT >> 20)
        } else if self.open.len() + height > MAX_DEPTH {
            format!("values are nested deeper than {MAX_DEPTH} levels")
        } else {
            return Ok(());
        };
        Err(self.fault(at, message))
    }

    /// The type of a scalar, and its tag when that is not of the core schema.
    fn scalar_type(
        &self,
        text: &str,
        plain: bool,
        tag: Option<&Tag>,
        at: Position,
    ) -> Result<(ScalarType, Option<Arc<str>>), Diagnostic> {
        let untagged = if plain { resolve(text) } else { ScalarType::String };
        let Some(tag) = tag else { return Ok((untagged, None)) };
        if tag.original() == "!" {
            return Ok((ScalarType::String, None));
        }
        let wanted = match tag.core_suffix() {
            Some("str") => return Ok((ScalarType::String, None)),
            Some(suffix @ ("bool" | "float" | "int" | "null")) => suffix,
            Some(_) => return Err(self.fault(at, format!("`{}` cannot be text", tag.original()))),
            None => return Ok((untagged, Some(Arc::from(tag.original())))),
        };
        let kind = resolve(text);
        match (wanted, kind) {
            ("bool", ScalarType::Bool(_))
            | ("float", ScalarType::Float(_))
            | ("int", ScalarType::Integer(_))
            | ("null", ScalarType::Null) => Ok((kind, None)),
            #[expect(clippy::cast_precision_loss, reason = "`!!float 3` asks for just that")]
            ("float", ScalarType::Integer(number)) => Ok((ScalarType::Float(number as f64), None)),
            _ => Err(self.fault(at, format!("`{}` is no {}", shorten(text), tag.original()))),
        }
    }

    fn collection_tag(
        &self,
        tag: Option<&Tag>,
        own: &str,
        at: Position,
    ) -> Result<Option<Arc<str>>, Diagnostic> {
        let Some(tag) = tag else { return Ok(None) };
        match tag.core_suffix() {
            Some(suffix) if suffix == own => Ok(None),
            Some(_) => Err(self.fault(at, format!("`{}` does not fit here", tag.original()))),
            None if tag.original() == "!" => Ok(None),
            None => Ok(Some(Arc::from(tag.original()))),
        }
    }

    fn fault(&self, position: Position, message: String) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            file: Arc::clone(&self.file),
            position,
            path: KeyPath::root(),
            message,
            hint: None,
        }
    }
}

fn place(line: usize, column: usize) -> Position {
    Position {
        line: u32::try_from(line).unwrap_or(u32::MAX),
        column: u32::try_from(column.saturating_add(1)).unwrap_or(u32::MAX),
    }
}

/// The position right behind `good`, which is valid UTF-8.
fn position_after(good: &[u8]) -> Position {
    let text = std::str::from_utf8(good).unwrap_or_default();
    let line = text.matches('\n').count() + 1;
    let column = text.rsplit('\n').next().unwrap_or_default().chars().count();
    place(line, column)
}

/// At most forty characters of `text`, on one line.
pub(crate) fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(40).map(printable).collect();
    if text.chars().nth(40).is_some() {
        short.push('…');
    }
    short
}

fn printable(letter: char) -> char {
    if letter.is_control() { ' ' } else { letter }
}

/// Largest file, in octets. Scripts and lists live inside the files, so it is generous.
pub const MAX_INPUT: usize = 64 << 20;
/// Most values in one file, aliases counted in full.
pub const MAX_NODES: usize = 2_000_000;
/// Most octets of text in one file, aliases counted in full.
pub const MAX_TEXT: usize = 128 << 20;
/// Deepest nesting; keeps recursive walks within any stack.
pub const MAX_DEPTH: usize = 64;
/// Faults after which nobody reads on.
const MAX_FAULTS: usize = 100;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn node(text: &str) -> Arc<Node> {
        parse(text.as_bytes(), "test.yaml").unwrap_or_else(|faults| panic!("{text}: {faults:?}"))
    }

    fn fault(text: &str) -> String {
        match parse(text.as_bytes(), "test.yaml") {
            Ok(node) => panic!("{text:?} was read as {node:?}"),
            Err(faults) => faults.iter().map(|fault| format!("{fault}\n")).collect(),
        }
    }

    #[test]
    fn keeps_scalars_as_written_beside_their_type() {
        let node = node("a: 0640\nb: '0640'\nc: TRUE\nd: 1.50\ne: ~\nf: yes\ng: 0x1F\n");
        let seen: Vec<_> =
            node.entries().iter().map(|entry| entry.value.text().unwrap_or("?")).collect();
        assert_eq!(seen, ["0640", "0640", "TRUE", "1.50", "~", "yes", "0x1F"]);
        let expected =
            json!({"a": 640, "b": "0640", "c": true, "d": 1.5, "e": null, "f": "yes", "g": 31});
        assert_eq!(node.to_json(), expected);
    }

    #[test]
    fn keeps_keys_in_file_order_and_positions_of_values() {
        let node = node("zeta: 1\nalpha:\n  - x\n  - k: \"ü\"\n    l: 2\n");
        let names: Vec<_> = node.entries().iter().map(Entry::name).collect();
        assert_eq!(names, ["zeta", "alpha"]);
        let path = KeyPath::root().key("alpha").index(1).key("l");
        assert_eq!(node.position_of(&path), Position { line: 5, column: 8 });
        assert_eq!(path.to_string(), "alpha[1].l");
    }

    #[test]
    fn types_follow_the_core_schema() {
        for text in
            ["-", "+", ".", "1_000", "0b1", "1e", "e1", "0x", "0xG", "0o8", "--1", "1.2.3", "0x-1"]
        {
            assert_eq!(resolve(text), ScalarType::String, "{text}");
        }
        assert_eq!(resolve("-0"), ScalarType::Integer(0));
        assert_eq!(resolve("18446744073709551615"), ScalarType::Integer(i128::from(u64::MAX)));
        assert!(matches!(resolve("18446744073709551616"), ScalarType::Float(_)));
        assert_eq!(resolve("1."), ScalarType::Float(1.0));
        assert_eq!(resolve(".5e+1"), ScalarType::Float(5.0));
    }

    #[test]
    fn tags_of_the_core_schema_are_obeyed_and_others_kept() {
        let node = node("a: !!str 5\nb: !!int '7'\nc: !Env ${NAME}\nd: ! 5\n");
        assert_eq!(node.to_json(), json!({"a": "5", "b": 7, "c": "${NAME}", "d": "5"}));
        assert_eq!(node.member("c").and_then(|node| node.tag.clone()).as_deref(), Some("!Env"));
        assert!(fault("a: !!int five").contains("`five` is no !!int"));
    }

    #[test]
    fn reports_every_repeated_key() {
        let faults = fault("a: 1\nb: {x: 1, x: 2}\na: 3\n");
        assert_eq!(faults.lines().count(), 2, "{faults}");
        assert!(faults.contains("test.yaml:2:11: error: the key `x` is already there"), "{faults}");
        assert!(faults.contains("test.yaml:3:1: error: the key `a` is already there"), "{faults}");
    }

    #[test]
    fn names_the_place_of_broken_yaml_and_broken_text() {
        assert!(fault("a: [1,\nb: 2").contains("not valid YAML"));
        assert!(fault("").contains("empty"));
        assert!(fault("a: 1\n---\nb: 2\n").contains("only one YAML document"));
        assert!(fault("{[1]: 2}").contains("a key must be"));
        let faults = parse(b"a: 1\nb: \xff", "x").expect_err("not UTF-8");
        assert_eq!(
            faults.first().map(|fault| fault.position),
            Some(Position { line: 2, column: 4 })
        );
    }

    #[test]
    fn a_bomb_of_aliases_is_refused_at_once() {
        let mut text = String::from("l0: &l0 [a, a, a, a, a, a, a, a, a, a]\n");
        for level in 1..12 {
            let inner = format!("*l{},", level - 1).repeat(10);
            text.push_str(&format!("l{level}: &l{level} [{inner}]\n"));
        }
        assert!(fault(&text).contains("aliases counted in full"));
    }

    #[test]
    fn aliases_cannot_nest_deeper_than_plain_values() {
        let mut text = String::from("l0: &l0 [a]\n");
        for level in 1..100 {
            text.push_str(&format!("l{level}: &l{level} [*l{}]\n", level - 1));
        }
        assert!(fault(&text).contains("nested deeper"));
        assert!(!fault(&"[".repeat(10_000)).is_empty());
        assert!(!fault(&"- ".repeat(10_000)).is_empty());
        assert!(fault("a: &x [*x]").contains("contains it"));
    }

    proptest! {
        #[test]
        fn no_octets_make_it_panic(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&text, "x");
        }

        #[test]
        fn no_yaml_like_text_makes_it_panic(text in "[-:\\[\\]{}&*!|>'\" \n#%@`a0,?\t.~]{0,80}") {
            if let Ok(node) = parse(text.as_bytes(), "x") {
                let _ = node.to_json();
            }
        }
    }
}
