//! What every command needs: the global flags, the connection, and where output goes.

use std::io::Write;

use control::{
    Message,
    client::Client,
    command::{Call, Program},
    json,
};
use serde_json::Value;

use crate::{
    cli::Globals,
    error::{Class, Error, Result},
    output::{self, table::Table},
};

/// The surroundings of one command.
pub(crate) struct Context<'a> {
    globals: &'a Globals,
    out: &'a mut dyn Write,
    clients: Vec<(Program, Client)>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(globals: &'a Globals, out: &'a mut dyn Write) -> Self {
        Self { globals, out, clients: Vec::new() }
    }

    /// Says whether the answer is printed as JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.globals.is_json()
    }

    /// Calls `smtpd`. `None`: the answer was printed as JSON, and nothing is left to do.
    pub(crate) fn call<Q, R>(&mut self, call: Call<Q, R>, request: &Q) -> Result<Option<R>>
    where
        Q: Message,
        R: Message + Default,
    {
        self.call_program(Program::Smtpd, call, request)
    }

    /// Calls `program`. `None`: the answer was printed as JSON, and nothing is left to do.
    pub(crate) fn call_program<Q, R>(
        &mut self,
        program: Program,
        call: Call<Q, R>,
        request: &Q,
    ) -> Result<Option<R>>
    where
        Q: Message,
        R: Message + Default,
    {
        let command = call.command();
        let body = request.encode_to_vec();
        if self.globals.is_json_request() {
            let request = match json::request_of(command) {
                Some(descriptor) => json::to_json(&descriptor, &body)?,
                None => Value::Object(serde_json::Map::new()),
            };
            output::json::write(self.out, &request)?;
            // Shown even when the call hangs or fails.
            self.out.flush()?;
        }
        let answer = self.client(program)?.call_raw(command, &body)?;
        if self.globals.is_json() {
            match json::rows(command, &answer) {
                Some(rows) => output::json::write_rows(self.out, rows)?,
                None => {
                    let answer = json::response_to_json(command, &answer)?;
                    output::json::write(self.out, output::json::keys(&answer))?;
                }
            }
            return Ok(None);
        }
        let unreadable = |error| {
            let text = format!("the daemon answered \"{}\" with an unreadable message", call.name);
            Error::new(Class::Request, anyhow::Error::from(error).context(text))
        };
        R::decode(answer.as_slice()).map(Some).map_err(unreadable)
    }

    /// Prints a line of text.
    pub(crate) fn line(&mut self, text: impl std::fmt::Display) -> Result<()> {
        Ok(writeln!(self.out, "{}", output::printable_lines(&text.to_string()))?)
    }

    /// Prints a remark on stderr, after all output so far, so that programs that read the table do not
    /// see it.
    pub(crate) fn note(&mut self, text: impl std::fmt::Display) -> Result<()> {
        self.out.flush()?;
        eprintln!("{text}");
        Ok(())
    }

    /// Prints octets as they are, for answers that only their reader understands.
    pub(crate) fn octets(&mut self, octets: &[u8]) -> Result<()> {
        Ok(self.out.write_all(octets)?)
    }

    /// Prints a table.
    pub(crate) fn table(&mut self, table: &Table) -> Result<()> {
        Ok(table.write(self.out)?)
    }

    /// Ends the output.
    pub(crate) fn finish(self) -> Result<()> {
        Ok(self.out.flush()?)
    }

    fn client(&mut self, program: Program) -> Result<&mut Client> {
        let position = match self.clients.iter().position(|(p, _)| *p == program) {
            Some(position) => position,
            None => {
                let client = self.globals.target().connect(program)?;
                self.clients.push((program, client));
                self.clients.len() - 1
            }
        };
        // In range: found, or pushed just now.
        Ok(&mut self.clients[position].1)
    }
}
