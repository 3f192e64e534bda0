//! `halonctl hsl memory`: values that scripts share.

use control::{
    command::call,
    condition,
    pb::{self, StringMatch, string_match},
};

use crate::{
    context::Context,
    error::{Error, Result},
};

/// What to do with shared values.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum Verb {
    /// Store a value
    Store(Store),
    /// Print a value
    Fetch(Key),
    /// Remove a value
    Delete(Key),
    /// List the keys
    List(List),
}

/// Flags of `store`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  halonctl hsl memory store limits '{\"a\": 5}'")]
pub(crate) struct Store {
    /// Key
    key: String,
    /// Value, in JSON
    #[arg(allow_hyphen_values = true)]
    value: String,
    /// Print the value before
    #[arg(long = "return")]
    return_value: bool,
}

/// Flags of `fetch` and `delete`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  halonctl hsl memory fetch limits")]
pub(crate) struct Key {
    /// Key
    key: String,
}

/// Flags of `list`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  halonctl hsl memory list --key customer-")]
pub(crate) struct List {
    /// Part of the keys, or /regex/
    #[arg(long)]
    key: Option<String>,
    /// Keys to show; 0 for all
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    limit: u64,
    /// Keys to pass over
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    offset: u64,
}

pub(super) fn run(verb: &Verb, context: &mut Context<'_>) -> Result<()> {
    match verb {
        Verb::Store(args) => store(args, context),
        Verb::Fetch(args) => fetch(args, context),
        Verb::Delete(args) => delete(args, context),
        Verb::List(args) => list(args, context),
    }
}

fn store(args: &Store, context: &mut Context<'_>) -> Result<()> {
    serde_json::from_str::<serde::de::IgnoredAny>(&args.value).map_err(|error| {
        Error::usage(format!("the value is no JSON: {error}"))
            .with_hint("texts need their quotes: '\"text\"'")
    })?;
    let request = pb::HslMemoryStoreRequest {
        key: args.key.clone(),
        value: args.value.clone(),
        r#return: args.return_value,
    };
    let Some(answer) = context.call(call::MEMORY_STORE, &request)? else { return Ok(()) };
    if args.return_value && !answer.value.is_empty() {
        context.line(answer.value)?;
    }
    Ok(())
}

fn fetch(args: &Key, context: &mut Context<'_>) -> Result<()> {
    let request = pb::HslMemoryRequest { key: args.key.clone() };
    let Some(answer) = context.call(call::MEMORY_FETCH, &request)? else { return Ok(()) };
    // A value is JSON, and no JSON is empty.
    if answer.value.is_empty() {
        return Err(Error::request(format!("there is no value \"{}\"", args.key)));
    }
    context.line(answer.value)
}

fn delete(args: &Key, context: &mut Context<'_>) -> Result<()> {
    let request = pb::HslMemoryDeleteRequest { key: args.key.clone(), r#return: false };
    let Some(answer) = context.call(call::MEMORY_DELETE, &request)? else { return Ok(()) };
    super::report_affected(answer.affected, "value(s) deleted", &args.key, context)
}

fn list(args: &List, context: &mut Context<'_>) -> Result<()> {
    let key = args.key.as_deref().map(|text| {
        let (value, is_regex) = condition::unslash(text);
        let kind = if is_regex { string_match::Type::Regex } else { string_match::Type::Partial };
        StringMatch { value: value.to_owned(), r#type: kind.into(), ..StringMatch::default() }
    });
    let request = pb::HslMemoryListRequest {
        condition: key.map(|key| pb::hsl_memory_list_request::Condition { key: Some(key) }),
        paging: Some(pb::Paging { offset: args.offset, limit: args.limit }),
    };
    let Some(answer) = context.call(call::MEMORY_LIST, &request)? else { return Ok(()) };
    answer.keys.iter().try_for_each(|key| context.line(key))
}
