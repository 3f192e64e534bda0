//! The syntax tree: what a script says, before anything about it is known.
//!
//! Start at [`Script`], then [`StmtKind`] and [`ExprKind`]. Each node has the [`Span`] of its text.
//!
//! The tree is never deeper than the parser's nesting limit (times a small constant), so every stage
//! may walk it by plain recursion, and dropping it is safe. Long chains are flat: `1 + 2 + 3` is one
//! [`ExprKind::Binary`] with two steps, `$a->b["c"](1)` one [`ExprKind::Postfix`] with three suffixes,
//! `if … else if … else` one [`StmtKind::If`] with two arms.
//!
//! The parser has checked what the grammar alone can tell: assignment targets are places, keyed and
//! positional destructuring are not mixed, `...` stands last, only trailing parameters have defaults.
//! Scopes, arity, `break` outside a loop, `return` in odd places and constant expressions are the
//! business of the next stage.

use crate::source::{FileId, Span};
use crate::symbol::Symbol;

/// One parsed file.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// The file the text came from.
    pub file: FileId,
    /// Its statements.
    pub body: Vec<Stmt>,
}

/// A name where it stands: of a variable (without `$`), function, class, property or namespace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ident {
    /// The name.
    pub name: Symbol,
    /// Where it stands; for a variable with its `$`.
    pub span: Span,
}

/// A literal string without interpolation, as paths are.
#[derive(Clone, Debug, PartialEq)]
pub struct StringLiteral {
    /// The bytes meant, escapes resolved.
    pub value: Box<[u8]>,
    /// Where it stands, with its quotes.
    pub span: Span,
}

// ---------------------------------------------------------------------------------------------
// Statements

/// A statement and its place, with its `;`.
#[derive(Clone, Debug, PartialEq)]
pub struct Stmt {
    /// What it does.
    pub kind: StmtKind,
    /// Where it stands.
    pub span: Span,
}

/// The statements of HSL.
#[derive(Clone, Debug, PartialEq)]
pub enum StmtKind {
    /// `;`
    Empty,
    /// `{ … }`
    Block(Block),
    /// `expr;`
    Expr(Expr),
    /// `echo expr;`
    Echo(Expr),
    /// `if (c) s else if (c) s else s`
    If {
        /// The conditions in order, each with its statement; at least one.
        arms: Vec<(Expr, Stmt)>,
        /// The statement of the last `else`.
        otherwise: Option<Box<Stmt>>,
    },
    /// `for (init; condition; step) s`
    For(Box<For>),
    /// `foreach (e as $k => $v) s`
    Foreach(Box<Foreach>),
    /// `while (c) s`
    While {
        /// Tested before each round.
        condition: Expr,
        /// The loop's statement.
        body: Box<Stmt>,
    },
    /// `forever s`
    Forever(Box<Stmt>),
    /// `switch (e) { … }`
    Switch {
        /// What the cases are compared with.
        subject: Expr,
        /// The cases in order; at most one is `default`.
        cases: Vec<Case>,
    },
    /// `break;`
    Break,
    /// `continue;`
    Continue,
    /// `return;` or `return e;`
    Return(Option<Expr>),
    /// `throw e;`
    Throw(Expr),
    /// `yield e;`
    Yield(Expr),
    /// `try { … } catch ($e) { … }`
    Try {
        /// The guarded statements.
        body: Block,
        /// The variable that holds what was thrown.
        variable: Ident,
        /// The statements run after a throw.
        handler: Block,
    },
    /// `barrier e { … }` or `barrier e => $v { … }`
    Barrier {
        /// The name of the critical section.
        name: Expr,
        /// The variable bound to the shared value.
        variable: Option<Ident>,
        /// The statements run inside.
        body: Block,
    },
    /// `global $a, $b;`
    Global(Vec<Ident>),
    /// `include "path";` or `include_once "path";`
    Include {
        /// What to include.
        path: StringLiteral,
        /// Whether a file already included is skipped.
        once: bool,
    },
    /// `import … from "path" with […];`
    Import(Box<Import>),
    /// `function name(…) { … }`; the function has a name.
    Function(Box<Function>),
    /// `class Name { … }`
    Class(Box<Class>),
    /// `__debug […]`, put before a line by a debugger: its session and the number of the breakpoint.
    Debug(Vec<ArrayItem>),
}

/// `{ … }`
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// The statements inside.
    pub body: Vec<Stmt>,
    /// From `{` to `}`.
    pub span: Span,
}

/// `for (init; condition; step) body`
#[derive(Clone, Debug, PartialEq)]
pub struct For {
    /// Evaluated once, before the loop.
    pub init: Option<Expr>,
    /// Tested before each round; missing means true.
    pub condition: Option<Expr>,
    /// Evaluated after each round.
    pub step: Option<Expr>,
    /// The loop's statement.
    pub body: Stmt,
}

/// `foreach (subject as $key => $value) body`
#[derive(Clone, Debug, PartialEq)]
pub struct Foreach {
    /// What is walked.
    pub subject: Expr,
    /// The variable for the keys.
    pub key: Option<Ident>,
    /// The variable for the values.
    pub value: Ident,
    /// The loop's statement.
    pub body: Stmt,
}

/// One `case e:` or `default:` with the statements up to the next one.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// The value compared; `None` is `default`.
    pub label: Option<Expr>,
    /// The statements; without `break` they run on into the next case.
    pub body: Vec<Stmt>,
    /// From `case` or `default` to its `:`.
    pub span: Span,
}

/// `import what from "path" with options;`
#[derive(Clone, Debug, PartialEq)]
pub struct Import {
    /// What is imported.
    pub what: ImportWhat,
    /// From where.
    pub path: StringLiteral,
    /// The options of a data loader.
    pub options: Option<Expr>,
}

/// The three forms of `import`.
#[derive(Clone, Debug, PartialEq)]
pub enum ImportWhat {
    /// `{ f, g as h, $x, $y as $z }`
    Symbols(Vec<ImportSymbol>),
    /// `* as ns`
    Namespace(Ident),
    /// `$data`
    Data(Ident),
}

/// One entry of `import { … }`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ImportSymbol {
    /// The name in the module.
    pub name: Ident,
    /// The name here, if another one was asked for.
    pub alias: Option<Ident>,
    /// Whether this is a variable (both names then) or a function or class.
    pub is_variable: bool,
}

/// `class Name { … }`
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    /// The name of the class.
    pub name: Ident,
    /// The members in order.
    pub members: Vec<Member>,
}

/// A member of a class.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// What it is.
    pub kind: MemberKind,
    /// `private`: reachable only from functions of the same instance or class.
    pub is_private: bool,
    /// `static`: exists once, at the class.
    pub is_static: bool,
    /// Where it stands, modifiers included.
    pub span: Span,
}

/// The kinds of class members.
#[derive(Clone, Debug, PartialEq)]
pub enum MemberKind {
    /// `constructor(…) { … }`; at most one, without modifiers and without a name.
    Constructor(Function),
    /// `function name(…) { … }`
    Method(Function),
    /// `$name = value;`
    Property {
        /// The name of the property.
        name: Ident,
        /// Its first value.
        value: Expr,
        /// `readonly`: written only by functions of the same instance.
        is_readonly: bool,
    },
}

/// A function: named, anonymous, method or constructor.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    /// Its name, unless it is anonymous or a constructor.
    pub name: Option<Ident>,
    /// The parameters; those with a default come last, a rest parameter behind them.
    pub params: Vec<Param>,
    /// The variables captured by reference: `closure ($a, $b)`.
    pub captures: Vec<Ident>,
    /// The statements.
    pub body: Block,
    /// Whether the body, nested functions aside, holds `yield`.
    pub is_generator: bool,
    /// From `function` or `constructor` to the closing brace.
    pub span: Span,
}

/// A parameter of a function.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// The variable.
    pub name: Ident,
    /// `= expr`
    pub default: Option<Expr>,
    /// `...$name`: takes the remaining arguments as an array.
    pub is_rest: bool,
}

// ---------------------------------------------------------------------------------------------
// Expressions

/// An expression and its place. Parentheses leave no node, but they belong to the span.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What it computes.
    pub kind: ExprKind,
    /// Where it stands.
    pub span: Span,
}

/// The expressions of HSL.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// `none`
    None,
    /// `true` or `false`
    Bool(bool),
    /// A number; never negative, never NaN or infinite.
    Number(f64),
    /// A string without interpolation.
    String(Box<[u8]>),
    /// A string with interpolation; at least one part is a variable.
    Interpolated(Vec<StringPart>),
    /// `#/pattern/modifiers`
    Regex(Box<Regex>),
    /// `[…]` or `array(…)`
    Array(Vec<ArrayItem>),
    /// `$name`
    Variable(Symbol),
    /// A bare name: a function or class, as value or (before a call suffix) as callee.
    Name(Symbol),
    /// `Name::member`, `static::member` or `namespace::Name::member`
    Scoped {
        /// The namespaces in front of `scope`, from the outermost; none of them is `static`.
        outer: Box<[Ident]>,
        /// The class or namespace; `None` is `static`.
        scope: Option<Ident>,
        /// The name behind `::`.
        member: Ident,
        /// Whether the member is a variable (`Name::$x`) or a function or class (`Name::f`).
        is_variable: bool,
    },
    /// `builtin name`
    Builtin(Symbol),
    /// `base` and what follows it: calls, subscripts, slices, properties; at least one suffix.
    ///
    /// `$a->f(1)["x"]` is the variable with a property, a call and an index. A property right before
    /// a call is a method call.
    Postfix {
        /// What the suffixes start from.
        base: Box<Expr>,
        /// The suffixes from left to right.
        suffixes: Vec<Suffix>,
    },
    /// `cache [options] callee(args)`
    Cache(Box<Cache>),
    /// `! - + ~` and `not`
    Unary {
        /// The operator.
        op: UnaryOp,
        /// Its operand.
        operand: Box<Expr>,
    },
    /// `++` and `--`, before or behind a place.
    Step {
        /// The variable, subscript, property or static member counted up or down.
        target: Box<Expr>,
        /// `++` or `--`.
        op: StepOp,
        /// Whether the operator stands before its target, so that the new value is the result.
        is_prefix: bool,
    },
    /// Binary operators of one level, grouped to the left: `((first op operand) op operand) …`.
    ///
    /// `**` groups to the right: always one step, whose operand may be another `**`.
    Binary {
        /// The leftmost operand.
        first: Box<Expr>,
        /// Operators with their right operands; at least one.
        steps: Vec<BinaryStep>,
    },
    /// `a and b and c` or `a or b or c`; two operands or more.
    Logical {
        /// Which of the two.
        op: LogicalOp,
        /// The operands from left to right.
        operands: Vec<Expr>,
    },
    /// `a ?? b ?? c`: the first operand that is set and not none, or the last; two or more.
    Coalesce(Vec<Expr>),
    /// `c ? a : b`, or `c ?: b` where `then` is missing.
    Conditional {
        /// The condition; evaluated once.
        condition: Box<Expr>,
        /// The value if true; missing means the condition's own value.
        then: Option<Box<Expr>>,
        /// The value if false.
        otherwise: Box<Expr>,
    },
    /// `target = value`, `target += value`, `[$a, $b] = value`, …
    Assign {
        /// What is written.
        target: Box<Target>,
        /// `None` is `=`. Only `=` goes with a pattern.
        op: Option<AssignOp>,
        /// The new value, or the right operand.
        value: Box<Expr>,
    },
    /// `function (…) closure (…) { … }`; the function has no name.
    Function(Box<Function>),
    /// `match (e) { … }`
    Match(Box<Match>),
    /// `isset(place)`
    Isset(Box<Expr>),
    /// `unset(place)`
    Unset(Box<Expr>),
}

impl ExprKind {
    /// Returns whether this names a place that can be assigned: a variable, a static variable, or a
    /// postfix chain that ends in a subscript, slice, append or property.
    #[must_use]
    pub fn is_place(&self) -> bool {
        match self {
            Self::Variable(_) => true,
            Self::Scoped { is_variable, .. } => *is_variable,
            Self::Postfix { suffixes, .. } => {
                suffixes.last().is_some_and(|last| !matches!(last.kind, SuffixKind::Call(_)))
            }
            _ => false,
        }
    }
}

/// A piece of a double-quoted string.
#[derive(Clone, Debug, PartialEq)]
pub enum StringPart {
    /// Text, escapes resolved; never empty, never next to another text.
    Text(Box<[u8]>),
    /// `$name` or `${name}`
    Variable(Ident),
}

/// `#/pattern/modifiers`
#[derive(Clone, Debug, PartialEq)]
pub struct Regex {
    /// The pattern, with `\/` already turned into `/`.
    pub pattern: Box<[u8]>,
    /// The letters behind the closing slash, out of `imusxUX`.
    pub modifiers: Box<str>,
}

/// An entry of an array literal.
#[derive(Clone, Debug, PartialEq)]
pub enum ArrayItem {
    /// `value`
    Value(Expr),
    /// `key => value`
    Pair(Expr, Expr),
    /// `...array`
    Spread(Expr),
}

/// An argument of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Argument {
    /// `value`
    Value(Expr),
    /// `...array`
    Spread(Expr),
}

/// What can follow an expression, and its own place without the expression before it.
#[derive(Clone, Debug, PartialEq)]
pub struct Suffix {
    /// What it does.
    pub kind: SuffixKind,
    /// From its first to its last token.
    pub span: Span,
}

/// The suffixes of HSL.
#[derive(Clone, Debug, PartialEq)]
pub enum SuffixKind {
    /// `(arguments)`
    Call(Vec<Argument>),
    /// `[index]`
    Index(Expr),
    /// `[...path]`: a subscript by a list of keys.
    IndexPath(Expr),
    /// `[]`: the place behind the last element. Only as the last suffix of an assignment target, or
    /// in the middle of one (`$a[]["x"] = 1`).
    Append,
    /// `[first:last:step]`
    Slice(Box<Slice>),
    /// `->name`
    Property(Symbol),
}

/// The parts of `[first:last:step]`, each optional.
#[derive(Clone, Debug, PartialEq)]
pub struct Slice {
    /// The first position taken.
    pub first: Option<Expr>,
    /// The first position not taken.
    pub last: Option<Expr>,
    /// The distance between positions.
    pub step: Option<Expr>,
}

/// `cache [options] callee(arguments)`
#[derive(Clone, Debug, PartialEq)]
pub struct Cache {
    /// The entries of the option array.
    pub options: Vec<ArrayItem>,
    /// The function: a name, `builtin name` or `Class::name`.
    pub callee: Expr,
    /// Its arguments.
    pub arguments: Vec<Argument>,
}

/// An operator with its right operand.
#[derive(Clone, Debug, PartialEq)]
pub struct BinaryStep {
    /// The operator.
    pub op: BinaryOp,
    /// Where the operator stands.
    pub op_span: Span,
    /// Its right operand.
    pub operand: Expr,
}

/// `match (subject) { … }`
#[derive(Clone, Debug, PartialEq)]
pub struct Match {
    /// What the arms are compared with.
    pub subject: Expr,
    /// The arms in order; at most one is `default`.
    pub arms: Vec<MatchArm>,
}

/// One arm of a `match`.
#[derive(Clone, Debug, PartialEq)]
pub struct MatchArm {
    /// The values that choose this arm; empty is `default`.
    pub labels: Vec<Expr>,
    /// The value of the `match` then.
    pub value: Expr,
}

/// The left side of an assignment.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// A place: [`ExprKind::is_place`] holds.
    Place(Expr),
    /// `[…]`
    Pattern(Pattern),
}

/// A destructuring list.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    /// The targets in order. Either all have a key or none has.
    pub entries: Vec<PatternEntry>,
    /// `...$rest`, last.
    pub rest: Option<Ident>,
    /// From `[` to `]`.
    pub span: Span,
}

/// One target of a destructuring list.
#[derive(Clone, Debug, PartialEq)]
pub struct PatternEntry {
    /// `key =>`
    pub key: Option<Expr>,
    /// What is written; may be a list again.
    pub target: Target,
    /// `= expr`, for a missing item.
    pub default: Option<Expr>,
}

/// Prefix operators that compute a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnaryOp {
    /// `!` and `not`
    Not,
    /// `-`
    Minus,
    /// `+`
    Plus,
    /// `~`
    BitNot,
}

/// `++` and `--`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StepOp {
    /// `++`
    Increment,
    /// `--`
    Decrement,
}

/// Binary operators that evaluate both operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`
    Remainder,
    /// `**`
    Power,
    /// `.`
    Concat,
    /// `&`
    BitAnd,
    /// `|`
    BitOr,
    /// `^`
    BitXor,
    /// `<<`
    ShiftLeft,
    /// `>>`
    ShiftRight,
    /// `>>>`
    ShiftRightUnsigned,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `===`
    Identical,
    /// `!==`
    NotIdentical,
    /// `<`
    Less,
    /// `>`
    Greater,
    /// `<=`
    LessEqual,
    /// `>=`
    GreaterEqual,
    /// `=~`
    RegexMatch,
    /// `!~`
    RegexNoMatch,
}

/// The operators that may skip their right operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogicalOp {
    /// `and`
    And,
    /// `or`
    Or,
}

/// The operator part of a compound assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AssignOp {
    /// `+= -= *= /= %= **= .=`
    Binary(BinaryOp),
    /// `??=`: assigns only if the place is unset or none.
    Coalesce,
}
