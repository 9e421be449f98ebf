//! The file of a Unix domain socket (unix(7)): it is there with its owner and its permissions from the first moment, a
//! stale one makes room, and one on which somebody listens does not.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::config::settings::FileAccess;

/// A file of ours, which goes when this is dropped, unless somebody has put another in its place.
#[derive(Debug)]
pub struct SocketFile {
    path: Arc<Path>,
    /// Which file it is, by device and number.
    identity: (u64, u64),
}

/// Listens at `path`.
///
/// # Errors
///
/// That somebody listens there, that something else is there, or that the file cannot be made as it should be. Then
/// nothing is left of it.
pub(super) fn listen(
    path: &Arc<Path>,
    access: &FileAccess,
    backlog: i32,
) -> io::Result<(UnixListener, SocketFile)> {
    make_room(path)?;
    // It gets its name when all is done: nobody connects to it before.
    let aside = Aside(aside(path));
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(&aside.0)?)?;
    if access.user.is_some() || access.group.is_some() {
        chown(&aside.0, access.user, access.group)?;
    }
    if let Some(mode) = access.mode {
        fs::set_permissions(&aside.0, fs::Permissions::from_mode(mode))?;
    }
    socket.listen(backlog)?;
    let identity = identity(&aside.0)?;
    fs::rename(&aside.0, path)?;
    Ok((socket.into(), SocketFile { path: Arc::clone(path), identity }))
}

/// Takes a socket away on which nobody listens.
fn make_room(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(ErrorKind::AlreadyExists, "there is something else than a socket"));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => match fs::remove_file(path) {
            // Somebody else has done it.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed,
        },
        // Such as for want of permission: then nobody knows whether somebody listens.
        Err(error) => Err(error),
    }
}

fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    name.into()
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

/// A file that goes unless it has got another name.
struct Aside(PathBuf);

impl Drop for Aside {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|there| there == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(folder: &tempfile::TempDir) -> Arc<Path> {
        folder.path().join("s").into()
    }

    fn names(folder: &tempfile::TempDir) -> Vec<String> {
        let files = fs::read_dir(folder.path()).expect("it is there");
        files.map(|file| file.expect("it is there").file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn it_has_its_permissions_and_goes_with_its_listener() {
        let folder = tempfile::tempdir().expect("room for it");
        let path = at(&folder);
        let access = FileAccess { mode: Some(0o620), ..FileAccess::default() };
        let (socket, file) = listen(&path, &access, 8).expect("nothing is there");
        assert_eq!(fs::metadata(&path).expect("it is there").mode() & 0o777, 0o620);
        assert_eq!(names(&folder), ["s"], "nothing else is left");
        UnixStream::connect(&path).expect("it listens");
        drop((socket, file));
        assert_eq!(names(&folder), [""; 0]);
    }

    #[test]
    fn a_stale_one_makes_room_and_one_that_is_used_does_not() {
        let folder = tempfile::tempdir().expect("room for it");
        let path = at(&folder);
        drop(UnixListener::bind(&path).expect("nothing is there"));
        let (_socket, file) = listen(&path, &FileAccess::default(), 8).expect("nobody listens there");
        let error = listen(&path, &FileAccess::default(), 8).expect_err("somebody listens");
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        UnixStream::connect(&path).expect("the first one listens still");
        // Another has taken the place: it is not ours to take away.
        fs::remove_file(&path).expect("it is there");
        let _other = UnixListener::bind(&path).expect("nothing is there");
        drop(file);
        UnixStream::connect(&path).expect("the other one is there still");
    }

    #[test]
    fn what_is_no_socket_stays() {
        let folder = tempfile::tempdir().expect("room for it");
        let path = at(&folder);
        fs::write(&path, "words").expect("room for it");
        let error = listen(&path, &FileAccess::default(), 8).expect_err("it is a file");
        assert_eq!(error.to_string(), "there is something else than a socket");
        assert_eq!(fs::read_to_string(&path).expect("it is there"), "words");
        assert_eq!(names(&folder), ["s"]);
    }
}
