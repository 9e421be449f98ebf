//! The built-in profiles. Each is written as one's own would be, and read once, when the first of them is asked for.

use std::path::Path;
use std::sync::LazyLock;

use steadfast_profiles::rules::BUILTIN;

use super::file::{self, FILE_SIZE_MAX};
use super::keys;
use super::problem::{ConfigError, ProblemReport};
use super::raw;
use super::settings::ProfileSettings;

/// One of them.
#[derive(Debug)]
pub struct BuiltIn {
    /// As it was written.
    pub text: &'static str,
    /// As it was read.
    pub settings: ProfileSettings,
}

/// That of Socket.IO has no rules: it is code.
const SOCKET_IO: &str = r#"# Socket.IO 4, by WebSocket alone. Clients that begin by polling are told to reconnect.
[[profile]]
name = "socket.io"
base = "socket.io"
match = { query = "EIO=4" }
# The client's "connect" event fires again at each next server, so that it can join its rooms anew.
# "hide": it does not notice.
second_connect = "announce"
# Events that are said again to each next server, such as those that join a room.
keep_events = []
# A server that stores the state of those who leave it is asked to recover it.
recover = false
"#;

/// Those that clients get without being named. One that is not here has yet to be proven against real servers and clients.
pub const PROVEN: &[&str] = &["graphql-transport-ws", "graphql-ws", "ocpp", "socket.io"];

static ALL: LazyLock<Vec<BuiltIn>> = LazyLock::new(|| texts().filter_map(|text| read(text).ok()).collect());

/// All of them.
pub fn built_ins() -> &'static [BuiltIn] {
    &ALL
}

/// The profile of this name, of one's own or built in.
pub fn find_profile<'a>(own: &'a [ProfileSettings], name: &str) -> Option<&'a ProfileSettings> {
    let built_in = || ALL.iter().map(|built_in| &built_in.settings);
    own.iter().chain(built_in()).find(|profile| profile.name == name)
}

/// The `[[profile]]` of a file, whatever else is in it.
///
/// # Errors
/// Every problem that was found in them.
pub fn load_profiles(path: &Path) -> Result<Vec<ProfileSettings>, ConfigError> {
    let report = ProblemReport::new(Some(path));
    match file::read(path, FILE_SIZE_MAX) {
        Ok(text) => profiles(&text, report, &keys::built_in_names()),
        Err(error) => Err(report.unreadable(&error)),
    }
}

fn texts() -> impl Iterator<Item = &'static str> {
    BUILTIN.iter().map(|(_, text)| *text).chain([SOCKET_IO])
}

fn read(text: &'static str) -> Result<BuiltIn, ConfigError> {
    let mut profiles = profiles(text, ProblemReport::new(None), &[])?;
    let settings = ProblemReport::new(None).finish(profiles.pop())?;
    Ok(BuiltIn { text, settings })
}

fn profiles(
    text: &str,
    mut report: ProblemReport,
    taken: &[&str],
) -> Result<Vec<ProfileSettings>, ConfigError> {
    let read = raw::read_document(text, &mut report, |root| {
        let profiles = keys::profiles(root, taken);
        root.leave_the_rest();
        profiles
    });
    report.finish(read.map(|(profiles, _)| profiles))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_built_in_profile_can_be_read_and_has_its_name() {
        for text in texts() {
            let read = read(text).map_err(|error| format!("{error}\n{text}"));
            assert!(read.is_ok(), "{read:?}");
        }
        let read: Vec<&str> = built_ins().iter().map(|built_in| built_in.settings.name.as_str()).collect();
        assert_eq!(read, keys::built_in_names());
    }

    #[test]
    fn names_are_found() {
        assert!(find_profile(&[], "socket.io").is_some() && find_profile(&[], "mine").is_none());
        let mine = ProfileSettings { name: "mine".to_owned(), ..built_ins()[0].settings.clone() };
        assert!(find_profile(&[mine], "mine").is_some());
    }
}
