//! `halonctl hsl rate`: rates of scripts.

use control::{
    command::{Program, call},
    pb::{self, StringMatch, string_match},
};

use crate::{
    context::Context,
    error::{Error, Result},
    output::{
        self,
        table::{Align, Table},
    },
};

/// What to do with rates.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum Verb {
    /// List rates
    List(List),
    /// Clear rates
    Clear(Clear),
}

/// Which rates.
#[derive(clap::Args, Debug)]
struct Filter {
    /// Namespace
    #[arg(long)]
    namespace: Option<String>,
    /// Part of the entry
    #[arg(long)]
    entry: Option<String>,
    /// Program that holds the rates: smtpd or rated
    #[arg(short = 'P', long, value_name = "PROGRAM", default_value_t = Program::Smtpd)]
    program: Program,
}

/// Flags of `list`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  halonctl hsl rate list --namespace outbound")]
pub(crate) struct List {
    #[command(flatten)]
    filter: Filter,
    /// Rates to show; 0 for all
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    limit: u64,
}

/// Flags of `clear`.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Example:\n  halonctl hsl rate clear --namespace outbound --entry user@example.com"
)]
pub(crate) struct Clear {
    #[command(flatten)]
    filter: Filter,
    /// Clear every rate
    #[arg(long)]
    all: bool,
}

pub(super) fn run(verb: &Verb, context: &mut Context<'_>) -> Result<()> {
    match verb {
        Verb::List(args) => list(args, context),
        Verb::Clear(args) => clear(args, context),
    }
}

fn list(args: &List, context: &mut Context<'_>) -> Result<()> {
    let paging = pb::hsl_rate_request::Paging { limit: args.limit, ..Default::default() };
    let request = pb::HslRateRequest { paging: Some(paging), filter: args.filter.message() };
    let answer = context.call_program(args.filter.program, call::RATE_LIST, &request)?;
    let Some(answer) = answer else { return Ok(()) };
    let mut table = Table::new([
        ("namespace", Align::Left),
        ("entry", Align::Left),
        ("count", Align::Right),
        ("localcount", Align::Right),
        ("oldest", Align::Right),
        ("newest", Align::Right),
    ]);
    for item in answer.item {
        table.row([
            item.namespace,
            item.entry,
            item.count.to_string(),
            item.localcount.to_string(),
            output::seconds(item.oldest),
            output::seconds(item.newest),
        ]);
    }
    context.table(&table)
}

fn clear(args: &Clear, context: &mut Context<'_>) -> Result<()> {
    let filter = args.filter.message();
    if filter.is_none() && !args.all {
        return Err(Error::usage("no filter, so every rate would be cleared")
            .with_hint("choose rates with --namespace or --entry, or say --all"));
    }
    let request = pb::HslRateClearRequest { filter };
    let answer = context.call_program(args.filter.program, call::RATE_CLEAR, &request)?;
    let Some(answer) = answer else { return Ok(()) };
    context.line(format_args!("{} rates cleared", answer.affected))
}

impl Filter {
    fn message(&self) -> Option<pb::HslRateFilter> {
        let text = |text: &Option<String>, kind: string_match::Type| {
            text.clone().map(|value| StringMatch {
                value,
                r#type: kind.into(),
                ..StringMatch::default()
            })
        };
        let filter = pb::HslRateFilter {
            namespace: text(&self.namespace, string_match::Type::Exact),
            entry: text(&self.entry, string_match::Type::Partial),
        };
        (filter != pb::HslRateFilter::default()).then_some(filter)
    }
}
