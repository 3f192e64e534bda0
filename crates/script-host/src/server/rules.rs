//! The arguments of `queue_suspend` and `queue_policy`: scripts that hold deliveries back.
//!
//! A mistake of the script (an unknown field, a pattern that is none) is an error; what the queue
//! refuses (an equal one that was to be kept, a counter that is not configured) gives none.

use std::num::NonZeroU32;
use std::time::Duration;

use hsl::host::Thrown;
use hsl::{Array, Value};
use queue::policy::dynamic::{DynamicKind, NewDynamic, OnEqual};
use queue::policy::{Limits, Properties, Property};
use queue::suspend::NewSuspend;
use queue::window::Rate;
use queue::{Field, FieldSet, Pattern, PerField};

use crate::hooks::values::text;
use crate::hooks::verdict;

/// The arguments of `queue_suspend`.
pub(super) fn suspend(args: &[Value]) -> Result<NewSuspend, Thrown> {
    let options = array(args.get(2));
    Ok(NewSuspend {
        id: verdict::text(&options, "id").map(Into::into),
        matches: patterns("queue_suspend", &array(args.first()))?,
        ttl: ttl("queue_suspend", args.get(1))?,
        tag: verdict::text(&options, "tag").map(Into::into),
        properties: properties(&options),
        on_equal: on_equal(&options),
    })
}

/// The arguments of `queue_policy`; the algorithm of the rate is the queue's.
pub(super) fn policy(args: &[Value]) -> Result<NewDynamic, Thrown> {
    let fields: FieldSet = array(args.first())
        .values()
        .map(|name| field("queue_policy", name))
        .collect::<Result<_, _>>()?;
    let options = array(args.get(4));
    Ok(NewDynamic {
        id: verdict::text(&options, "id").map(Into::into),
        fields,
        kind: kind(&options)?,
        matches: patterns("queue_policy", &array(args.get(1)))?,
        then: limits(&array(args.get(2)))?,
        ttl: ttl("queue_policy", args.get(3))?,
        on_equal: on_equal(&options),
    })
}

fn array(value: Option<&Value>) -> Array {
    match value {
        Some(Value::Array(array)) => array.clone(),
        _ => Array::new(),
    }
}

fn field(function: &str, name: &Value) -> Result<Field, Thrown> {
    text(name).parse().map_err(|error| Thrown::new(format!("{function}: {error}")))
}

fn patterns(function: &str, values: &Array) -> Result<PerField<Pattern>, Thrown> {
    let mut patterns = PerField::default();
    for (name, value) in values.iter() {
        if value.is_none() {
            continue;
        }
        let field = field(function, &name.to_value())?;
        let pattern = Pattern::parse(field, &text(value))
            .map_err(|error| Thrown::new(format!("{function}: {error}")))?;
        patterns.set(field, Some(pattern));
    }
    Ok(patterns)
}

/// Seconds; 0 is until deleted, as in the plugin interface.
fn ttl(function: &str, value: Option<&Value>) -> Result<Option<Duration>, Thrown> {
    let seconds = value.and_then(Value::as_number).unwrap_or(0.0);
    if seconds == 0.0 {
        return Ok(None);
    }
    Duration::try_from_secs_f64(seconds)
        .map(Some)
        .map_err(|_| Thrown::new(format!("{function}: {seconds} is no time to live in seconds")))
}

fn on_equal(options: &Array) -> OnEqual {
    if options.get_text("update").is_none_or(Value::is_truthy) {
        OnEqual::Update
    } else {
        OnEqual::Keep
    }
}

fn kind(options: &Array) -> Result<DynamicKind, Thrown> {
    match verdict::text(options, "type").as_deref() {
        None | Some("dynamic") => Ok(DynamicKind::Dynamic),
        Some("warmup") => Ok(DynamicKind::WarmUp),
        Some("backoff") => Ok(DynamicKind::BackOff),
        Some(other) => Err(Thrown::new(format!("queue_policy: type {other} is unknown"))),
    }
}

fn limits(policy: &Array) -> Result<Limits, Thrown> {
    let wrong = |what: &str| Thrown::new(format!("queue_policy: {what}"));
    let whole = |value: &Value, what: &str| {
        let number = value.as_number().filter(|n| (0.0..=f64::from(u32::MAX)).contains(n));
        // In the range, so the cast only cuts a fraction off.
        number.map(|number| number as u32).ok_or_else(|| wrong(what))
    };
    let concurrency = match policy.get_text("concurrency") {
        None | Some(Value::None) => None,
        Some(limit) => NonZeroU32::new(whole(limit, "concurrency is no number of connections")?),
    };
    let rate = match policy.get_text("rate") {
        None | Some(Value::None) => None,
        Some(rate) => read_rate(rate).map_err(|()| wrong("rate is not [messages, seconds]"))?,
    };
    let connectinterval = match policy.get_text("connectinterval") {
        None | Some(Value::None) => None,
        Some(seconds) => {
            let seconds = seconds.as_number().unwrap_or(-1.0);
            let interval = Duration::try_from_secs_f64(seconds);
            let interval =
                interval.map_err(|_| wrong("connectinterval is no number of seconds"))?;
            Some(interval).filter(|interval| !interval.is_zero())
        }
    };
    Ok(Limits {
        concurrency,
        rate,
        connectinterval,
        tag: verdict::text(policy, "tag").map(Into::into),
        stop: verdict::flag(policy, "stop"),
        cluster: verdict::flag(policy, "cluster"),
        properties: properties(policy),
        ..Limits::default()
    })
}

/// `[messages, seconds]`, or `messages` per second; 0 messages are no limit.
fn read_rate(value: &Value) -> Result<Option<Rate>, ()> {
    let (count, seconds) = match value {
        Value::Array(pair) => {
            let mut parts = pair.values().map(Value::as_number);
            (parts.next().flatten(), parts.next().flatten())
        }
        one => (one.as_number(), Some(1.0)),
    };
    let (Some(count), Some(seconds)) = (count, seconds) else { return Err(()) };
    if !(0.0..=f64::from(u32::MAX)).contains(&count) {
        return Err(());
    }
    if count == 0.0 {
        return Ok(None);
    }
    let interval = Duration::try_from_secs_f64(seconds).map_err(|_| ())?;
    // In the range, so the cast only cuts a fraction off.
    Rate::new(count as u32, interval).map(Some).ok_or(())
}

fn properties(options: &Array) -> Properties {
    let given = array(options.get_text("properties"));
    let read = |value: &Value| match value {
        Value::Number(number) => Property::Number(*number),
        Value::Bool(flag) => Property::Boolean(*flag),
        other => Property::Text(text(other).into()),
    };
    given.iter().map(|(key, value)| (text(&key.to_value()).into(), read(value))).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn fields() -> Value {
        Value::list(["transportid".into(), "jobid".into()])
    }

    fn condition() -> Value {
        Value::map([("transportid", Value::from("out")), ("jobid", Value::None)])
    }

    fn three_properties() -> (Value, Properties) {
        let given = Value::map([
            ("text", Value::from("x")),
            ("number", Value::Number(1.5)),
            ("flag", Value::Bool(false)),
        ]);
        let read = Arc::new([
            ("text".into(), Property::Text("x".into())),
            ("number".into(), Property::Number(1.5)),
            ("flag".into(), Property::Boolean(false)),
        ]);
        (given, read)
    }

    #[test]
    fn every_option_of_a_suspension_is_read() {
        let (given, properties) = three_properties();
        let options = Value::map([
            ("id", Value::from("mine")),
            ("tag", "slow".into()),
            ("update", Value::Bool(false)),
            ("properties", given),
        ]);
        let read = suspend(&[condition(), Value::Number(1.5), options]).unwrap();
        assert_eq!(
            (read.id.as_deref(), read.ttl),
            (Some("mine"), Some(Duration::from_millis(1500)))
        );
        assert_eq!(read.tag, Some("slow".into()));
        assert_eq!(read.properties, properties);
        assert_eq!(read.on_equal, OnEqual::Keep);
        let named = read.matches.fields();
        assert!(named.contains(Field::TransportId) && !named.contains(Field::JobId));
        let usual = suspend(&[condition(), Value::Number(0.0)]).unwrap();
        assert_eq!((usual.id, usual.tag, usual.ttl), (None, None, None));
        assert_eq!((usual.on_equal, usual.properties.len()), (OnEqual::Update, 0));
    }

    #[test]
    fn every_option_of_a_policy_is_read() {
        let (given, properties) = three_properties();
        let then = Value::map([
            ("concurrency", Value::Number(3.0)),
            ("rate", Value::list([Value::Number(10.0), Value::Number(60.0)])),
            ("connectinterval", Value::Number(0.5)),
            ("tag", "warm".into()),
            ("stop", Value::Bool(true)),
            ("cluster", Value::Bool(true)),
            ("properties", given),
        ]);
        let options = Value::map([
            ("id", Value::from("mine")),
            ("type", "warmup".into()),
            ("update", Value::Bool(false)),
        ]);
        let read = policy(&[fields(), condition(), then, Value::Number(60.0), options]).unwrap();
        assert_eq!(read.id.as_deref(), Some("mine"));
        assert_eq!((read.kind, read.on_equal), (DynamicKind::WarmUp, OnEqual::Keep));
        assert_eq!(read.ttl, Some(Duration::from_secs(60)));
        assert_eq!(
            read.then,
            Limits {
                concurrency: NonZeroU32::new(3),
                rate: "10/60".parse().ok(),
                connectinterval: Some(Duration::from_millis(500)),
                tag: Some("warm".into()),
                stop: true,
                cluster: true,
                properties,
                ..Limits::default()
            }
        );
        let nothing = || Value::Array(Array::new());
        let usual = policy(&[fields(), nothing(), nothing(), Value::Number(0.0)]).unwrap();
        assert_eq!(usual.then, Limits::default());
        assert_eq!((usual.kind, usual.on_equal), (DynamicKind::Dynamic, OnEqual::Update));
    }

    #[test]
    fn what_is_no_limit_is_named() {
        for (key, value) in [
            ("concurrency", Value::from("many")),
            ("rate", Value::list([Value::Number(1.0)])),
            ("connectinterval", Value::Number(-1.0)),
        ] {
            let then = Value::map([(key, value)]);
            let error = policy(&[fields(), condition(), then, Value::Number(0.0)]).unwrap_err();
            assert!(format!("{error:?}").contains(key), "{error:?}");
        }
        let options = Value::map([("type", Value::from("other"))]);
        let args = [fields(), condition(), Value::None, Value::Number(0.0), options];
        assert!(format!("{:?}", policy(&args).unwrap_err()).contains("type other is unknown"));
    }
}
