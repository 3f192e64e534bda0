//! The filter of list, group-by, update and unload, from texts as people type them.
//!
//! [`OPTIONS`] is the table of option names (`state`, `age`, `recipientdomain`, …) with help texts;
//! command line and web pages offer what it holds. [`ConditionBuilder::add`] reads one value.
//!
//! Values: numbers and seconds take an operator in front (`>`, `>=`, `<`, `<=`, `=`) or a range
//! `10..20`; moments are ISO 8601, UTC where no zone is given; `/…/` is a regular expression where the
//! protocol has one. Values of one option are or-ed, options are and-ed.

use std::str::FromStr;

use crate::pb::{
    self, CompareStringRegexValue, CompareStringValue, CompareTime, CompareUInt64, Condition,
    StringMatch, StringRegexValue, TimeValue, UInt64Value, condition,
};

/// An option that makes conditions.
#[derive(Debug)]
pub struct ConditionOption {
    /// The name, without dashes.
    pub name: &'static str,
    /// What the value is: `string`, `domain`, `seconds`, …
    pub value: &'static str,
    /// One sentence, without a full stop.
    pub help: &'static str,
    add: fn(&mut Condition, &str) -> Result<(), Cause>,
}

/// A value that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{value}\" does not fit --{option}: {cause}")]
pub struct ConditionError {
    /// The name of the option.
    pub option: String,
    /// What was given.
    pub value: String,
    /// What would fit.
    pub cause: Cause,
}

/// Why a value cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// No such option.
    #[error("there is no such condition")]
    Option,
    /// Not `transaction:queue`.
    #[error("write transaction:queue, such as b186d406-0c36-11ea-8dda-005056914940:1")]
    Id,
    /// Not a state.
    #[error("the states are ACTIVE, DEFER, SENDING, UNKNOWN, HOLD and UPDATE")]
    State,
    /// Not a number with an operator.
    #[error("write a number, such as 5, \">5\" or 5..10")]
    Number,
    /// Not seconds with an operator.
    #[error("write seconds, such as \">3600\" or 60..120")]
    Seconds,
    /// Not a moment with an operator.
    #[error("write a moment, such as \">2020-01-01T01:02:03\"")]
    Moment,
    /// Not an address.
    #[error("write an address, such as user@example.com, or \"\" for the empty sender")]
    Address,
    /// Not `key=value`.
    #[error("write key=value")]
    KeyValue,
    /// Not a truth value.
    #[error("write true or false")]
    Bool,
    /// Not a share.
    #[error("write a number above 0, up to 1")]
    Probability,
    /// Not fields.
    #[error(
        "write fields: transportid, localip, remoteip, remotemx, recipientdomain, jobid or grouping"
    )]
    Field,
}

/// Puts a [`Condition`] together.
#[derive(Clone, Debug, Default)]
pub struct ConditionBuilder {
    condition: Condition,
}

impl ConditionBuilder {
    /// Makes a builder of a condition that matches everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads one value of the option with this name.
    ///
    /// # Errors
    ///
    /// [`ConditionError`], which names option, value and what would fit.
    pub fn add(&mut self, option: &str, value: &str) -> Result<&mut Self, ConditionError> {
        let row = OPTIONS.iter().find(|o| o.name == option);
        let result = row.map_or(Err(Cause::Option), |o| (o.add)(&mut self.condition, value));
        match result {
            Ok(()) => Ok(self),
            Err(cause) => {
                Err(ConditionError { option: option.to_owned(), value: value.to_owned(), cause })
            }
        }
    }

    /// Says whether nothing was asked for, so that the condition matches every message.
    pub fn is_empty(&self) -> bool {
        self.condition == Condition::default()
    }

    /// The condition.
    pub fn build(self) -> Condition {
        self.condition
    }
}

/// All options.
pub const OPTIONS: &[ConditionOption] = &[
    option("id", "transaction:queue", "Message id", |c, v| {
        c.ids.push(parse_id(v)?);
        Ok(())
    }),
    option(
        "state",
        "state",
        "Queue ACTIVE, DEFER; working SENDING, UNKNOWN; frozen HOLD, UPDATE",
        add_state,
    ),
    option("held", "bool", "Messages that were queued with the hold option", |c, v| {
        c.hold = Some(pb::BoolValue { value: v.parse().map_err(|_| Cause::Bool)? });
        Ok(())
    }),
    option("transportid", "string", "Transport, or /regex/", |c, v| {
        c.transportids.push(string_regex(v));
        Ok(())
    }),
    option("jobid", "string", "Job id, or /regex/", |c, v| {
        c.jobids.push(string_regex(v));
        Ok(())
    }),
    option("grouping", "string", "Grouping of remote hosts, or /regex/", |c, v| {
        c.groupings.push(string_regex(v));
        Ok(())
    }),
    option("sender", "address", "Sender; \"\" for bounces", |c, v| {
        c.senders.push(address(v)?);
        Ok(())
    }),
    option("senderdomain", "domain", "Domain of the sender, or /regex/", |c, v| {
        c.senders.push(domain(v));
        Ok(())
    }),
    option("recipient", "address", "Recipient", |c, v| {
        c.recipients.push(address(v)?);
        Ok(())
    }),
    option("recipientdomain", "domain", "Domain of the recipient, or /regex/", |c, v| {
        c.recipients.push(domain(v));
        Ok(())
    }),
    option("subject", "string", "Part of the subject, or /regex/", |c, v| {
        c.subjects.push(partial(v));
        Ok(())
    }),
    option("metadata", "key=value", "Metadata that the message carries", add_metadata),
    option("ts", "time", "When the message was queued, ISO 8601 with operator", |c, v| {
        c.tss.push(compare(v, moment)?);
        Ok(())
    }),
    option("age", "seconds", "Seconds since the message was queued, with operator", |c, v| {
        c.tss.push(mirror(compare(v, |text| seconds(text).map(|s| relative(-s)))?));
        Ok(())
    }),
    option("retrydelay", "seconds", "Seconds until the next attempt, with operator", |c, v| {
        c.retrytss.push(compare(v, |text| seconds(text).map(relative))?);
        Ok(())
    }),
    option("retrycount", "number", "Attempts so far, with operator", |c, v| {
        c.retrycounts.push(compare(v, number)?);
        Ok(())
    }),
    option("retryreason", "string", "Part of the last error, or /regex/", |c, v| {
        c.retryreasons.push(partial(v));
        Ok(())
    }),
    option("size", "bytes", "Size in bytes, with operator", |c, v| {
        c.sizes.push(compare(v, number)?);
        Ok(())
    }),
    option("priority", "number", "Priority, with operator", |c, v| {
        c.priorities.push(compare(v, number)?);
        Ok(())
    }),
    option("serverid", "string", "Server that received the message", |c, v| {
        c.serverids.push(string(v));
        Ok(())
    }),
    option("stageid", "string", "Live stage that received the message", |c, v| {
        c.stageids.push(string(v));
        Ok(())
    }),
    option("senderip", "ip", "Address or network that sent the message", |c, v| {
        c.senderips.push(string(v));
        Ok(())
    }),
    option("localip", "ip", "Address or network to deliver from", |c, v| {
        c.localips.push(string(v));
        Ok(())
    }),
    option("remoteip", "ip", "Address or network to deliver to", |c, v| {
        c.remoteips.push(string(v));
        Ok(())
    }),
    option("remotemx", "string", "Host to deliver to, or /regex/", |c, v| {
        c.remotemxs.push(string_regex(v));
        Ok(())
    }),
    option("tag", "string", "Tag of a policy that holds the message", |c, v| {
        c.tags.push(string(v));
        Ok(())
    }),
    option("quota", "string", "Quota that counts the message", |c, v| {
        c.quotas.push(string(v));
        Ok(())
    }),
    option("probability", "number", "Share of the messages, chosen at random, up to 1", |c, v| {
        let share: f32 = v.parse().map_err(|_| Cause::Probability)?;
        if !(share > 0.0 && share <= 1.0) {
            return Err(Cause::Probability);
        }
        c.probability = share;
        Ok(())
    }),
];

const fn option(
    name: &'static str,
    value: &'static str,
    help: &'static str,
    add: fn(&mut Condition, &str) -> Result<(), Cause>,
) -> ConditionOption {
    ConditionOption { name, value, help, add }
}

fn add_state(condition: &mut Condition, value: &str) -> Result<(), Cause> {
    let state = value.to_ascii_uppercase();
    if let Some(queue) = pb::Queue::from_str_name(&state) {
        condition.queues.push(condition::QueueState { queue: queue.into() });
    } else if let Some(freeze) = pb::Freeze::from_str_name(&state) {
        condition.freezes.push(condition::FreezeState { freeze: freeze.into() });
    } else if let Some(working) = pb::Working::from_str_name(&state) {
        let working = working.into();
        condition.workings.push(condition::WorkingState { working, updatefreezing: false });
    } else {
        return Err(Cause::State);
    }
    Ok(())
}

fn add_metadata(condition: &mut Condition, value: &str) -> Result<(), Cause> {
    let (key, value) = parse_key_value(value)?;
    let mut metadata = condition::Metadata::default();
    let string = Some(StringMatch { value: value.to_owned(), ..StringMatch::default() });
    let any = condition::metadata::AnyMatch { string, double: None };
    metadata.value.insert(key.to_owned(), any);
    condition.metadatas.push(metadata);
    Ok(())
}

/// Reads `transaction:queue`.
///
/// # Errors
///
/// [`Cause::Id`] when a part is missing or the queue is no number.
pub fn parse_id(value: &str) -> Result<condition::ItemId, Cause> {
    let (transaction, queue) = value.rsplit_once(':').ok_or(Cause::Id)?;
    if transaction.is_empty() {
        return Err(Cause::Id);
    }
    let queue = queue.parse().map_err(|_| Cause::Id)?;
    Ok(condition::ItemId { transaction: transaction.to_owned(), queue, exclude: false })
}

/// Reads `key=value`; the value may be empty.
///
/// # Errors
///
/// [`Cause::KeyValue`] without a key or without the sign.
pub fn parse_key_value(value: &str) -> Result<(&str, &str), Cause> {
    value.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or(Cause::KeyValue)
}

/// Splits an address at its last `@`; the empty sender has two empty parts.
///
/// # Errors
///
/// [`Cause::Address`] when only one of the parts is empty.
pub fn parse_address(value: &str) -> Result<(&str, &str), Cause> {
    if value.is_empty() {
        return Ok(("", ""));
    }
    value
        .rsplit_once('@')
        .filter(|(localpart, domain)| !localpart.is_empty() && !domain.is_empty())
        .ok_or(Cause::Address)
}

/// Reads `transportid,recipientdomain` and so on.
///
/// # Errors
///
/// [`Cause::Field`] for a name that is no field.
pub fn parse_fields(value: &str) -> Result<pb::Fields, Cause> {
    let mut fields = pb::Fields::default();
    for name in value.split(',') {
        let field = match name.trim() {
            "transportid" => &mut fields.transportid,
            "localip" => &mut fields.localip,
            "remoteip" => &mut fields.remoteip,
            "remotemx" => &mut fields.remotemx,
            "recipientdomain" => &mut fields.recipientdomain,
            "jobid" => &mut fields.jobid,
            "grouping" => &mut fields.grouping,
            _ => return Err(Cause::Field),
        };
        *field = true;
    }
    Ok(fields)
}

/// Reads bounds on a number, such as `>5` or `5..10`.
///
/// # Errors
///
/// [`Cause::Number`].
pub fn parse_number(value: &str) -> Result<CompareUInt64, Cause> {
    compare(value, number)
}

/// Reads bounds on an age in seconds as bounds on the moment it began.
///
/// # Errors
///
/// [`Cause::Seconds`].
pub fn parse_age(value: &str) -> Result<CompareTime, Cause> {
    Ok(mirror(compare(value, |text| seconds(text).map(|s| relative(-s)))?))
}

/// Reads bounds on a delay in seconds as bounds on the moment it ends.
///
/// # Errors
///
/// [`Cause::Seconds`].
pub fn parse_delay(value: &str) -> Result<CompareTime, Cause> {
    compare(value, |text| seconds(text).map(relative))
}

fn address(value: &str) -> Result<condition::MailAddress, Cause> {
    let (localpart, domain) = parse_address(value)?;
    Ok(condition::MailAddress {
        localpart: Some(StringMatch { value: localpart.to_owned(), ..StringMatch::default() }),
        domain: Some(StringRegexValue { value: domain.to_owned(), ..StringRegexValue::default() }),
        exclude: false,
    })
}

fn domain(value: &str) -> condition::MailAddress {
    let (value, regex) = unslash(value);
    let kind = if regex {
        pb::string_regex_value::Type::Regex
    } else {
        pb::string_regex_value::Type::Exact
    };
    let domain = StringRegexValue { value: value.to_owned(), r#type: kind.into() };
    condition::MailAddress { domain: Some(domain), ..condition::MailAddress::default() }
}

fn string(value: &str) -> CompareStringValue {
    CompareStringValue { exclude: false, value: value.to_owned() }
}

fn string_regex(value: &str) -> CompareStringRegexValue {
    use pb::compare_string_regex_value::Type;
    let (value, regex) = unslash(value);
    let kind = if regex { Type::Regex } else { Type::Exact };
    CompareStringRegexValue { exclude: false, value: value.to_owned(), r#type: kind.into() }
}

fn partial(value: &str) -> StringMatch {
    use pb::string_match::Type;
    let (value, regex) = unslash(value);
    let kind = if regex { Type::Regex } else { Type::Partial };
    StringMatch { exclude: false, value: value.to_owned(), r#type: kind.into(), caseless: true }
}

/// Takes the slashes off `/…/`, and says whether they were there: the text is a regular expression.
pub fn unslash(value: &str) -> (&str, bool) {
    match value.strip_prefix('/').and_then(|v| v.strip_suffix('/')) {
        Some(pattern) if !pattern.is_empty() => (pattern, true),
        _ => (value, false),
    }
}

/// The three messages of bounds, which differ only in what they hold.
trait Bounds: Default {
    type Value;

    fn slot(&mut self, operator: Operator) -> &mut Option<Self::Value>;
}

#[derive(Clone, Copy)]
enum Operator {
    Eq,
    Lt,
    Gt,
    Gte,
    Lte,
}

macro_rules! bounds {
    ($($message:ident: $value:ident),+) => {$(
        impl Bounds for $message {
            type Value = $value;

            fn slot(&mut self, operator: Operator) -> &mut Option<$value> {
                match operator {
                    Operator::Eq => &mut self.eq,
                    Operator::Lt => &mut self.lt,
                    Operator::Gt => &mut self.gt,
                    Operator::Gte => &mut self.gte,
                    Operator::Lte => &mut self.lte,
                }
            }
        }
    )+};
}

bounds!(CompareTime: TimeValue, CompareUInt64: UInt64Value);

/// Reads a value with an operator in front, or a range with both ends included.
fn compare<B: Bounds>(
    text: &str,
    read: impl Fn(&str) -> Result<B::Value, Cause>,
) -> Result<B, Cause> {
    let mut bounds = B::default();
    let text = text.trim();
    if let Some((from, to)) = text.split_once("..") {
        *bounds.slot(Operator::Gte) = Some(read(from.trim())?);
        *bounds.slot(Operator::Lte) = Some(read(to.trim())?);
        return Ok(bounds);
    }
    // Longer operators first: `>=` begins with `>`.
    let operators = [
        (">=", Operator::Gte),
        ("<=", Operator::Lte),
        (">", Operator::Gt),
        ("<", Operator::Lt),
        ("=", Operator::Eq),
        ("", Operator::Eq),
    ];
    for (sign, operator) in operators {
        if let Some(value) = text.strip_prefix(sign) {
            *bounds.slot(operator) = Some(read(value.trim())?);
            break;
        }
    }
    Ok(bounds)
}

fn number(text: &str) -> Result<UInt64Value, Cause> {
    text.parse().map(|value| UInt64Value { value }).map_err(|_| Cause::Number)
}

fn seconds(text: &str) -> Result<f64, Cause> {
    text.parse().ok().filter(|s: &f64| s.is_finite()).ok_or(Cause::Seconds)
}

fn relative(seconds: f64) -> TimeValue {
    TimeValue { value: Some(pb::time_value::Value::Relative(seconds)) }
}

fn moment(text: &str) -> Result<TimeValue, Cause> {
    let seconds = parse_moment(text)?;
    Ok(TimeValue { value: Some(pb::time_value::Value::Absolute(seconds)) })
}

/// Reads an ISO 8601 moment as seconds since the Unix epoch; UTC where no zone is given.
///
/// # Errors
///
/// [`Cause::Moment`].
pub fn parse_moment(text: &str) -> Result<f64, Cause> {
    let timestamp = jiff::Timestamp::from_str(text)
        .or_else(|_| {
            let civil = jiff::civil::DateTime::from_str(text)?;
            jiff::tz::TimeZone::UTC.to_timestamp(civil)
        })
        .map_err(|_| Cause::Moment)?;
    Ok(timestamp.as_duration().as_secs_f64())
}

/// An older message began earlier: bounds on an age are the reverse of bounds on its beginning.
fn mirror(age: CompareTime) -> CompareTime {
    CompareTime { lt: age.gt, gt: age.lt, lte: age.gte, gte: age.lte, eq: age.eq, neq: age.neq }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(option: &str, value: &str) -> Condition {
        let mut builder = ConditionBuilder::new();
        builder.add(option, value).unwrap();
        builder.build()
    }

    fn seconds_of(value: Option<TimeValue>) -> Option<f64> {
        match value?.value? {
            pb::time_value::Value::Absolute(s) | pb::time_value::Value::Relative(s) => Some(s),
        }
    }

    #[test]
    fn operators_and_ranges_choose_their_bounds() {
        let bounds = |value: &str| one("retrycount", value).retrycounts.remove(0);
        let five = Some(UInt64Value { value: 5 });
        assert_eq!(bounds("5"), CompareUInt64 { eq: five, ..Default::default() });
        assert_eq!(bounds("=5"), CompareUInt64 { eq: five, ..Default::default() });
        assert_eq!(bounds(">5"), CompareUInt64 { gt: five, ..Default::default() });
        assert_eq!(bounds(">=5"), CompareUInt64 { gte: five, ..Default::default() });
        assert_eq!(bounds("<5"), CompareUInt64 { lt: five, ..Default::default() });
        assert_eq!(bounds(" <= 5 "), CompareUInt64 { lte: five, ..Default::default() });
        let ten = Some(UInt64Value { value: 10 });
        assert_eq!(bounds("5..10"), CompareUInt64 { gte: five, lte: ten, ..Default::default() });
    }

    #[test]
    fn an_age_above_a_bound_is_a_moment_before_it() {
        let bounds = one("age", ">3600").tss.remove(0);
        assert_eq!(seconds_of(bounds.lt), Some(-3600.0));
        assert_eq!((bounds.gt, bounds.eq), (None, None));
        let bounds = one("age", "10..20").tss.remove(0);
        assert_eq!(seconds_of(bounds.gte), Some(-20.0));
        assert_eq!(seconds_of(bounds.lte), Some(-10.0));
    }

    #[test]
    fn a_delay_lies_in_the_future() {
        let bounds = one("retrydelay", "<60").retrytss.remove(0);
        assert_eq!(seconds_of(bounds.lt), Some(60.0));
    }

    #[test]
    fn moments_are_utc_unless_they_name_a_zone() {
        let moment = |text: &str| parse_moment(text).unwrap();
        assert_eq!(moment("2020-01-01T01:02:03"), 1_577_840_523.0);
        assert_eq!(moment("2020-01-01T01:02:03Z"), 1_577_840_523.0);
        assert_eq!(moment("2020-01-01T02:02:03+01:00"), 1_577_840_523.0);
        assert_eq!(moment("2020-01-01"), 1_577_836_800.0);
        assert_eq!(parse_moment("yesterday"), Err(Cause::Moment));
        let bounds = one("ts", ">2020-01-01T01:02:03").tss.remove(0);
        assert_eq!(seconds_of(bounds.gt), Some(1_577_840_523.0));
    }

    #[test]
    fn states_of_three_families_have_one_option() {
        let condition = ["ACTIVE", "defer", "HOLD", "SENDING"]
            .iter()
            .fold(ConditionBuilder::new(), |mut builder, state| {
                builder.add("state", state).unwrap();
                builder
            })
            .build();
        let queues: Vec<_> = condition.queues.iter().map(|q| q.queue()).collect();
        assert_eq!(queues, [pb::Queue::Active, pb::Queue::Defer]);
        assert_eq!(condition.freezes[0].freeze(), pb::Freeze::Hold);
        assert_eq!(condition.workings[0].working(), pb::Working::Sending);
    }

    #[test]
    fn slashes_make_a_regular_expression() {
        use pb::compare_string_regex_value::Type;
        let job = one("jobid", "/^news-/").jobids.remove(0);
        assert_eq!((job.value.as_str(), job.r#type()), ("^news-", Type::Regex));
        for plain in ["/", "//", "/a", "news"] {
            let job = one("jobid", plain).jobids.remove(0);
            assert_eq!((job.value.as_str(), job.r#type()), (plain, Type::Exact));
        }
    }

    #[test]
    fn addresses_are_split_at_the_last_at() {
        assert_eq!(parse_address("\"a@b\"@example.com"), Ok(("\"a@b\"", "example.com")));
        assert_eq!(parse_address(""), Ok(("", "")));
        for wrong in ["user", "@example.com", "user@"] {
            assert_eq!(parse_address(wrong), Err(Cause::Address), "{wrong}");
        }
        let sender = one("sender", "").senders.remove(0);
        assert_eq!(sender.domain.unwrap().value, "", "the empty sender is matched, not ignored");
    }

    #[test]
    fn ids_are_split_at_the_last_colon() {
        let id = parse_id("b186:7").unwrap();
        assert_eq!((id.transaction.as_str(), id.queue), ("b186", 7));
        for wrong in ["b186", ":7", "b186:", "b186:x", "b186:-1"] {
            assert_eq!(parse_id(wrong), Err(Cause::Id), "{wrong}");
        }
    }

    #[test]
    fn errors_name_option_value_and_what_would_fit() {
        let error = ConditionBuilder::new().add("age", "old").map(|_| ()).unwrap_err();
        let text = "\"old\" does not fit --age: write seconds, such as \">3600\" or 60..120";
        assert_eq!(error.to_string(), text);
        let error = ConditionBuilder::new().add("colour", "red").map(|_| ()).unwrap_err();
        assert_eq!(error.cause, Cause::Option);
        for (option, value) in [("probability", "0"), ("probability", "NaN"), ("age", "inf")] {
            assert!(ConditionBuilder::new().add(option, value).is_err(), "{option} {value}");
        }
    }

    #[test]
    fn every_option_makes_a_condition() {
        for option in OPTIONS {
            let value = match option.value {
                "transaction:queue" => "a:1",
                "state" => "HOLD",
                "bool" => "false",
                "address" => "a@b",
                "key=value" => "a=b",
                "time" => "2020-01-01",
                _ => "1",
            };
            let mut builder = ConditionBuilder::new();
            builder.add(option.name, value).unwrap();
            assert!(!builder.is_empty(), "--{} {value} would match everything", option.name);
        }
    }
}
