//! Calls of the host's debugger and profiler: see [`crate::debug`].

use super::builder::Builder;
use super::function::Compiled;
use crate::ast::ArrayItem;
use crate::bytecode::{Op, Variable};
use crate::debug;
use crate::source::Span;
use crate::value::Value;

impl<'a> Builder<'a> {
    /// Compiles `__debug [items];` where the host has a debugger, and nothing elsewhere.
    pub(super) fn breakpoint(&mut self, items: &'a [ArrayItem], span: Span) -> Compiled<()> {
        let Some(function) = self.host.function(debug::BREAKPOINT).cloned() else {
            return Ok(());
        };
        let mark = self.f().next;
        let base = self.f().temporary(span)?;
        self.array(items, base, span)?;
        let values = self.f().temporary(span)?;
        self.f().emit(span, Op::NewArray { d: values, room: 0 });
        let visible = self.f().variables.iter();
        let visible: Vec<_> = visible.map(|(name, variable)| (*name, *variable)).collect();
        let mut visible: Vec<(String, Variable)> = visible
            .into_iter()
            .map(|(name, variable)| (self.text(name).to_owned(), variable))
            .collect();
        visible.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (name, variable) in visible {
            let b = self.f().temporary(span)?;
            self.f().load(span, b, Value::from(name))?;
            let c = self.f().temporary(span)?;
            self.read_quiet(variable, c, span);
            self.f().emit(span, Op::Put { a: values, b, c });
            self.f().next = u16::from(b);
        }
        let native = self.native(&function, None, span)?;
        self.f().emit(span, Op::CallNative { d: base, base, argc: 2, native });
        self.f().next = mark;
        Ok(())
    }

    /// Calls the profiler's function `name`, where the host has one.
    pub(super) fn probe(&mut self, name: &str, span: Span) -> Compiled<()> {
        let Some(function) = self.host.function(name).cloned() else { return Ok(()) };
        let mark = self.f().next;
        let base = self.f().temporary(span)?;
        let native = self.native(&function, None, span)?;
        self.f().emit(span, Op::CallNative { d: base, base, argc: 0, native });
        self.f().next = mark;
        Ok(())
    }
}
