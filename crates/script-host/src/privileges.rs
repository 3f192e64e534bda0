//! From root to the user that the configuration names: after sockets and keys, before anything
//! that a peer or a script can reach.

use std::io;

use config::startup::Environment;
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Gid, Group, Uid, User, initgroups, setgid, setuid};

/// Raises the limit on open files and sets the file mode creation mask.
///
/// The hard limit may be raised with `CAP_SYS_RESOURCE` only, and not beyond `fs.nr_open`. Who may not,
/// such as root in a container, takes the most there is.
///
/// # Errors
///
/// The system's.
pub fn set_limits(environment: &Environment) -> io::Result<()> {
    if let Some(wanted) = environment.rlimit_nofile {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        match setrlimit(Resource::RLIMIT_NOFILE, wanted, hard.max(wanted)) {
            Err(Errno::EPERM) => setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?,
            other => other?,
        }
    }
    if let Some(mask) = environment.umask {
        let mask = nix::sys::stat::Mode::from_bits_truncate(mask.bits());
        nix::sys::stat::umask(mask);
    }
    Ok(())
}

/// Becomes the configured user and group. A process that is not root stays who it is.
///
/// # Errors
///
/// Names the user or group that does not exist, or the step that the system refused.
pub fn drop_root(environment: &Environment) -> io::Result<()> {
    let Some(target) = &environment.privdrop else { return Ok(()) };
    if !Uid::effective().is_root() {
        return Ok(());
    }
    let missing = |kind: &str, name: &str| {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("environment.privdrop: there is no {kind} {name}"),
        )
    };
    let user = match &target.user {
        Some(name) => Some(User::from_name(name)?.ok_or_else(|| missing("user", name))?),
        None => None,
    };
    let gid: Option<Gid> = match &target.group {
        Some(name) => Some(Group::from_name(name)?.ok_or_else(|| missing("group", name))?.gid),
        None => user.as_ref().map(|user| user.gid),
    };
    if let Some(gid) = gid {
        if let Some(user) = &user {
            let name = std::ffi::CString::new(user.name.as_str()).map_err(io::Error::other)?;
            initgroups(&name, gid)?;
        }
        setgid(gid)?;
    }
    if let Some(user) = user {
        setuid(user.uid)?;
        if !user.uid.is_root() && setuid(Uid::from_raw(0)).is_ok() {
            return Err(io::Error::other("privileges could be taken back after dropping them"));
        }
    }
    Ok(())
}

/// User and group that files made before the drop shall belong to.
///
/// # Errors
///
/// As [`drop_root`].
pub fn target_ids(environment: &Environment) -> io::Result<(Option<Uid>, Option<Gid>)> {
    let Some(target) = environment.privdrop.as_ref().filter(|_| Uid::effective().is_root()) else {
        return Ok((None, None));
    };
    let user = target.user.as_deref().map(User::from_name).transpose()?.flatten();
    let group = target.group.as_deref().map(Group::from_name).transpose()?.flatten();
    Ok((
        user.as_ref().map(|user| user.uid),
        group.map(|group| group.gid).or(user.map(|user| user.gid)),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(nofile: u64) -> Environment {
        let text = format!("version: \"5.6\"\nenvironment: {{rlimit: {{nofile: {nofile}}}}}\n");
        config::load_startup(&text, "smtpd.yaml").unwrap().config.environment
    }

    #[test]
    fn a_limit_beyond_what_may_be_had_takes_the_most_there_is() {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        // Not even the superuser may go beyond this number.
        let most = std::fs::read_to_string("/proc/sys/fs/nr_open").unwrap();
        let most: u64 = most.trim().parse().unwrap();
        assert!(hard <= most);
        set_limits(&environment(most + 1)).unwrap();
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (hard, hard));
        let few = soft.min(64);
        set_limits(&environment(few)).unwrap();
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (few, hard));
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    }
}
