//! `mta-admin user add`: a name and a password become an entry of the users file.

use std::{
    io::{self, BufRead, IsTerminal as _, Read as _, Write as _},
    path::Path,
};

use anyhow::{Context as _, bail, ensure};
use mta_admin::{
    auth::password::PasswordHash,
    settings::{
        self, User, load_users,
        users::{USERNAME_RULE, is_username, print_users, write_users},
    },
};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// Characters of a password: fewer are guessed at leisure from a stolen file.
const MIN_PASSWORD: usize = 8;
/// Octets of a password that the login page takes.
const MAX_PASSWORD: usize = 1024;

/// Asks for the password and writes, or prints, the entry.
pub(crate) fn run(name: &str, config: &Path, print: bool) -> anyhow::Result<()> {
    ensure!(is_username(name), "\"{name}\" is no user name: {USERNAME_RULE}");
    // Before asking for anything: a wrong configuration is told first.
    let target = if print { None } else { Some(settings::load(config)?) };
    let password = read_password(name)?;
    ensure!(
        password.chars().count() >= MIN_PASSWORD,
        "a password has at least {MIN_PASSWORD} characters"
    );
    ensure!(password.len() <= MAX_PASSWORD, "a password has at most {MAX_PASSWORD} bytes");
    let password = PasswordHash::make(&password)
        .map_err(|error| anyhow::anyhow!("cannot hash the password: {error}"))?;
    let user = User { username: name.to_owned(), password };
    let Some(settings) = target else {
        // The comment at the top speaks of the users file.
        let text = print_users(&[user]);
        print!("{}", text.split_once('\n').map_or(text.as_str(), |(_, entry)| entry));
        return Ok(());
    };
    let file = &settings.users_file;
    let mut users = load_users(file)?;
    let before = users.len();
    users.retain(|known| known.username != name);
    let verb = if users.len() < before { "changed" } else { "added" };
    users.push(user);
    let group = settings.privdrop.as_ref().filter(|_| nix::unistd::geteuid().is_root());
    let group = group.and_then(|privdrop| match &privdrop.group {
        Some(name) => nix::unistd::Group::from_name(name).ok().flatten().map(|g| g.gid),
        None => nix::unistd::User::from_name(&privdrop.user).ok().flatten().map(|u| u.gid),
    });
    write_users(file, &users, group.map(nix::unistd::Gid::as_raw))
        .with_context(|| format!("cannot write {}", file.display()))?;
    println!("User \"{name}\" {verb} in {}.", file.display());
    println!("A running mta-admin takes it up with: systemctl reload halon-web");
    Ok(())
}

/// Reads a password: twice without echo from a terminal, one line from anything else.
fn read_password(name: &str) -> anyhow::Result<String> {
    let input = io::stdin();
    if !input.is_terminal() {
        return read_line(&mut input.lock());
    }
    let silence = Silence::start().context("cannot switch off the echo of the terminal")?;
    let first = ask(&format!("Password for {name}: "))?;
    let second = ask("Once more: ")?;
    drop(silence);
    if first != second {
        bail!("the passwords differ");
    }
    Ok(first)
}

fn ask(question: &str) -> anyhow::Result<String> {
    let mut out = io::stderr();
    write!(out, "{question}").and_then(|()| out.flush()).context("cannot ask")?;
    let answer = read_line(&mut io::stdin().lock());
    // The line end of the answer was not shown; nothing depends on it.
    let _ = writeln!(out);
    answer
}

fn read_line(input: &mut impl BufRead) -> anyhow::Result<String> {
    let mut line = String::new();
    let mut limited = input.take(MAX_PASSWORD as u64 + 3);
    let count = limited.read_line(&mut line).context("cannot read the password")?;
    ensure!(count > 0, "there is no password on standard input");
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// A terminal without echo, as long as this lives.
struct Silence(Termios);

impl Silence {
    fn start() -> io::Result<Self> {
        let before = tcgetattr(rustix::stdio::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(rustix::stdio::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Self(before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // The terminal may be gone.
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Flush, &self.0);
    }
}
