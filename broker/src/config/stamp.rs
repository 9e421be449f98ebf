//! Whether a file has changed, without reading it.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// A file as it was when it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Stamp {
    /// # Errors
    ///
    /// When there is no such file, or it may not be looked at; or it is a pipe, which changes by being read.
    pub(super) fn of(file: &Path) -> io::Result<Stamp> {
        let metadata = fs::metadata(file)?;
        if metadata.file_type().is_fifo() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    #[test]
    fn a_file_has_another_when_it_was_written_and_a_pipe_has_none() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let (file, pipe) = (folder.path().join("file"), folder.path().join("pipe"));
        fs::write(&file, "one").expect("it can be written");
        let first = Stamp::of(&file).expect("it is there");
        assert_eq!(Stamp::of(&file).expect("it is there"), first);
        fs::write(&file, "three").expect("it can be written");
        assert_ne!(Stamp::of(&file).expect("it is there"), first);
        mkfifo(&pipe, Mode::S_IRWXU).expect("a pipe");
        assert!(Stamp::of(&pipe).is_err());
    }
}
