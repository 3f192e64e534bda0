//! Date and time chapter. The clock is the execution's; waiting is the embedder's timer.

use std::sync::Arc;
use std::time::Duration;

use hsl::host::{CallContext, NativeStep, Registry, Thrown};
use hsl::value::Value;
use jiff::tz::TimeZone;

use crate::args::{self, Options};
use crate::services::Services;
use crate::strtime;

/// Registers the chapter.
pub(crate) fn register(registry: &mut Registry, services: &Services) {
    registry
        .function("executiontime() -> number", "seconds since the script started", |ctx, _| {
            ctx.execution_time().as_secs_f64()
        })
        .function("time() -> number", "seconds since 1970, with a fraction", |ctx, _| now(ctx))
        .function("uptime() -> number", "seconds on a clock that never goes back", |ctx, _| {
            ctx.clock().monotonic().as_secs_f64()
        })
        .pure_function(
            "strpduration(string during) -> number or none",
            "the seconds of a sum such as 1d12h30m",
            |_, args| strtime::parse_duration(args::bytes(args, 0)),
        );
    let timer = Arc::clone(&services.timer);
    registry.function(
        "sleep(number seconds) -> number",
        "waits; the seconds that it took",
        move |ctx, args| {
            let seconds = args::number(args, 0);
            let Ok(duration) = Duration::try_from_secs_f64(seconds.max(0.0)) else {
                return NativeStep::Throw(Thrown::new("sleep() needs a finite number of seconds"));
            };
            let started = ctx.clock().monotonic();
            let wait = timer.sleep(duration);
            NativeStep::SuspendThen {
                future: Box::pin(async move {
                    wait.await;
                    Ok(Value::None)
                }),
                then: Box::new(move |ctx: &mut CallContext<'_>, _: Value| {
                    let slept = ctx.clock().monotonic().saturating_sub(started);
                    NativeStep::Return(Value::Number(slept.as_secs_f64()))
                }),
            }
        },
    );
    let zone = services.time_zone.clone();
    registry.function(
        "timelocal() -> number",
        "seconds since 1970 of the local clock",
        move |ctx, _| {
            let now = now(ctx);
            now + strtime::offset_at(now, &zone).unwrap_or_default()
        },
    );
    let zone = services.time_zone.clone();
    registry.function(
        "strftime(string format [, number time [, array options]]) -> string",
        "a time as text, as strftime of C; option local",
        move |ctx, args| {
            let zone = zone_of(Options::new(args, 2), &zone)?;
            let seconds = args::number_opt(args, 1).unwrap_or_else(|| now(ctx));
            let format = String::from_utf8_lossy(args::bytes(args, 0));
            Ok::<_, Thrown>(strtime::format_time(&format, seconds, &zone).unwrap_or_default())
        },
    );
    let zone = services.time_zone.clone();
    registry.function(
        "strptime(string datestring, string format [, array options]) -> number or none",
        "the time in a text, as strptime of C; option local",
        move |ctx, args| {
            let zone = zone_of(Options::new(args, 2), &zone)?;
            let format = String::from_utf8_lossy(args::bytes(args, 1));
            let text = args::bytes(args, 0);
            Ok::<_, Thrown>(strtime::parse_time(text, &format, now(ctx), &zone))
        },
    );
}

fn now(ctx: &CallContext<'_>) -> f64 {
    ctx.clock().unix_time().as_secs_f64()
}

fn zone_of(options: Options<'_>, local: &TimeZone) -> Result<TimeZone, Thrown> {
    let is_local = options.boolean("local", true)?;
    Ok(if is_local { local.clone() } else { TimeZone::UTC })
}
