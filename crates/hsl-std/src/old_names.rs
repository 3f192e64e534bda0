//! Names that left the manual in 5.0 and are still called by scripts (reference 3.19).
//!
//! Those that only changed their name are registered beside the new one with [`Renamed`]; the others,
//! which swap or add arguments, are here.

use hsl::host::{Answer, CallContext, Registry, Thrown};
use hsl::value::Value;

use crate::args::{self, Options};
use crate::services::Services;
use crate::{array, crypto, dns, encoding, string};

/// Registers the old names that are functions of their own.
pub(crate) fn register(registry: &mut Registry, services: &Services) {
    registry
        .pure_function(
            "explode(string delimiter, string string, number limit = 0) -> array",
            "old name of str_split, arguments swapped",
            |ctx, args| {
                let limit = args::integer(args, 2);
                string::split(ctx, args::bytes(args, 1), args::bytes(args, 0), limit)
            },
        )
        .pure_function(
            "implode(string glue, array array) -> string",
            "old name of array_join, arguments swapped",
            |ctx, args| {
                let glue = args::text(args, 0);
                array::join(ctx, args::array(args, 1), &glue)
            },
        )
        .pure_function(
            "range(number start, number stop, number step = 1) -> array",
            "numbers from start to stop, both included",
            |ctx, args| {
                let (start, stop, step) =
                    (args::number(args, 0), args::number(args, 1), args::number(args, 2));
                // Half a step further, so that the last number is stop and nothing else is.
                array::range(ctx, start, stop + step / 2.0, step)
            },
        )
        .function("rand(number x, number y) -> number", "old name of random_number", |_, args| {
            crypto::random_number(args::number_opt(args, 0), args::number_opt(args, 1))
        })
        .pure_function(
            "csv_explode(string string) -> array or none",
            "the fields of one CSV record",
            |_, args| {
                let options = Value::map([("header", Value::Bool(false))]);
                let format = encoding::csv::Format::new(Options::of(options.as_array()))?;
                let rows = format.decode(args::bytes(args, 0)).ok();
                let first = rows.as_ref().and_then(Value::as_array).and_then(|r| r.get_int(0));
                Ok::<_, Thrown>(first.cloned())
            },
        )
        .function(
            "in_array(any needle, array array) -> boolean",
            "old name of array_includes",
            array::includes,
        )
        .pure_function(
            "is_subdomain(string subdomain, string domain) -> boolean",
            "old name of domain_includes",
            |_, args| dns::domain_includes(args::bytes(args, 0), args::bytes(args, 1)),
        );
    dns::register_old_names(registry, services);
}

/// Registration of functions that had another name before 5.0.
pub(crate) trait Renamed {
    /// Registers a pure function under the name in its signature and under its old names.
    fn renamed<F, R>(&mut self, old: &[&str], signature: &str, doc: &str, body: F) -> &mut Self
    where
        F: Fn(&mut CallContext<'_>, &[&Value]) -> R + Send + Sync + Copy + 'static,
        R: Answer;
}

impl Renamed for Registry {
    fn renamed<F, R>(&mut self, old: &[&str], signature: &str, doc: &str, body: F) -> &mut Self
    where
        F: Fn(&mut CallContext<'_>, &[&Value]) -> R + Send + Sync + Copy + 'static,
        R: Answer,
    {
        let (new, parameters) = signature.split_once('(').unwrap_or((signature, ")"));
        for old in old {
            let doc = format!("old name of {new}");
            self.pure_function(&format!("{old}({parameters}"), &doc, body);
        }
        self.pure_function(signature, doc, body)
    }
}
