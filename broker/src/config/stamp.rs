//! Whether files have changed, without reading them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The files of a configuration as they were at one look: its own, and those that it names. A file that is gone, and a
/// pipe, which changes by being read, is as if it were not looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Look {
    own: Option<Stamp>,
    named: BTreeMap<PathBuf, Option<Stamp>>,
}

impl Look {
    /// At the configuration alone, if there is one.
    pub(super) fn new(own: Option<&Path>) -> Look {
        Look { own: own.and_then(stamp), named: BTreeMap::new() }
    }

    /// The same with a look at these files in place of others.
    #[must_use]
    pub fn naming(self, files: impl IntoIterator<Item = PathBuf>) -> Look {
        let look = |file: PathBuf| {
            let stamp = stamp(&file);
            (file, stamp)
        };
        Look { named: files.into_iter().map(look).collect(), ..self }
    }

    /// The same with a look at the files that this other one was at.
    #[must_use]
    pub(crate) fn naming_those_of(self, other: &Look) -> Look {
        self.naming(other.named.keys().cloned())
    }

    /// At the same files once more. `own`: the configuration.
    pub(super) fn again(&self, own: Option<&Path>) -> Look {
        Look::new(own).naming(self.named.keys().cloned())
    }

    /// Whether a file is there now and was another then. One that is gone may come back.
    pub fn differs(&self, then: &Look) -> bool {
        let another = |now: Option<Stamp>, then: Option<Stamp>| now.is_some() && now != then;
        let named =
            |(file, now): (&PathBuf, &Option<Stamp>)| another(*now, then.named.get(file).copied().flatten());
        another(self.own, then.own) || self.named.iter().any(named)
    }

    /// The look after which everything counts as changed.
    pub(crate) fn forget(&mut self) {
        self.own = None;
        self.named.values_mut().for_each(|stamp| *stamp = None);
    }
}

fn stamp(file: &Path) -> Option<Stamp> {
    Stamp::of(file).ok()
}

/// A file as it was when it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Stamp {
    /// # Errors
    ///
    /// When there is no such file, or it may not be looked at; or it is a pipe, which changes by being read.
    fn of(file: &Path) -> io::Result<Stamp> {
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
    fn a_look_tells_what_is_there_and_another() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let (own, named, gone) =
            (folder.path().join("own"), folder.path().join("named"), folder.path().join("gone"));
        let write = |file: &Path, text: &str| fs::write(file, text).expect("it can be written");
        write(&own, "one");
        write(&named, "one");
        let first = Look::new(Some(&own)).naming([named.clone(), gone.clone()]);
        assert_eq!(first.again(Some(&own)), first);
        assert!(!first.differs(&first));
        assert!(first.differs(&Look::new(Some(&own))), "a file that was not looked at is another");

        write(&named, "three");
        let second = first.again(Some(&own));
        assert!(second.differs(&first) && second != first);
        fs::remove_file(&named).expect("it is there");
        let third = second.again(Some(&own));
        assert!(!third.differs(&second) && third != second, "what is gone may come back");
        write(&gone, "one");
        assert!(third.again(Some(&own)).differs(&third), "what was gone is there");
        write(&own, "three");
        assert!(third.again(Some(&own)).differs(&third));
        assert!(!third.again(None).naming([]).differs(&third));
        let mut forgotten = first.again(Some(&own));
        forgotten.forget();
        assert!(first.again(Some(&own)).differs(&forgotten));
    }

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
