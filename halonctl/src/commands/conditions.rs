//! Flags that choose messages, from the table of options of the control room.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use control::{
    condition::{ConditionBuilder, OPTIONS},
    pb,
};

use crate::error::{Error, Result};

/// Which messages a command is about.
#[derive(Clone, Debug, Default)]
pub(super) struct Conditions(ConditionBuilder);

impl Conditions {
    /// The condition, which may match every message.
    pub(super) fn build(&self) -> pb::Condition {
        self.0.clone().build()
    }

    /// The condition for a command that changes messages: every message only when `all` says so.
    pub(super) fn build_for_change(&self, all: bool) -> Result<pb::Condition> {
        match (self.0.is_empty(), all) {
            (true, false) => Err(Error::usage("no condition, so every message would be affected")
                .with_hint("choose messages, such as with --id, or say --all")),
            (false, true) => Err(Error::usage("--all and conditions contradict each other")),
            _ => Ok(self.build()),
        }
    }
}

impl FromArgMatches for Conditions {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut builder = ConditionBuilder::new();
        for option in OPTIONS {
            for value in matches.get_many::<String>(option.name).into_iter().flatten() {
                // The value parser below has read it already.
                builder.add(option.name, value).map_err(|error| {
                    clap::Error::raw(clap::error::ErrorKind::ValueValidation, format!("{error}\n"))
                })?;
            }
        }
        Ok(Self(builder))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Conditions {
    fn augment_args(command: Command) -> Command {
        let command = command.next_help_heading("Conditions");
        OPTIONS.iter().fold(command, |command, option| {
            command.arg(
                Arg::new(option.name)
                    .long(option.name)
                    .value_name(option.value)
                    .help(option.help)
                    .action(ArgAction::Append)
                    .allow_hyphen_values(true)
                    .value_parser(move |value: &str| {
                        match ConditionBuilder::new().add(option.name, value) {
                            Ok(_) => Ok(value.to_owned()),
                            Err(error) => Err(error.cause),
                        }
                    }),
            )
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}
