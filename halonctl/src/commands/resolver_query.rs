//! `halonctl resolver query`: prints YAML, as the reference product does.

use control::{command::call, pb};

use crate::{context::Context, error::Result};

/// Flags.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  halonctl resolver query example.com")]
pub(crate) struct Args {
    /// Domain of the recipient
    domain: String,
    /// Transaction id that fixes the order of equal choices
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    seed: String,
    /// Attempts so far
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    retry: u64,
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> Result<()> {
    let request = pb::ResolverQueryRequest {
        domain: args.domain.clone(),
        seed: args.seed.clone(),
        retry: args.retry,
    };
    let Some(answer) = context.call(call::RESOLVER_QUERY, &request)? else { return Ok(()) };
    for item in &answer.items {
        context.line(yaml(item))?;
    }
    Ok(())
}

fn yaml(item: &pb::resolver_query_response::Item) -> String {
    let mut lines = vec![
        format!("- address: {}", quoted(&item.address)),
        format!("  hostname: {}", quoted(&item.hostname)),
        format!("  dnssec: {}", item.dnssec),
    ];
    if let Some(tlsa) = &item.tlsa {
        lines.push("  tlsa:".to_owned());
        lines.push(format!("    dnssec: {}", tlsa.dnssec));
        lines.push(if tlsa.rr.is_empty() { "    rr: []" } else { "    rr:" }.to_owned());
        for rr in &tlsa.rr {
            lines.push(format!("    - usage: {}", rr.usage));
            lines.push(format!("      selector: {}", rr.selector));
            lines.push(format!("      mtype: {}", rr.mtype));
            lines.push(format!("      data: {}", quoted(&rr.data)));
        }
    }
    lines.join("\n")
}

/// A text as a YAML scalar; JSON strings are valid ones.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
