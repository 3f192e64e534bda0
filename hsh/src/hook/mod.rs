//! `hsh --hook`: runs the script of a hook on a recorded message and shows what it decides.
//!
//! The script is compiled and called with what `smtpd` gives it ([`script_host::hooks`]); nothing it
//! decides is done. [`input`] makes its variables, [`recorder`] takes down what it asks of a server,
//! [`reply`] is what a client would hear, [`report`] and [`text`] show all that.

mod changes;
mod input;
mod recorder;
mod reply;
mod report;
mod text;

use std::any::Any;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use hsl::{Array, Key, Setup, Vm};
use hsl_std::{Limit, Outcome};
use mail_client::options::apply;
use mta_types::TransactionId;
use script_host::hooks::old_functions::all_options;
use script_host::hooks::queue_scripts::QueueExit;
use script_host::hooks::{Hook, HookKind, HookSets, machine_limits, verdict};

use crate::mail_client::without_configuration;
use crate::run::{self, Script};
use crate::settings::Settings;
pub(crate) use recorder::Recorder;

/// What a hook is run with.
#[derive(Args, Debug, Default)]
pub(crate) struct HookArguments {
    /// Run the script as one of a hook, and show what it decides instead of doing it.
    ///
    /// NAME is connect, disconnect, proxy, helo, auth, mailfrom, rcptto, eod, eodrcpt, predelivery or
    /// postdelivery. The script of eodrcpt runs for the recipient of the arguments, else for the first
    /// one of the transaction. Without a script file, NAME or NAME/ID is a script of the running configuration
    /// that -A names. The exit code is 1 if the script fails, whatever it decides otherwise.
    #[arg(long, value_name = "NAME", conflicts_with = "test")]
    pub(crate) hook: Option<String>,

    /// The message of the hooks eod, eodrcpt, predelivery and postdelivery; - for standard input.
    ///
    /// Lines that end with LF only are read as if they ended with CRLF.
    #[arg(long, value_name = "FILE", requires = "hook")]
    message: Option<PathBuf>,

    /// $connection, as a JSON object or the @FILE that holds one.
    ///
    /// In the hook connect it is what $arguments holds.
    #[arg(long, value_name = "JSON", requires = "hook")]
    connection: Option<String>,

    /// $transaction, as a JSON object or @FILE; in the hooks of the queue, the facts of $message.
    ///
    /// Addresses may be written as strings: "sender" also makes senderaddress and senderparams, an
    /// item of "recipients" also makes address, params and transportid: the first that a server of -A
    /// names, else mx. In the hooks of the queue "metadata" is what
    /// GetMetaData() returns, and flat variables of older scripts, such as senderip, may be given as well.
    #[arg(long, value_name = "JSON", requires = "hook")]
    transaction: Option<String>,

    /// $arguments, as a JSON object or @FILE.
    #[arg(long, value_name = "JSON", requires = "hook")]
    arguments: Option<String>,

    /// $context, as JSON or @FILE.
    #[arg(long, value_name = "JSON", requires = "hook")]
    context: Option<String>,

    /// Show what a hook's script decides as JSON.
    #[arg(long, requires = "hook")]
    json: bool,
}

/// How a script ended.
enum Ending {
    /// By a function of the hook.
    Exit(Box<dyn Any + Send>),
    /// It ran to its end.
    End,
    /// It failed, for this reason.
    Failed(String),
}

/// Compiles the script of a hook and says what is wrong with it.
///
/// # Errors
///
/// What is wrong with the arguments.
pub(crate) fn check(
    name: &str,
    script: Option<Script>,
    settings: &Settings,
) -> anyhow::Result<ExitCode> {
    let (kind, id) = named(name)?;
    let sets = HookSets::new(&settings.host, &settings.services);
    let compiled = compile(&sets, kind, id, script, settings)?;
    Ok(if compiled.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The hooks whose script this may be, by their names.
pub(crate) fn kinds_of(script: &Script, settings: &Settings) -> Vec<&'static str> {
    let sets = HookSets::new(&settings.host, &settings.services);
    let fits = |kind: &HookKind| script.compile_hook(&sets, *kind, &settings.loader).is_ok();
    HookKind::ALL.into_iter().filter(fits).map(HookKind::name).collect()
}

/// The hook and the script that `NAME` or `NAME/ID` says.
fn named(name: &str) -> anyhow::Result<(HookKind, Option<&str>)> {
    let (name, id) = name.split_once('/').map_or((name, None), |(name, id)| (name, Some(id)));
    let kind = HookKind::of(name).ok_or_else(|| {
        let names: Vec<&str> = HookKind::ALL.iter().map(|kind| kind.name()).collect();
        anyhow!("there is no hook {name}; the hooks are {}", names.join(", "))
    })?;
    Ok((kind, id))
}

/// Runs the script of a hook.
///
/// # Errors
///
/// What is wrong with the arguments. A script that fails is told of by the exit code.
pub(crate) async fn run(
    name: &str,
    arguments: &HookArguments,
    script: Option<Script>,
    settings: &Settings,
) -> anyhow::Result<ExitCode> {
    let (kind, id) = named(name)?;
    let sets = HookSets::new(&settings.host, &settings.services);
    let Ok(hook) = compile(&sets, kind, id, script, settings)? else {
        return Ok(ExitCode::FAILURE);
    };
    let id = TransactionId::from_bytes(*uuid::Uuid::new_v4().as_bytes());
    let mut input = input::read(kind, arguments, id, &sets, &settings.transport)?;
    hook.add_old_variables(&mut input.variables);
    let limits = settings.limits(Some(kind));
    let setup = Setup {
        limits: machine_limits(&limits),
        variables: input.variables,
        states: input.states,
        message: Some(input.id.to_string().into_bytes().into()),
        ..run::setup(settings)
    };
    let limit = Limit { what: "the script", time: settings.limit.unwrap_or(limits.time) };
    let (outcome, mut vm) = run::execute(&hook.program, setup, Some(limit), settings).await?;
    let ending = match outcome {
        Outcome::Done(_) => Ending::End,
        Outcome::Exited(exit) => read_try(exit, &mut vm, settings)?,
        Outcome::Failed(error) => {
            run::report(error.diagnostic(), error.sources());
            Ending::Failed(error.to_string())
        }
    };
    let failed = matches!(ending, Ending::Failed(_));
    let recorded = settings.recorder.take();
    let report =
        report::Report::new(kind, input.id, ending, &mut vm, input.message.as_ref(), recorded);
    let printed = if arguments.json { report.to_json()? } else { report.to_text() };
    settings.output.line(printed.trim_end().as_bytes());
    settings.output.flush();
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Reads the options of `Try`, as the server does when the script is over.
fn read_try(exit: Box<dyn Any + Send>, vm: &mut Vm, settings: &Settings) -> anyhow::Result<Ending> {
    let exit = match exit.downcast::<QueueExit>() {
        Ok(exit) => *exit,
        Err(exit) => return Ok(Ending::Exit(exit)),
    };
    let QueueExit::Try(given) = exit else { return Ok(Ending::Exit(Box::new(exit))) };
    let options = all_options(vm, given);
    Ok(match mistake_in_try(options.clone(), settings)? {
        None => Ending::Exit(Box::new(QueueExit::Try(options))),
        Some(error) => {
            eprintln!("{error}");
            Ending::Failed(error)
        }
    })
}

/// What is wrong with the options of `Try`.
fn mistake_in_try(mut options: Array, settings: &Settings) -> anyhow::Result<Option<String>> {
    let mut plan = mail_client::plan::Settings::of_script();
    // The transport may have what the script does not say.
    plan.credentials = Some(("".into(), "".into()));
    let checked = match &settings.running {
        Some(running) => apply(&mut plan, running, &options),
        None => {
            // Addresses have no names.
            options.remove(&Key::from("sourceip"));
            apply(&mut plan, &without_configuration().map_err(anyhow::Error::msg)?, &options)
        }
    };
    let checked = checked.and_then(|()| verdict::text_option(&options, "jobid"));
    Ok(checked.err().map(|error| error.to_string()))
}

/// Compiles the script file, or the script of the running configuration. `Err(())`: it does not
/// compile, and that was said.
fn compile(
    sets: &HookSets,
    kind: HookKind,
    id: Option<&str>,
    script: Option<Script>,
    settings: &Settings,
) -> anyhow::Result<Result<Hook, ()>> {
    if let Some(script) = script {
        if let Some(id) = id {
            bail!("the script is a file, so {}/{id} is one too many", kind.name());
        }
        let compiled = script.compile_hook(sets, kind, &settings.loader);
        return Ok(compiled.map_err(|error| run::report_compile_error(&error)));
    }
    let hooks = settings.running.as_ref().map(|running| &running.scripting.hooks);
    let hooks = hooks.with_context(|| {
        format!("hook {}: no script, and no running configuration (-A) to find one", kind.name())
    })?;
    let text = hook_of(hooks, kind, id)?;
    Ok(sets.compile(kind, id, &text, &settings.loader).map_err(|error| eprintln!("{error}")))
}

/// The text of a script of the running configuration.
fn hook_of(
    hooks: &config::running::Hooks,
    kind: HookKind,
    id: Option<&str>,
) -> anyhow::Result<Arc<str>> {
    let scripts = match kind {
        HookKind::Connect => &hooks.connect,
        HookKind::Disconnect => &hooks.disconnect,
        HookKind::Proxy => &hooks.proxy,
        HookKind::Helo => &hooks.helo,
        HookKind::Auth => &hooks.auth,
        HookKind::Mailfrom => &hooks.mailfrom,
        HookKind::Rcptto => &hooks.rcptto,
        HookKind::Eod => &hooks.eod,
        HookKind::Eodrcpt => &hooks.eodrcpt,
        HookKind::Predelivery | HookKind::Postdelivery => {
            let is_first = kind == HookKind::Predelivery;
            let script = if is_first { &hooks.predelivery } else { &hooks.postdelivery };
            let script = script.as_deref().filter(|_| id.is_none());
            let name = kind.name();
            return script.map(Arc::from).with_context(|| format!("there is no script {name}"));
        }
    };
    let found = match id {
        Some(id) => scripts.get(id).map(|text| text.as_ref()),
        None if scripts.len() == 1 => scripts.values().next().map(|text| text.as_ref()),
        None => None,
    };
    let known: Vec<&str> = scripts.keys().map(AsRef::as_ref).collect();
    found.map(Arc::from).with_context(|| match (id, known.as_slice()) {
        (_, []) => format!("the running configuration has no script {}", kind.name()),
        (Some(id), _) => {
            format!("there is no script {}/{id}; there are: {}", kind.name(), known.join(", "))
        }
        (None, _) => format!("hook {}: which script? There are: {}", kind.name(), known.join(", ")),
    })
}
