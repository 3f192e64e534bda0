//! `halonctl queue update`.

use control::{
    command::call,
    condition,
    pb::{
        self, ActionType, Queue, TimeValue,
        queue_update_request::{self as update, Task, action, r#move::Destination},
    },
};

use super::conditions::Conditions;
use crate::{
    context::Context,
    error::{Error, Result},
};

/// Flags.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  halonctl queue update --jobid newsletter-7 --delete
  halonctl queue update --recipientdomain example.com --state DEFER --active
  halonctl queue update --id b186d406-0c36-11ea-8dda-005056914940:1 --defer --delay 3600
  halonctl queue update --transportid old --set-transportid new")]
pub(crate) struct Args {
    /// Also act on busy messages, when their attempt ends
    #[arg(long)]
    freeze: bool,
    /// Act on copies, and leave the messages as they are
    #[arg(long)]
    duplicate: bool,
    /// Act on at most so many messages
    #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
    limit: u64,
    /// Act on every message
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    task: TaskArgs,
    #[command(flatten)]
    changes: Changes,
    #[command(flatten)]
    conditions: Conditions,
}

/// Where messages go, at most one of them.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Actions")]
struct TaskArgs {
    /// Remove without a bounce
    #[arg(long, group = "task")]
    delete: bool,
    /// Remove and send a bounce
    #[arg(long, group = "task")]
    bounce: bool,
    /// Park for ever
    #[arg(long, group = "task")]
    hold: bool,
    /// Try now
    #[arg(long, visible_alias = "retry", group = "task")]
    active: bool,
    /// Try later
    #[arg(long, group = "task")]
    defer: bool,
    /// With --defer: seconds until the next try
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    delay: Option<f64>,
    /// With --defer: spread the next tries over so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    jitter: Option<f64>,
    /// With --bounce: enhanced status it reports
    #[arg(long, value_name = "X.Y.Z", value_parser = parse_status)]
    status: Option<action::dsn::Status>,
    /// With --bounce: diagnostic it reports
    #[arg(long, value_name = "TEXT")]
    diagnosticcode: Option<String>,
}

/// What changes in the messages.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Changes")]
struct Changes {
    /// New transport
    #[arg(long, value_name = "ID")]
    set_transportid: Option<String>,
    /// New sender; "" for the empty sender
    #[arg(long, value_name = "ADDRESS")]
    set_sender: Option<String>,
    /// New recipient
    #[arg(long, value_name = "ADDRESS")]
    set_recipient: Option<String>,
    /// Metadata to add or replace (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    set_metadata: Vec<String>,
    /// New count of attempts
    #[arg(long, value_name = "NUMBER")]
    set_retrycount: Option<u64>,
    /// New priority
    #[arg(long, value_name = "NUMBER")]
    set_priority: Option<u64>,
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> Result<()> {
    let mut request = pb::QueueUpdateRequest {
        task: args.task.task()?,
        duplicate: args.duplicate,
        ..args.changes.request()?
    };
    if request == pb::QueueUpdateRequest::default() {
        return Err(Error::usage("nothing to do with the messages")
            .with_hint("say one of --delete, --bounce, --hold, --active, --defer, or --set-…"));
    }
    request.conditions = Some(args.conditions.build_for_change(args.all)?);
    request.freeze = args.freeze;
    request.paging = (args.limit > 0).then_some(pb::Limit { limit: args.limit });
    send(&request, context)
}

/// Sends an update and reports how many messages it touched.
pub(super) fn send(request: &pb::QueueUpdateRequest, context: &mut Context<'_>) -> Result<()> {
    let Some(answer) = context.call(call::QUEUE_UPDATE, request)? else { return Ok(()) };
    context.line(format_args!("{} message(s) affected", answer.affected))?;
    if answer.working > 0 {
        context.note(format_args!("{} message(s) are busy", answer.working))?;
    }
    Ok(())
}

impl TaskArgs {
    fn task(&self) -> Result<Option<Task>> {
        // Not `requires` of clap: that gives way when another action excludes the required one.
        if (self.delay.is_some() || self.jitter.is_some()) && !self.defer {
            return Err(Error::usage("--delay and --jitter go with --defer"));
        }
        if (self.status.is_some() || self.diagnosticcode.is_some()) && !self.bounce {
            return Err(Error::usage("--status and --diagnosticcode go with --bounce"));
        }
        Ok(self.choose())
    }

    fn choose(&self) -> Option<Task> {
        let to = |destination| {
            Task::Move(update::Move { destination: Some(destination), ..update::Move::default() })
        };
        if self.delete {
            return Some(Task::Actiontype(ActionType::Delete.into()));
        }
        if self.bounce {
            return Some(self.bounce_task());
        }
        if self.hold {
            return Some(to(Destination::Freeze(pb::Freeze::Hold.into())));
        }
        if self.active {
            return Some(to(Destination::Queue(Queue::Active.into())));
        }
        self.defer.then(|| {
            let relative = |s| TimeValue { value: Some(pb::time_value::Value::Relative(s)) };
            Task::Move(update::Move {
                destination: Some(Destination::Queue(Queue::Defer.into())),
                retryts: self.delay.map(relative),
                retrytsjitter: self.jitter.unwrap_or_default(),
            })
        })
    }

    fn bounce_task(&self) -> Task {
        if self.status.is_none() && self.diagnosticcode.is_none() {
            return Task::Actiontype(ActionType::Bounce.into());
        }
        let diagnosticcode = self.diagnosticcode.clone().unwrap_or_default();
        let dsn = action::Dsn { status: self.status, diagnosticcode };
        Task::Action(update::Action { r#type: ActionType::Bounce.into(), dsn: Some(dsn) })
    }
}

impl Changes {
    fn request(&self) -> Result<pb::QueueUpdateRequest> {
        let number = |value: Option<u64>| value.map(|value| pb::UInt64Value { value });
        let mut request = pb::QueueUpdateRequest {
            transportid: self.set_transportid.clone().map(|value| pb::StringValue { value }),
            sender: self.set_sender.as_deref().map(address).transpose()?,
            recipient: self.set_recipient.as_deref().map(address).transpose()?,
            retrycount: number(self.set_retrycount),
            priority: number(self.set_priority),
            ..pb::QueueUpdateRequest::default()
        };
        for pair in &self.set_metadata {
            let (key, value) = condition::parse_key_value(pair).map_err(|cause| {
                Error::usage(format!("\"{pair}\" does not fit --set-metadata: {cause}"))
            })?;
            request.metadata.insert(key.to_owned(), value.to_owned());
        }
        Ok(request)
    }
}

fn address(text: &str) -> Result<update::MailAddress> {
    let (localpart, domain) = condition::parse_address(text)
        .map_err(|cause| Error::usage(format!("\"{text}\" is no address: {cause}")))?;
    let value = |value: &str| Some(pb::StringValue { value: value.to_owned() });
    Ok(update::MailAddress { localpart: value(localpart), domain: value(domain) })
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|s: &f64| s.is_finite() && *s >= 0.0);
    seconds.ok_or_else(|| "write seconds, such as 3600".to_owned())
}

fn parse_status(text: &str) -> Result<action::dsn::Status, String> {
    let wrong = || "write an enhanced status code, such as 5.7.1".to_owned();
    let parts: Vec<u32> =
        text.split('.').map(|part| part.parse().map_err(|_| wrong())).collect::<Result<_, _>>()?;
    match parts.as_slice() {
        // RFC 3463 §2: classes 2, 4 and 5, up to three digits.
        [class @ (2 | 4 | 5), subject @ 0..=999, detail @ 0..=999] => {
            Ok(action::dsn::Status { class: *class, subject: *subject, detail: *detail })
        }
        _ => Err(wrong()),
    }
}
