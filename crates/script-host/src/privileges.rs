//! From root to the user that the configuration names: after sockets and keys, before anything
//! that a peer or a script can reach.

use std::io;

use config::startup::Environment;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Gid, Group, Uid, User, initgroups, setgid, setuid};

/// Raises the limit on open files and sets the file mode creation mask.
///
/// # Errors
///
/// The system's, when the limit is above what the process may have.
pub fn set_limits(environment: &Environment) -> io::Result<()> {
    if let Some(wanted) = environment.rlimit_nofile {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        // Only root may raise the hard limit; others take what there is.
        let hard = if Uid::effective().is_root() { hard.max(wanted) } else { hard };
        setrlimit(Resource::RLIMIT_NOFILE, wanted.min(hard), hard)?;
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
