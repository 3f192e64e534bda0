//! `halonctl hsl cache`: buckets of `cache` statements.

use control::{command::call, pb};

use crate::{
    context::Context,
    error::Result,
    output::table::{Align, Table},
};

/// What to do with the buckets.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum Verb {
    /// List the buckets
    #[command(after_help = "Example:\n  halonctl hsl cache list")]
    List,
    /// Empty buckets
    Clear(Clear),
}

/// Flags of `clear`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  halonctl hsl cache clear --function dns_query")]
pub(crate) struct Clear {
    /// Only buckets of this namespace
    #[arg(long)]
    namespace: Option<String>,
    /// Only buckets of this function
    #[arg(long)]
    function: Option<String>,
}

pub(super) fn run(verb: &Verb, context: &mut Context<'_>) -> Result<()> {
    match verb {
        Verb::List => list(context),
        Verb::Clear(args) => clear(args, context),
    }
}

fn list(context: &mut Context<'_>) -> Result<()> {
    let Some(answer) = context.call(call::CACHE_LIST, &())? else { return Ok(()) };
    let mut table = Table::new([
        ("Namespace", Align::Left),
        ("Function", Align::Left),
        ("Max size", Align::Right),
        ("Size", Align::Right),
        ("Hits", Align::Right),
        ("Misses", Align::Right),
        ("Evicts", Align::Right),
        ("Hit rate", Align::Right),
    ]);
    for item in answer.items {
        let rate = hit_rate(item.hits, item.misses);
        let numbers = [item.maxsize, item.size, item.hits, item.misses, item.evicts];
        let texts = [item.namespace, item.function].into_iter();
        table.row(texts.chain(numbers.map(|n| n.to_string())).chain([rate]));
    }
    context.table(&table)
}

fn clear(args: &Clear, context: &mut Context<'_>) -> Result<()> {
    let value = |text: &Option<String>| text.clone().map(|value| pb::StringValue { value });
    let request = pb::HslCacheClearRequest {
        namespace: value(&args.namespace),
        function: value(&args.function),
        ..pb::HslCacheClearRequest::default()
    };
    let Some(answer) = context.call(call::CACHE_CLEAR, &request)? else { return Ok(()) };
    context.line(format_args!("{} buckets cleared", answer.affected))
}

/// The share of look-ups that were hits; nothing before the first one.
fn hit_rate(hits: u64, misses: u64) -> String {
    let total = u128::from(hits) + u128::from(misses);
    (u128::from(hits) * 100).checked_div(total).map(|rate| format!("{rate}%")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hit_rate_is_empty_before_the_first_look_up_and_never_overflows() {
        assert_eq!(hit_rate(0, 0), "");
        assert_eq!(hit_rate(1, 2), "33%");
        assert_eq!(hit_rate(u64::MAX, u64::MAX), "50%");
    }
}
