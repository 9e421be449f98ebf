//! Reading what a person has named: a file at once, and a pipe for a while. A named pipe into which nobody
//! writes would otherwise hold up the start, or every reload.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;

/// Bytes of a configuration file. Ten thousand backends fit many times over.
pub(super) const FILE_SIZE_MAX: u64 = 4 << 20;

/// How long a pipe may take to give all that it has.
const PIPE_TIME_MAX: Duration = Duration::from_secs(5);

/// How long it is left alone when it has nothing.
const PIPE_PAUSE: Duration = Duration::from_millis(10);

/// Returns the text, of which more than `max` bytes are an error.
///
/// # Errors
///
/// Those of reading; it is larger, is not UTF-8, or is a pipe that does not come to its end in five seconds.
pub(super) fn read(path: &Path, max: u64) -> io::Result<String> {
    String::from_utf8(read_bytes(path, max)?)
        .map_err(|_| io::Error::new(ErrorKind::InvalidData, "it is not UTF-8"))
}

/// The same for what is no text.
///
/// # Errors
///
/// As [`read`].
pub(crate) fn read_bytes(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    // Without this flag, opening a pipe waits for somebody who writes.
    let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    let mut bytes = Vec::new();
    if file.metadata()?.file_type().is_fifo() {
        read_pipe(file, max, &mut bytes)?;
    } else {
        file.take(max + 1).read_to_end(&mut bytes)?;
    }
    if bytes.len() as u64 > max {
        return Err(io::Error::other(format!("it is larger than {max} bytes")));
    }
    Ok(bytes)
}

/// Reads until whoever writes has closed it.
fn read_pipe(mut file: File, max: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
    let (until, mut buffer) = (Instant::now() + PIPE_TIME_MAX, [0; 4096]);
    loop {
        match file.read(&mut buffer) {
            Ok(n @ 1..) => bytes.extend_from_slice(&buffer[..n]),
            Ok(0) if !bytes.is_empty() => return Ok(()),
            // Nobody has written yet.
            Ok(_) => sleep(PIPE_PAUSE),
            Err(error) if error.kind() == ErrorKind::WouldBlock => sleep(PIPE_PAUSE),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if bytes.len() as u64 > max {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(io::Error::other("it is a pipe, and nobody has written all of it within 5 seconds"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::thread;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().join("file");
        fs::write(&path, "four").expect("it can be written");
        assert_eq!(read(&path, 4).expect("it fits"), "four");
        assert!(read(&path, 3).expect_err("too long").to_string().contains("larger than 3 bytes"));
        assert!(read(folder.path(), 4).is_err(), "a folder");
        assert!(read(&folder.path().join("none"), 4).is_err());
    }

    #[test]
    fn a_pipe_is_read_to_its_end_and_not_waited_for_without_end() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().join("pipe");
        mkfifo(&path, Mode::S_IRWXU).expect("a pipe");
        let error = read(&path, 100).expect_err("nobody writes");
        assert!(error.to_string().contains("nobody has written"), "{error}");
        let to = path.clone();
        let writer = thread::spawn(move || fs::write(to, "a text"));
        assert_eq!(read(&path, 100).expect("somebody writes"), "a text");
        writer.join().expect("no panic").expect("it is read");
    }
}
