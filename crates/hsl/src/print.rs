//! The printer: syntax tree back to text.
//!
//! What [`script`] prints parses to the same tree, places aside. It serves tests, tools that show how
//! a script was understood ([`Grouping::Explicit`] puts parentheses around every operation), and
//! whoever generates scripts. Comments and the layout of the original are not in the tree and so not
//! in the text.

use crate::ast::{
    Argument, ArrayItem, AssignOp, BinaryOp, BinaryStep, Block, Class, Expr, ExprKind, Function,
    Ident, Import, ImportWhat, LogicalOp, MemberKind, Pattern, Script, Slice, StepOp, Stmt,
    StmtKind, StringLiteral, StringPart, Suffix, SuffixKind, Target, UnaryOp,
};
use crate::symbol::{Interner, Symbol};

/// Where parentheses go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Grouping {
    /// Only where the text would mean something else without them.
    #[default]
    Needed,
    /// Around every operation that is an operand, so that precedence can be seen.
    Explicit,
}

/// Prints a script. Strings may hold any bytes, so the text may not be UTF-8.
#[must_use]
pub fn script(script: &Script, interner: &Interner, grouping: Grouping) -> Vec<u8> {
    let mut printer = Printer { out: Vec::new(), depth: 0, interner, grouping };
    for stmt in &script.body {
        printer.line(stmt);
    }
    printer.out
}

/// Prints one expression.
#[must_use]
pub fn expression(expr: &Expr, interner: &Interner, grouping: Grouping) -> Vec<u8> {
    let mut printer = Printer { out: Vec::new(), depth: 0, interner, grouping };
    printer.expr(expr, ANY);
    printer.out
}

struct Printer<'a> {
    out: Vec<u8>,
    depth: usize,
    interner: &'a Interner,
    grouping: Grouping,
}

impl Printer<'_> {
    fn text(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn name(&mut self, name: Symbol) {
        let interner = self.interner;
        self.text(interner.name(name));
    }

    fn variable(&mut self, name: Symbol) {
        self.text("$");
        self.name(name);
    }

    /// Prints the items of a list with commas between them.
    fn list<T>(&mut self, items: &[T], mut print: impl FnMut(&mut Self, &T)) {
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.text(", ");
            }
            print(self, item);
        }
    }

    fn indent(&mut self) {
        self.out.resize(self.out.len() + self.depth, b'\t');
    }

    // Statements

    fn line(&mut self, stmt: &Stmt) {
        self.indent();
        self.stmt(stmt);
        self.text("\n");
    }

    /// Prints statements between braces; what they hold is indented by `print`.
    fn braces(&mut self, print: impl FnOnce(&mut Self)) {
        self.text("{\n");
        self.depth += 1;
        print(self);
        self.depth -= 1;
        self.indent();
        self.text("}");
    }

    fn block(&mut self, block: &Block) {
        self.braces(|printer| {
            for stmt in &block.body {
                printer.line(stmt);
            }
        });
    }

    fn word_expr(&mut self, word: &str, expr: &Expr) {
        self.text(word);
        self.text(" ");
        self.expr(expr, ANY);
        self.text(";");
    }

    fn stmt(&mut self, stmt: &Stmt) {
        match &stmt.kind {
            StmtKind::Empty => self.text(";"),
            StmtKind::Block(block) => self.block(block),
            StmtKind::Expr(expr) => self.expr_stmt(expr),
            StmtKind::Echo(expr) => self.word_expr("echo", expr),
            StmtKind::Throw(expr) => self.word_expr("throw", expr),
            StmtKind::Yield(expr) => self.word_expr("yield", expr),
            StmtKind::Return(Some(expr)) => self.word_expr("return", expr),
            StmtKind::Return(None) => self.text("return;"),
            StmtKind::Break => self.text("break;"),
            StmtKind::Continue => self.text("continue;"),
            StmtKind::If { arms, otherwise } => {
                for (index, (condition, body)) in arms.iter().enumerate() {
                    self.text(if index == 0 { "if (" } else { " else if (" });
                    self.expr(condition, ANY);
                    self.text(") ");
                    self.stmt(body);
                }
                if let Some(body) = otherwise {
                    self.text(" else ");
                    self.stmt(body);
                }
            }
            StmtKind::For(parts) => {
                self.text("for (");
                self.optional(parts.init.as_ref());
                self.text("; ");
                self.optional(parts.condition.as_ref());
                self.text("; ");
                self.optional(parts.step.as_ref());
                self.text(") ");
                self.stmt(&parts.body);
            }
            StmtKind::Foreach(parts) => {
                self.text("foreach (");
                self.expr(&parts.subject, ANY);
                self.text(" as ");
                if let Some(key) = parts.key {
                    self.variable(key.name);
                    self.text(" => ");
                }
                self.variable(parts.value.name);
                self.text(") ");
                self.stmt(&parts.body);
            }
            StmtKind::While { condition, body } => {
                self.text("while (");
                self.expr(condition, ANY);
                self.text(") ");
                self.stmt(body);
            }
            StmtKind::Forever(body) => {
                self.text("forever ");
                self.stmt(body);
            }
            StmtKind::Switch { subject, cases } => {
                self.text("switch (");
                self.expr(subject, ANY);
                self.text(") ");
                self.braces(|printer| {
                    for case in cases {
                        printer.indent();
                        if let Some(label) = &case.label {
                            printer.text("case ");
                            printer.expr(label, ANY);
                            printer.text(":\n");
                        } else {
                            printer.text("default:\n");
                        }
                        printer.depth += 1;
                        for stmt in &case.body {
                            printer.line(stmt);
                        }
                        printer.depth -= 1;
                    }
                });
            }
            StmtKind::Try { body, variable, handler } => {
                self.text("try ");
                self.block(body);
                self.text(" catch (");
                self.variable(variable.name);
                self.text(") ");
                self.block(handler);
            }
            StmtKind::Barrier { name, variable, body } => {
                self.text("barrier ");
                self.expr(name, ANY);
                if let Some(variable) = variable {
                    self.text(" => ");
                    self.variable(variable.name);
                }
                self.text(" ");
                self.block(body);
            }
            StmtKind::Global(variables) => {
                self.text("global ");
                self.list(variables, |printer, variable| printer.variable(variable.name));
                self.text(";");
            }
            StmtKind::Include { path, once } => {
                self.text(if *once { "include_once " } else { "include " });
                self.literal(path);
                self.text(";");
            }
            StmtKind::Import(import) => self.import(import),
            StmtKind::Function(function) => self.function(function),
            StmtKind::Class(class) => self.class(class),
            StmtKind::Debug(items) => {
                self.text("__debug [");
                self.list(items, Self::array_item);
                self.text("];");
            }
        }
    }

    fn expr_stmt(&mut self, expr: &Expr) {
        let start = self.out.len();
        self.expr(expr, ANY);
        // The debugger's statement looks like a subscript of a function of that name.
        if self.out.get(start..).is_some_and(|text| text.starts_with(b"__debug[")) {
            self.out.insert(start, b'(');
            self.text(")");
        }
        self.text(";");
    }

    fn optional(&mut self, expr: Option<&Expr>) {
        if let Some(expr) = expr {
            self.expr(expr, ANY);
        }
    }

    fn import(&mut self, import: &Import) {
        self.text("import ");
        match &import.what {
            ImportWhat::Symbols(symbols) => {
                self.text("{ ");
                self.list(symbols, |printer, symbol| {
                    let sigil = if symbol.is_variable { "$" } else { "" };
                    printer.text(sigil);
                    printer.name(symbol.name.name);
                    if let Some(alias) = symbol.alias {
                        printer.text(" as ");
                        printer.text(sigil);
                        printer.name(alias.name);
                    }
                });
                self.text(" }");
            }
            ImportWhat::Namespace(name) => {
                self.text("* as ");
                self.name(name.name);
            }
            ImportWhat::Data(variable) => self.variable(variable.name),
        }
        self.text(" from ");
        self.literal(&import.path);
        if let Some(options) = &import.options {
            self.text(" with ");
            self.expr(options, ANY);
        }
        self.text(";");
    }

    fn function(&mut self, function: &Function) {
        self.text("function ");
        if let Some(Ident { name, .. }) = function.name {
            self.name(name);
        }
        self.function_rest(function);
    }

    /// Prints parameters, captures and body.
    fn function_rest(&mut self, function: &Function) {
        self.text("(");
        self.list(&function.params, |printer, param| {
            if param.is_rest {
                printer.text("...");
            }
            printer.variable(param.name.name);
            if let Some(default) = &param.default {
                printer.text(" = ");
                printer.expr(default, ANY);
            }
        });
        self.text(") ");
        if !function.captures.is_empty() {
            self.text("closure (");
            self.list(&function.captures, |printer, variable| printer.variable(variable.name));
            self.text(") ");
        }
        self.block(&function.body);
    }

    fn class(&mut self, class: &Class) {
        self.text("class ");
        self.name(class.name.name);
        self.text(" ");
        self.braces(|printer| {
            for member in &class.members {
                printer.indent();
                if member.is_private {
                    printer.text("private ");
                }
                if member.is_static {
                    printer.text("static ");
                }
                match &member.kind {
                    MemberKind::Constructor(function) => {
                        printer.text("constructor");
                        printer.function_rest(function);
                    }
                    MemberKind::Method(function) => printer.function(function),
                    MemberKind::Property { name, value, is_readonly } => {
                        if *is_readonly {
                            printer.text("readonly ");
                        }
                        printer.variable(name.name);
                        printer.text(" = ");
                        printer.expr(value, ANY);
                        printer.text(";");
                    }
                }
                printer.text("\n");
            }
        });
    }

    // Expressions

    /// Prints an expression where only those of at least `level` can stand without parentheses.
    fn expr(&mut self, expr: &Expr, level: u8) {
        let own = level_of(&expr.kind);
        let is_grouped = match self.grouping {
            Grouping::Needed => own < level,
            Grouping::Explicit => own < level || (level > ANY && own < POSTFIX),
        };
        if is_grouped {
            self.text("(");
        }
        self.expr_kind(expr);
        if is_grouped {
            self.text(")");
        }
    }

    fn expr_kind(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::None => self.text("none"),
            ExprKind::Bool(value) => self.text(if *value { "true" } else { "false" }),
            ExprKind::Number(value) => self.text(&value.to_string()),
            ExprKind::String(value) => self.string(value),
            ExprKind::Interpolated(parts) => self.interpolated(parts),
            ExprKind::Regex(regex) => {
                self.text("#/");
                self.pattern_text(&regex.pattern);
                self.text("/");
                self.text(&regex.modifiers);
            }
            ExprKind::Array(items) => {
                self.text("[");
                self.list(items, Self::array_item);
                self.text("]");
            }
            ExprKind::Variable(name) => self.variable(*name),
            ExprKind::Name(name) => self.name(*name),
            ExprKind::Scoped { outer, scope, member, is_variable } => {
                for name in outer {
                    self.name(name.name);
                    self.text("::");
                }
                match scope {
                    Some(scope) => self.name(scope.name),
                    None => self.text("static"),
                }
                self.text(if *is_variable { "::$" } else { "::" });
                self.name(member.name);
            }
            ExprKind::Builtin(name) => {
                self.text("builtin ");
                self.name(*name);
            }
            ExprKind::Postfix { base, suffixes } => {
                self.expr(base, PRIMARY);
                for suffix in suffixes {
                    self.suffix(suffix);
                }
            }
            ExprKind::Cache(cache) => {
                self.text("cache [");
                self.list(&cache.options, Self::array_item);
                self.text("] ");
                self.expr(&cache.callee, PRIMARY);
                self.arguments(&cache.arguments);
            }
            ExprKind::Unary { op, operand } => self.unary(*op, operand),
            ExprKind::Step { target, op, is_prefix } => {
                let sign = match op {
                    StepOp::Increment => "++",
                    StepOp::Decrement => "--",
                };
                if *is_prefix {
                    self.text(sign);
                }
                self.expr(target, POSTFIX);
                if !is_prefix {
                    self.text(sign);
                }
            }
            ExprKind::Binary { first, steps } => self.binary(first, steps),
            ExprKind::Logical { op, operands } => {
                let (word, level) = match op {
                    LogicalOp::And => (" and ", AND),
                    LogicalOp::Or => (" or ", OR),
                };
                self.operands(operands, word, level + 1);
            }
            ExprKind::Coalesce(operands) => self.operands(operands, " ?? ", COALESCE + 1),
            ExprKind::Conditional { condition, then, otherwise } => {
                self.expr(condition, COALESCE);
                match then {
                    Some(then) => {
                        self.text(" ? ");
                        self.branch(then);
                        self.text(" : ");
                    }
                    None => self.text(" ?: "),
                }
                self.branch(otherwise);
            }
            ExprKind::Assign { target, op, value } => {
                self.target(target);
                self.text(" ");
                match op {
                    None => {}
                    Some(AssignOp::Coalesce) => self.text("??"),
                    Some(AssignOp::Binary(op)) => self.text(sign(*op)),
                }
                self.text("= ");
                self.branch(value);
            }
            ExprKind::Function(function) => self.function(function),
            ExprKind::Match(parts) => {
                self.text("match (");
                self.expr(&parts.subject, ANY);
                self.text(") ");
                self.braces(|printer| {
                    for arm in &parts.arms {
                        printer.indent();
                        if arm.labels.is_empty() {
                            printer.text("default");
                        }
                        printer.list(&arm.labels, |printer, label| printer.expr(label, ANY));
                        printer.text(" => ");
                        printer.expr(&arm.value, ANY);
                        printer.text(",\n");
                    }
                });
            }
            ExprKind::Isset(place) => {
                self.text("isset(");
                self.expr(place, ANY);
                self.text(")");
            }
            ExprKind::Unset(place) => {
                self.text("unset(");
                self.expr(place, ANY);
                self.text(")");
            }
        }
    }

    /// Prints an operand that could be any expression.
    fn branch(&mut self, expr: &Expr) {
        let level = match self.grouping {
            Grouping::Needed => ANY,
            Grouping::Explicit => COALESCE,
        };
        self.expr(expr, level);
    }

    fn operands(&mut self, operands: &[Expr], sign: &str, level: u8) {
        for (index, operand) in operands.iter().enumerate() {
            if index > 0 {
                self.text(sign);
            }
            self.expr(operand, level);
        }
    }

    fn unary(&mut self, op: UnaryOp, operand: &Expr) {
        let sign = match op {
            UnaryOp::Not => "!",
            UnaryOp::Minus => "-",
            UnaryOp::Plus => "+",
            UnaryOp::BitNot => "~",
        };
        self.text(sign);
        let start = self.out.len();
        self.expr(operand, PREFIX);
        // Two signs in a row would read as `++` or `--`.
        if matches!(op, UnaryOp::Minus | UnaryOp::Plus)
            && self.out.get(start) == sign.as_bytes().first()
        {
            self.out.insert(start, b' ');
        }
    }

    fn binary(&mut self, first: &Expr, steps: &[BinaryStep]) {
        let level = steps.first().map_or(POWER, |step| binary_level(step.op));
        if self.grouping == Grouping::Explicit {
            self.text(&"(".repeat(steps.len().saturating_sub(1)));
        }
        self.expr(first, level + 1);
        for (index, step) in steps.iter().enumerate() {
            if self.grouping == Grouping::Explicit && index > 0 {
                self.text(")");
            }
            self.text(" ");
            self.text(sign(step.op));
            self.text(" ");
            self.expr(&step.operand, if level == POWER { POWER } else { level + 1 });
        }
    }

    fn suffix(&mut self, suffix: &Suffix) {
        match &suffix.kind {
            SuffixKind::Call(arguments) => self.arguments(arguments),
            SuffixKind::Index(index) => {
                self.text("[");
                self.expr(index, ANY);
                self.text("]");
            }
            SuffixKind::IndexPath(path) => {
                self.text("[...");
                self.expr(path, ANY);
                self.text("]");
            }
            SuffixKind::Append => self.text("[]"),
            SuffixKind::Slice(slice) => self.slice(slice),
            SuffixKind::Property(name) => {
                self.text("->");
                self.name(*name);
            }
        }
    }

    fn slice(&mut self, slice: &Slice) {
        self.text("[");
        self.optional(slice.first.as_ref());
        self.text(":");
        self.optional(slice.last.as_ref());
        if slice.step.is_some() {
            // `name::name` would be a member.
            self.text(if slice.first.is_some() && slice.last.is_none() { " :" } else { ":" });
            self.optional(slice.step.as_ref());
        }
        self.text("]");
    }

    fn arguments(&mut self, arguments: &[Argument]) {
        self.text("(");
        self.list(arguments, |printer, argument| match argument {
            Argument::Value(value) => printer.expr(value, ANY),
            Argument::Spread(value) => {
                printer.text("...");
                printer.expr(value, ANY);
            }
        });
        self.text(")");
    }

    fn array_item(&mut self, item: &ArrayItem) {
        match item {
            ArrayItem::Value(value) => self.expr(value, ANY),
            ArrayItem::Pair(key, value) => {
                self.expr(key, ANY);
                self.text(" => ");
                self.expr(value, ANY);
            }
            ArrayItem::Spread(value) => {
                self.text("...");
                self.expr(value, ANY);
            }
        }
    }

    fn target(&mut self, target: &Target) {
        match target {
            Target::Place(place) => self.expr(place, POSTFIX),
            Target::Pattern(pattern) => self.pattern(pattern),
        }
    }

    fn pattern(&mut self, pattern: &Pattern) {
        self.text("[");
        self.list(&pattern.entries, |printer, entry| {
            if let Some(key) = &entry.key {
                printer.expr(key, ANY);
                printer.text(" => ");
            }
            printer.target(&entry.target);
            if let Some(default) = &entry.default {
                printer.text(" = ");
                printer.branch(default);
            }
        });
        if let Some(rest) = pattern.rest {
            self.text(if pattern.entries.is_empty() { "..." } else { ", ..." });
            self.variable(rest.name);
        }
        self.text("]");
    }

    // Literals

    fn literal(&mut self, literal: &StringLiteral) {
        self.string(&literal.value);
    }

    fn string(&mut self, value: &[u8]) {
        self.text("\"");
        self.escaped(value);
        self.text("\"");
    }

    fn interpolated(&mut self, parts: &[StringPart]) {
        self.text("\"");
        for part in parts {
            match part {
                StringPart::Text(text) => self.escaped(text),
                StringPart::Variable(variable) => {
                    self.text("${");
                    self.name(variable.name);
                    self.text("}");
                }
            }
        }
        self.text("\"");
    }

    fn escaped(&mut self, value: &[u8]) {
        for &byte in value {
            match byte {
                b'\\' | b'"' | b'$' => self.out.extend_from_slice(&[b'\\', byte]),
                b'\n' => self.text("\\n"),
                b'\r' => self.text("\\r"),
                b'\t' => self.text("\\t"),
                0..0x20 | 0x7f => self.text(&format!("\\x{byte:02x}")),
                _ => self.out.push(byte),
            }
        }
    }

    /// Prints a pattern with its slashes escaped; a backslash keeps the byte behind it.
    fn pattern_text(&mut self, pattern: &[u8]) {
        let mut bytes = pattern.iter();
        while let Some(&byte) = bytes.next() {
            if byte == b'/' {
                self.out.push(b'\\');
            }
            self.out.push(byte);
            if byte == b'\\' {
                self.out.extend(bytes.next());
            }
        }
    }
}

/// Returns how operators are written.
#[must_use]
pub const fn sign(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Add => "+",
        BinaryOp::Subtract => "-",
        BinaryOp::Multiply => "*",
        BinaryOp::Divide => "/",
        BinaryOp::Remainder => "%",
        BinaryOp::Power => "**",
        BinaryOp::Concat => ".",
        BinaryOp::BitAnd => "&",
        BinaryOp::BitOr => "|",
        BinaryOp::BitXor => "^",
        BinaryOp::ShiftLeft => "<<",
        BinaryOp::ShiftRight => ">>",
        BinaryOp::ShiftRightUnsigned => ">>>",
        BinaryOp::Equal => "==",
        BinaryOp::NotEqual => "!=",
        BinaryOp::Identical => "===",
        BinaryOp::NotIdentical => "!==",
        BinaryOp::Less => "<",
        BinaryOp::Greater => ">",
        BinaryOp::LessEqual => "<=",
        BinaryOp::GreaterEqual => ">=",
        BinaryOp::RegexMatch => "=~",
        BinaryOp::RegexNoMatch => "!~",
    }
}

// Levels, as in the table of `parser::expr`, which must say the same.
const ANY: u8 = 0;
const COALESCE: u8 = 1;
const OR: u8 = 2;
const AND: u8 = 3;
const POWER: u8 = 13;
const PREFIX: u8 = 14;
const POSTFIX: u8 = 15;
const PRIMARY: u8 = 16;

const fn binary_level(op: BinaryOp) -> u8 {
    match op {
        BinaryOp::Power => POWER,
        BinaryOp::Multiply | BinaryOp::Divide | BinaryOp::Remainder => 12,
        BinaryOp::Add | BinaryOp::Subtract => 11,
        BinaryOp::Concat => 10,
        BinaryOp::ShiftLeft | BinaryOp::ShiftRight | BinaryOp::ShiftRightUnsigned => 9,
        BinaryOp::BitAnd => 8,
        BinaryOp::BitXor => 7,
        BinaryOp::BitOr => 6,
        BinaryOp::Equal
        | BinaryOp::NotEqual
        | BinaryOp::Identical
        | BinaryOp::NotIdentical
        | BinaryOp::Less
        | BinaryOp::Greater
        | BinaryOp::LessEqual
        | BinaryOp::GreaterEqual
        | BinaryOp::RegexMatch
        | BinaryOp::RegexNoMatch => 5,
    }
}

/// Returns how tight an expression binds by itself.
fn level_of(kind: &ExprKind) -> u8 {
    match kind {
        ExprKind::Assign { .. } | ExprKind::Conditional { .. } => ANY,
        ExprKind::Coalesce(_) => COALESCE,
        ExprKind::Logical { op: LogicalOp::Or, .. } => OR,
        ExprKind::Logical { op: LogicalOp::And, .. } => AND,
        ExprKind::Binary { steps, .. } => steps.first().map_or(POWER, |step| binary_level(step.op)),
        ExprKind::Unary { .. } | ExprKind::Step { is_prefix: true, .. } => PREFIX,
        // `$a++` takes no suffix, so it is not as good as `$a`, but better than `!$a`.
        ExprKind::Step { .. } => PREFIX,
        ExprKind::Postfix { .. } => POSTFIX,
        _ => PRIMARY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parser::{Limits, parse};
    use crate::source::SourceMap;

    fn print(text: &str) -> String {
        let file = SourceMap::new().add("t", None, text.into());
        let mut interner = Interner::new();
        let tree = parse(&file, &mut interner, &Limits::default())
            .unwrap_or_else(|error| panic!("{text}: {error}"));
        String::from_utf8(script(&tree, &interner, Grouping::Needed)).expect("UTF-8")
    }

    #[test]
    fn parentheses_stay_where_they_are_needed_and_only_there() {
        for (text, printed) in [
            ("1 + (2 * 3);", "1 + 2 * 3;"),
            ("(1 + 2) * 3;", "(1 + 2) * 3;"),
            ("(1 + 2) + 3;", "(1 + 2) + 3;"),
            ("1 - (2 - 3);", "1 - (2 - 3);"),
            ("(2 ** 3) ** (4 ** 5);", "(2 ** 3) ** 4 ** 5;"),
            ("(-2) ** 2;", "-2 ** 2;"),
            ("-(2 ** 2);", "-(2 ** 2);"),
            ("($a and $b) or $c;", "$a and $b or $c;"),
            ("$a and ($b or $c);", "$a and ($b or $c);"),
            ("($a ?? $b) ?? $c;", "($a ?? $b) ?? $c;"),
            ("($a ? 1 : 2) ? 3 : (4 ?: 5);", "($a ? 1 : 2) ? 3 : 4 ?: 5;"),
            ("not ($a = 1);", "!($a = 1);"),
            ("not ($a == 1);", "!($a == 1);"),
            ("($a->b)->c;", "($a->b)->c;"),
            ("($a++) . (-$b)[0];", "$a++ . (-$b)[0];"),
            ("(\"a\")[0];", "\"a\"[0];"),
        ] {
            assert_eq!(print(text), format!("{printed}\n"), "{text}");
        }
    }

    #[test]
    fn signs_and_names_do_not_run_together() {
        for text in [
            "- -$a;",
            "+ +$a;",
            "- --$a;",
            "+ ++$a;",
            "-+$a;",
            "-(-1)[0];",
            "$a - -$b;",
            "$a[n: :m];",
            "$a[::m];",
            "(__debug[1]);",
            "__debug(1);",
            "\"${a}b\";",
        ] {
            assert_eq!(print(text), format!("{text}\n"));
        }
    }
}
