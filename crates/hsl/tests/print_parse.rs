//! Property: what is printed parses to the same tree, for any tree the parser can make.

use std::sync::LazyLock;

use hsl::ast::*;
use hsl::parser::{Limits, parse};
use hsl::print::{self, Grouping};
use hsl::source::{FileId, SourceMap, Span};
use hsl::symbol::{Interner, Symbol};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// Names that are tried; reserved words are among those for members only.
static NAMES: LazyLock<(Interner, Vec<Symbol>)> = LazyLock::new(|| {
    let mut interner = Interner::new();
    let names = ["a", "b", "f", "_x1", "is_array", "This", "print", "__debug", "and", "class"];
    let symbols = names.iter().map(|name| interner.intern(name)).collect();
    (interner, symbols)
});

/// So many names are reserved words, at the end of the list.
const RESERVED: usize = 2;

fn span() -> Span {
    Span::default()
}

fn symbol() -> impl Strategy<Value = Symbol> {
    (0..NAMES.1.len() - RESERVED).prop_map(|index| NAMES.1[index])
}

fn member_symbol() -> impl Strategy<Value = Symbol> {
    (0..NAMES.1.len()).prop_map(|index| NAMES.1[index])
}

fn with_span(name: Symbol) -> Ident {
    Ident { name, span: span() }
}

fn ident() -> impl Strategy<Value = Ident> {
    symbol().prop_map(with_span)
}

fn expr_of(kind: ExprKind) -> Expr {
    Expr { kind, span: span() }
}

fn bytes() -> impl Strategy<Value = Box<[u8]>> {
    let byte = prop_oneof![
        3 => proptest::sample::select(&b"\\\"$'{}[]n\n\t\0/#"[..]),
        1 => any::<u8>(),
        2 => b'a'..=b'z',
    ];
    vec(byte, 0..8).prop_map(Vec::into_boxed_slice)
}

fn string_literal() -> impl Strategy<Value = StringLiteral> {
    bytes().prop_map(|value| StringLiteral { value, span: span() })
}

fn interpolated() -> impl Strategy<Value = ExprKind> {
    let text = bytes().prop_filter("texts are not empty", |text| !text.is_empty()).boxed();
    let variable = ident().prop_map(StringPart::Variable);
    // Variables with a text before each or not: texts are never neighbours.
    (vec((option::of(text.clone()), variable), 1..4), option::of(text)).prop_map(|(pairs, last)| {
        let mut parts = Vec::new();
        for (text, variable) in pairs {
            parts.extend(text.map(StringPart::Text));
            parts.push(variable);
        }
        parts.extend(last.map(StringPart::Text));
        ExprKind::Interpolated(parts)
    })
}

/// A pattern in which every backslash has a byte behind it, and not a slash.
fn regex() -> impl Strategy<Value = ExprKind> {
    let pieces: &[&[u8]] = &[b"/", b"\\\\", b"\\d", b"[\"']", b"a+", b"\n"];
    let piece = proptest::sample::select(pieces);
    (vec(piece, 0..5), proptest::sample::select(&["", "i", "imusxUX"][..])).prop_map(
        |(pieces, modifiers)| {
            let pattern = pieces.concat().into_boxed_slice();
            ExprKind::Regex(Box::new(Regex { pattern, modifiers: modifiers.into() }))
        },
    )
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        (0_u32..1000).prop_map(f64::from),
        any::<f64>()
            .prop_map(f64::abs)
            .prop_filter("a literal is finite", |value| value.is_finite()),
    ]
}

fn scoped() -> impl Strategy<Value = ExprKind> {
    let variable = (scopes(), ident(), Just(true));
    let name = (scopes(), member_symbol().prop_map(with_span), Just(false));
    prop_oneof![variable, name].prop_map(|((outer, scope), member, is_variable)| ExprKind::Scoped {
        outer,
        scope,
        member,
        is_variable,
    })
}

/// What stands in front of the last `::`: `static`, or names.
fn scopes() -> impl Strategy<Value = (Box<[Ident]>, Option<Ident>)> {
    prop::collection::vec(ident(), 0..4).prop_map(|mut names| {
        let scope = names.pop();
        (names.into_boxed_slice(), scope)
    })
}

fn leaf() -> impl Strategy<Value = Expr> {
    prop_oneof![
        Just(ExprKind::None),
        any::<bool>().prop_map(ExprKind::Bool),
        number().prop_map(ExprKind::Number),
        bytes().prop_map(ExprKind::String),
        interpolated(),
        regex(),
        symbol().prop_map(ExprKind::Variable),
        symbol().prop_map(ExprKind::Variable),
        symbol().prop_map(ExprKind::Name),
        scoped(),
        symbol().prop_map(ExprKind::Builtin),
    ]
    .prop_map(expr_of)
}

type Exprs = BoxedStrategy<Expr>;

fn array_items(expr: Exprs) -> impl Strategy<Value = Vec<ArrayItem>> {
    let item = prop_oneof![
        2 => expr.clone().prop_map(ArrayItem::Value),
        1 => (expr.clone(), expr.clone()).prop_map(|(key, value)| ArrayItem::Pair(key, value)),
        1 => expr.prop_map(ArrayItem::Spread),
    ];
    vec(item, 0..4)
}

fn arguments(expr: Exprs) -> impl Strategy<Value = Vec<Argument>> {
    let argument = prop_oneof![
        3 => expr.clone().prop_map(Argument::Value),
        1 => expr.prop_map(Argument::Spread),
    ];
    vec(argument, 0..3)
}

fn suffix_of(kind: SuffixKind) -> Suffix {
    Suffix { kind, span: span() }
}

/// A suffix that leaves a place behind.
fn place_suffix(expr: Exprs) -> impl Strategy<Value = Suffix> {
    let slice = (option::of(expr.clone()), option::of(expr.clone()), option::of(expr.clone()))
        .prop_map(|(first, last, step)| SuffixKind::Slice(Box::new(Slice { first, last, step })));
    prop_oneof![
        expr.clone().prop_map(SuffixKind::Index),
        expr.prop_map(SuffixKind::IndexPath),
        slice,
        member_symbol().prop_map(SuffixKind::Property),
    ]
    .prop_map(suffix_of)
}

fn any_suffix(expr: Exprs) -> impl Strategy<Value = Suffix> {
    let call = arguments(expr.clone()).prop_map(SuffixKind::Call).prop_map(suffix_of);
    prop_oneof![place_suffix(expr), call]
}

fn postfix_of(base: Expr, suffixes: Vec<Suffix>) -> Expr {
    expr_of(ExprKind::Postfix { base: Box::new(base), suffixes })
}

fn place(expr: Exprs) -> BoxedStrategy<Expr> {
    let chain = (expr.clone(), vec(any_suffix(expr.clone()), 0..2), place_suffix(expr)).prop_map(
        |(base, mut suffixes, last)| {
            suffixes.push(last);
            postfix_of(base, suffixes)
        },
    );
    prop_oneof![symbol().prop_map(|name| expr_of(ExprKind::Variable(name))), chain].boxed()
}

/// A place that may append.
fn assigned_place(expr: Exprs) -> impl Strategy<Value = Expr> {
    (place(expr), any::<bool>()).prop_map(|(place, appends)| match place.kind {
        ExprKind::Postfix { base, mut suffixes } if appends => {
            suffixes.push(suffix_of(SuffixKind::Append));
            postfix_of(*base, suffixes)
        }
        kind => expr_of(kind),
    })
}

fn target(expr: Exprs) -> BoxedStrategy<Target> {
    let leaf = assigned_place(expr.clone()).prop_map(Target::Place);
    leaf.prop_recursive(2, 6, 3, move |target| {
        let entry = (target, option::of(expr.clone())).prop_map(|(target, default)| PatternEntry {
            key: None,
            target,
            default,
        });
        let keys = vec(expr.clone(), 3);
        (vec(entry, 1..4), option::of(keys), option::of(ident())).prop_map(
            |(mut entries, keys, rest)| {
                for (entry, key) in entries.iter_mut().zip(keys.unwrap_or_default()) {
                    entry.key = Some(key);
                }
                Target::Pattern(Pattern { entries, rest, span: span() })
            },
        )
    })
    .boxed()
}

fn binary_op() -> impl Strategy<Value = BinaryOp> {
    proptest::sample::select(ALL_OPS)
}

const ALL_OPS: &[BinaryOp] = &[
    BinaryOp::Add,
    BinaryOp::Subtract,
    BinaryOp::Multiply,
    BinaryOp::Divide,
    BinaryOp::Remainder,
    BinaryOp::Power,
    BinaryOp::Concat,
    BinaryOp::BitAnd,
    BinaryOp::BitOr,
    BinaryOp::BitXor,
    BinaryOp::ShiftLeft,
    BinaryOp::ShiftRight,
    BinaryOp::ShiftRightUnsigned,
    BinaryOp::Equal,
    BinaryOp::NotEqual,
    BinaryOp::Identical,
    BinaryOp::NotIdentical,
    BinaryOp::Less,
    BinaryOp::Greater,
    BinaryOp::LessEqual,
    BinaryOp::GreaterEqual,
    BinaryOp::RegexMatch,
    BinaryOp::RegexNoMatch,
];

fn binary(expr: Exprs) -> impl Strategy<Value = ExprKind> {
    let step = |op| move |operand| BinaryStep { op, op_span: span(), operand };
    (binary_op(), expr.clone(), vec(expr, 1..3)).prop_map(move |(op, first, mut operands)| {
        if op == BinaryOp::Power {
            operands.truncate(1);
        }
        let steps = operands.into_iter().map(step(op)).collect();
        ExprKind::Binary { first: Box::new(first), steps }
    })
}

fn assign_op() -> impl Strategy<Value = AssignOp> {
    use BinaryOp::{Add, Concat, Divide, Multiply, Power, Remainder, Subtract};
    let ops = &[Add, Subtract, Multiply, Divide, Remainder, Power, Concat][..];
    prop_oneof![proptest::sample::select(ops).prop_map(AssignOp::Binary), Just(AssignOp::Coalesce),]
}

fn function(expr: Exprs) -> impl Strategy<Value = Function> {
    let defaults = vec(expr.clone(), 0..3);
    let plain = 0..3_usize;
    (defaults, plain, any::<bool>(), vec(ident(), 0..2), vec(simple_stmt(expr), 0..3)).prop_map(
        |(defaults, plain, has_rest, captures, body)| {
            let count = plain + defaults.len() + usize::from(has_rest);
            let mut defaults = defaults.into_iter();
            let mut params = Vec::new();
            for (index, &name) in NAMES.1.iter().take(count).enumerate() {
                let is_rest = has_rest && index + 1 == count;
                let default = if index < plain || is_rest { None } else { defaults.next() };
                params.push(Param { name: with_span(name), default, is_rest });
            }
            let is_generator = body.iter().any(|stmt| matches!(stmt.kind, StmtKind::Yield(_)));
            let body = Block { body, span: span() };
            Function { name: None, params, captures, body, is_generator, span: span() }
        },
    )
}

fn match_expr(expr: Exprs) -> impl Strategy<Value = ExprKind> {
    let arm = (vec(expr.clone(), 1..3), expr.clone());
    let default = option::of(expr.clone());
    (expr, vec(arm, 1..3), default).prop_map(|(subject, arms, default)| {
        let mut arms: Vec<MatchArm> =
            arms.into_iter().map(|(labels, value)| MatchArm { labels, value }).collect();
        arms.extend(default.map(|value| MatchArm { labels: Vec::new(), value }));
        ExprKind::Match(Box::new(Match { subject, arms }))
    })
}

fn cache(expr: Exprs) -> impl Strategy<Value = ExprKind> {
    let member = (scopes(), ident()).prop_map(|((outer, scope), member)| ExprKind::Scoped {
        outer,
        scope,
        member,
        is_variable: false,
    });
    let callee = prop_oneof![
        symbol().prop_map(ExprKind::Name),
        symbol().prop_map(ExprKind::Builtin),
        member
    ];
    (array_items(expr.clone()), callee.prop_map(expr_of), arguments(expr)).prop_map(
        |(options, callee, arguments)| {
            ExprKind::Cache(Box::new(Cache { options, callee, arguments }))
        },
    )
}

fn compound(expr: Exprs) -> impl Strategy<Value = Expr> {
    let unary_op = proptest::sample::select(
        &[UnaryOp::Not, UnaryOp::Minus, UnaryOp::Plus, UnaryOp::BitNot][..],
    );
    let step_op = proptest::sample::select(&[StepOp::Increment, StepOp::Decrement][..]);
    let logical_op = proptest::sample::select(&[LogicalOp::And, LogicalOp::Or][..]);
    let boxed = expr.clone().prop_map(Box::new).boxed();
    let conditional = (boxed.clone(), option::of(boxed.clone()), boxed.clone());
    let assign = (target(expr.clone()), boxed.clone())
        .prop_map(|(target, value)| ExprKind::Assign { target: Box::new(target), op: None, value });
    let compound_assign =
        (place(expr.clone()), assign_op(), boxed.clone()).prop_map(|(place, op, value)| {
            ExprKind::Assign { target: Box::new(Target::Place(place)), op: Some(op), value }
        });
    let boxed_place = place(expr.clone()).prop_map(Box::new).boxed();
    prop_oneof![
        4 => binary(expr.clone()),
        2 => (unary_op, boxed.clone()).prop_map(|(op, operand)| ExprKind::Unary { op, operand }),
        1 => (boxed_place.clone(), step_op, any::<bool>())
            .prop_map(|(target, op, is_prefix)| ExprKind::Step { target, op, is_prefix }),
        2 => (logical_op, vec(expr.clone(), 2..4))
            .prop_map(|(op, operands)| ExprKind::Logical { op, operands }),
        1 => vec(expr.clone(), 2..4).prop_map(ExprKind::Coalesce),
        2 => conditional.prop_map(|(condition, then, otherwise)| ExprKind::Conditional {
            condition,
            then,
            otherwise,
        }),
        2 => assign,
        1 => compound_assign,
        3 => (boxed, vec(any_suffix(expr.clone()), 1..4))
            .prop_map(|(base, suffixes)| ExprKind::Postfix { base, suffixes }),
        2 => array_items(expr.clone()).prop_map(ExprKind::Array),
        1 => cache(expr.clone()),
        1 => match_expr(expr.clone()),
        1 => function(expr).prop_map(|function| ExprKind::Function(Box::new(function))),
        1 => boxed_place.clone().prop_map(ExprKind::Isset),
        1 => boxed_place.prop_map(ExprKind::Unset),
    ]
    .prop_map(expr_of)
}

fn expr() -> Exprs {
    leaf().prop_recursive(4, 24, 4, |inner| compound(inner.boxed())).boxed()
}

fn stmt_of(kind: StmtKind) -> Stmt {
    Stmt { kind, span: span() }
}

fn simple_stmt(expr: Exprs) -> impl Strategy<Value = Stmt> {
    prop_oneof![
        Just(StmtKind::Empty),
        expr.clone().prop_map(StmtKind::Expr),
        expr.clone().prop_map(StmtKind::Echo),
        expr.clone().prop_map(StmtKind::Throw),
        expr.clone().prop_map(StmtKind::Yield),
        option::of(expr).prop_map(StmtKind::Return),
        Just(StmtKind::Break),
        Just(StmtKind::Continue),
        vec(ident(), 1..3).prop_map(StmtKind::Global),
        (string_literal(), any::<bool>()).prop_map(|(path, once)| StmtKind::Include { path, once }),
    ]
    .prop_map(stmt_of)
}

fn import(expr: Exprs) -> impl Strategy<Value = StmtKind> {
    let symbol = (ident(), option::of(ident()), any::<bool>())
        .prop_map(|(name, alias, is_variable)| ImportSymbol { name, alias, is_variable });
    let what = prop_oneof![
        vec(symbol, 1..3).prop_map(ImportWhat::Symbols),
        ident().prop_map(ImportWhat::Namespace),
        ident().prop_map(ImportWhat::Data),
    ];
    (what, string_literal(), option::of(expr)).prop_map(|(what, path, options)| {
        StmtKind::Import(Box::new(Import { what, path, options }))
    })
}

fn class(expr: Exprs) -> impl Strategy<Value = StmtKind> {
    let method = (function(expr.clone()), any::<bool>(), any::<bool>()).prop_map(
        |(mut function, is_private, is_static)| {
            function.name = Some(with_span(NAMES.1[9]));
            function.captures.clear();
            Member { kind: MemberKind::Method(function), is_private, is_static, span: span() }
        },
    );
    let property = (ident(), expr.clone(), any::<[bool; 3]>()).prop_map(
        |(name, value, [is_private, is_static, is_readonly])| Member {
            kind: MemberKind::Property { name, value, is_readonly },
            is_private,
            is_static,
            span: span(),
        },
    );
    let constructor = function(expr).prop_map(|mut function| {
        function.captures.clear();
        let kind = MemberKind::Constructor(function);
        Member { kind, is_private: false, is_static: false, span: span() }
    });
    let members = vec(prop_oneof![method, property], 0..3);
    (ident(), members, option::of(constructor)).prop_map(|(name, mut members, constructor)| {
        members.extend(constructor);
        StmtKind::Class(Box::new(Class { name, members }))
    })
}

fn compound_stmt(stmt: BoxedStrategy<Stmt>, expr: Exprs) -> impl Strategy<Value = Stmt> {
    let block = vec(stmt, 0..3).prop_map(|body| Block { body, span: span() }).boxed();
    // Blocks as bodies: a body that ends in an open `if` would take the next `else`.
    let body = block.clone().prop_map(|block| stmt_of(StmtKind::Block(block))).boxed();
    let boxed = body.clone().prop_map(Box::new).boxed();
    let parts = (option::of(expr.clone()), option::of(expr.clone()), option::of(expr.clone()));
    let cases = (vec((option::of(expr.clone()), block.clone()), 0..3)).prop_map(|cases| {
        let mut has_default = false;
        let mut kept = Vec::new();
        for (label, block) in cases {
            if label.is_some() || !std::mem::replace(&mut has_default, true) {
                kept.push(Case { label, body: block.body, span: span() });
            }
        }
        kept
    });
    prop_oneof![
        block.clone().prop_map(StmtKind::Block),
        (vec((expr.clone(), body.clone()), 1..3), option::of(boxed.clone()))
            .prop_map(|(arms, otherwise)| StmtKind::If { arms, otherwise }),
        (parts, body.clone()).prop_map(|((init, condition, step), body)| {
            StmtKind::For(Box::new(For { init, condition, step, body }))
        }),
        (expr.clone(), option::of(ident()), ident(), body).prop_map(
            |(subject, key, value, body)| {
                StmtKind::Foreach(Box::new(Foreach { subject, key, value, body }))
            }
        ),
        (expr.clone(), boxed.clone())
            .prop_map(|(condition, body)| StmtKind::While { condition, body }),
        boxed.prop_map(StmtKind::Forever),
        (expr.clone(), cases).prop_map(|(subject, cases)| StmtKind::Switch { subject, cases }),
        (block.clone(), ident(), block.clone())
            .prop_map(|(body, variable, handler)| StmtKind::Try { body, variable, handler }),
        (expr.clone(), option::of(ident()), block)
            .prop_map(|(name, variable, body)| StmtKind::Barrier { name, variable, body }),
        import(expr.clone()),
        class(expr.clone()),
        (function(expr.clone()), ident()).prop_map(|(mut function, name)| {
            function.name = Some(name);
            function.captures.clear();
            StmtKind::Function(Box::new(function))
        }),
        array_items(expr).prop_map(StmtKind::Debug),
    ]
    .prop_map(stmt_of)
}

/// A function whose body is `body`, so that `yield` is allowed everywhere.
fn in_function(body: Vec<Stmt>) -> Script {
    let mut function = Function {
        name: Some(with_span(NAMES.1[0])),
        params: Vec::new(),
        captures: Vec::new(),
        body: Block { body, span: span() },
        is_generator: false,
        span: span(),
    };
    function.is_generator = yields(&function.body.body);
    let kind = StmtKind::Function(Box::new(function));
    Script { file: FileId::default(), body: vec![stmt_of(kind)] }
}

fn yields(body: &[Stmt]) -> bool {
    body.iter().any(|stmt| match &stmt.kind {
        StmtKind::Yield(_) => true,
        StmtKind::Block(block) => yields(&block.body),
        StmtKind::If { arms, otherwise } => {
            arms.iter().any(|(_, body)| yields(std::slice::from_ref(body)))
                || otherwise.as_deref().is_some_and(|body| yields(std::slice::from_ref(body)))
        }
        StmtKind::For(parts) => yields(std::slice::from_ref(&parts.body)),
        StmtKind::Foreach(parts) => yields(std::slice::from_ref(&parts.body)),
        StmtKind::While { body, .. } | StmtKind::Forever(body) => {
            yields(std::slice::from_ref(body))
        }
        StmtKind::Switch { cases, .. } => cases.iter().any(|case| yields(&case.body)),
        StmtKind::Try { body, handler, .. } => yields(&body.body) || yields(&handler.body),
        StmtKind::Barrier { body, .. } => yields(&body.body),
        _ => false,
    })
}

fn script() -> impl Strategy<Value = Script> {
    let expr = expr();
    let stmt = simple_stmt(expr.clone())
        .prop_recursive(3, 12, 3, move |inner| compound_stmt(inner.boxed(), expr.clone()));
    vec(stmt, 0..4).prop_map(in_function)
}

/// Returns a tree as text without its places.
fn shape(script: &Script) -> String {
    let text = format!("{:?}", script.body);
    let mut shape = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some((before, behind)) = rest.split_once("span: ") {
        shape.push_str(before);
        rest = behind.trim_start_matches(|c: char| c.is_ascii_digit() || c == ':' || c == '.');
    }
    shape + rest
}

fn reparse(text: Vec<u8>) -> Result<Script, TestCaseError> {
    let mut sources = SourceMap::new();
    let file = sources.add("printed", None, text);
    let mut interner = NAMES.0.clone();
    parse(&file, &mut interner, &Limits::default())
        .map_err(|error| TestCaseError::fail(error.render(&sources, hsl::diagnostic::Style::Plain)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_printed_tree_parses_to_itself(script in script()) {
        let text = print::script(&script, &NAMES.0, Grouping::Needed);
        let again = reparse(text.clone())?;
        prop_assert_eq!(shape(&script), shape(&again), "{}", String::from_utf8_lossy(&text));
    }

    /// Explicit parentheses split chains into steps, but change nothing else: printed once more,
    /// the text is the same.
    #[test]
    fn explicit_grouping_keeps_the_meaning(script in script()) {
        let text = print::script(&script, &NAMES.0, Grouping::Explicit);
        let again = reparse(text.clone())?;
        let printed = print::script(&again, &NAMES.0, Grouping::Explicit);
        prop_assert_eq!(String::from_utf8_lossy(&text), String::from_utf8_lossy(&printed));
    }

    #[test]
    fn any_bytes_are_parsed_or_refused(text in vec(any::<u8>(), 0..200)) {
        let _ = reparse(text);
    }
}
