//! Listening sockets in the file system.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use config::startup::UnixSocket;

/// The socket's file; left behind it would only be refused connections, so it goes with this value.
pub(crate) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody else may have removed it already.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Binds a socket with its owner, group and mode. One that a dead process left behind is replaced;
/// one that somebody listens on is not.
///
/// # Errors
///
/// Names the path and what is wrong.
pub(crate) fn bind(socket: &UnixSocket) -> io::Result<(UnixListener, SocketFile)> {
    let path = &socket.path;
    if UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            format!("{} is in use by another process", path.display()),
        ));
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(named(path, error)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(|error| named(path, error))?;
    let file = SocketFile(path.clone());
    listener.set_nonblocking(true)?;
    let mode = std::fs::Permissions::from_mode(socket.chmod.bits());
    std::fs::set_permissions(path, mode).map_err(|error| named(path, error))?;
    let uid = socket.owner.as_deref().map(find_user).transpose()?;
    let gid = socket.group.as_deref().map(find_group).transpose()?;
    if uid.is_some() || gid.is_some() {
        nix::unistd::chown(path, uid, gid).map_err(|error| named(path, error.into()))?;
    }
    Ok((listener, file))
}

fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn find_user(name: &str) -> io::Result<nix::unistd::Uid> {
    nix::unistd::User::from_name(name)?
        .map(|user| user.uid)
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("there is no user {name}")))
}

fn find_group(name: &str) -> io::Result<nix::unistd::Gid> {
    nix::unistd::Group::from_name(name)?
        .map(|group| group.gid)
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("there is no group {name}")))
}
