//! The users file: read at start, written by `mta-admin user add`.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, chown},
    path::Path,
};

use config::Diagnostic;

use super::reader::{Findings, Item};
use crate::auth::password::PasswordHash;

/// Someone who may log in.
#[derive(Clone, Debug)]
pub struct User {
    /// The name, 1 to 64 characters.
    pub username: String,
    /// The hash of the password.
    pub password: PasswordHash,
}

/// Reads the text of a users file; `file` names it in diagnostics.
///
/// # Errors
///
/// Everything that is wrong, in file order.
pub fn parse_users(text: &str, file: &str) -> Result<Vec<User>, Vec<Diagnostic>> {
    if text.lines().all(|line| line.trim().is_empty() || line.trim().starts_with('#')) {
        return Ok(Vec::new());
    }
    let root = config::yaml::parse(text.as_bytes(), file)?;
    let mut findings = Findings::new(file);
    let map = Item::root(&root).map(&["users"], &mut findings);
    let users = map.optional("users").map_or_else(Vec::new, |item| read_list(&item, &mut findings));
    findings.finish(users)
}

pub(super) fn read_list(item: &Item<'_>, findings: &mut Findings) -> Vec<User> {
    let mut users: Vec<User> = Vec::new();
    for item in item.list(findings) {
        let map = item.map(&["username", "password"], findings);
        let username = map.required("username", findings);
        let username = username.and_then(|item| item.text(findings));
        let Some(secret) = map.required("password", findings) else { continue };
        let Some(text) = secret.text(findings) else { continue };
        let password = match PasswordHash::parse(text) {
            Ok(password) => password,
            Err(error) => {
                secret.error(findings, error.to_string());
                continue;
            }
        };
        let Some(username) = username else { continue };
        if !is_username(username) {
            item.error(findings, USERNAME_RULE);
        }
        if users.iter().any(|user| user.username == username) {
            item.error(findings, format!("the user \"{username}\" is listed twice"));
        }
        users.push(User { username: username.to_owned(), password });
    }
    users
}

/// What a user name may be, for messages.
pub const USERNAME_RULE: &str = "a user name has 1 to 64 letters, digits and the signs . _ - @ +";

/// Says whether `name` may be a user name: it stands in logs and in YAML as it is.
#[must_use]
pub fn is_username(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"._-@+".contains(&octet))
}

/// The text of a users file.
#[must_use]
pub fn print_users(users: &[User]) -> String {
    let mut text = String::from("# Written by \"mta-admin user add\".\nusers:\n");
    if users.is_empty() {
        text.push_str("  []\n");
    }
    for user in users {
        // Neither has quotes or backslashes, by their rules.
        text.push_str(&format!(
            "  - username: \"{}\"\n    password: \"{}\"\n",
            user.username,
            user.password.as_str()
        ));
    }
    text
}

/// Replaces a users file in one step; owner and mode stay, a new file is for its owner and group.
///
/// # Errors
///
/// Those of the file system; the old file is in place then.
pub fn write_users(file: &Path, users: &[User], group: Option<u32>) -> io::Result<()> {
    let before = fs::metadata(file).ok();
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let scratch = file.with_file_name(name);
    let mode = before.as_ref().map_or(0o640, |metadata| metadata.mode() & 0o777);
    let mut out = OpenOptions::new().write(true).create_new(true).mode(mode).open(&scratch)?;
    let written = out
        .write_all(print_users(users).as_bytes())
        .and_then(|()| match (&before, group) {
            (Some(old), _) => chown(&scratch, Some(old.uid()), Some(old.gid())),
            (None, Some(group)) => chown(&scratch, None, Some(group)),
            (None, None) => Ok(()),
        })
        .and_then(|()| out.sync_all())
        .and_then(|()| fs::rename(&scratch, file));
    if written.is_err() {
        // What is left is of no use; the first error is the one to tell.
        let _ = fs::remove_file(&scratch);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("users.yaml");
        let password = PasswordHash::make("correct horse").unwrap();
        let users = [User { username: "eve@example.com".into(), password }];
        write_users(&file, &users, None).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        let back = parse_users(&text, "users.yaml").unwrap();
        assert_eq!(back[0].username, "eve@example.com");
        assert!(back[0].password.verify("correct horse"));
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn no_users_read_back_too() {
        assert!(parse_users(&print_users(&[]), "users.yaml").unwrap().is_empty());
        assert!(parse_users("", "users.yaml").unwrap().is_empty());
    }

    #[test]
    fn names_that_would_break_files_and_logs_are_refused() {
        for name in ["", "a b", "a\"b", "a\nb", "ä", &"a".repeat(65)] {
            assert!(!is_username(name), "{name:?}");
        }
        assert!(is_username("eve.o-neil+x_1@example.com"));
    }
}
