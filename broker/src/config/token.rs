//! The secret of the admin API. It is compared, never shown.

use std::ffi::OsStr;
use std::fmt;
use std::path::Path;

use http::HeaderValue;
use subtle::ConstantTimeEq;

use super::file;
use super::text::quoted;

/// Shorter ones can be guessed.
const LENGTH_MIN: usize = 16;
/// Longer ones make headers that not everybody takes.
const LENGTH_MAX: usize = 1024;

/// What a token is, in words.
pub(super) const TOKEN: &str = "16 to 1024 visible ASCII characters";

/// What a request must show to use the admin API. Its `Debug` does not tell it.
#[derive(Clone)]
pub struct AdminToken(Box<str>);

impl AdminToken {
    /// 16 to 1024 visible ASCII characters: what may stand behind `Bearer` (RFC 6750, 2.1), and the rest of
    /// what a header takes.
    ///
    /// # Errors
    ///
    /// It is none; the sentence does not repeat it.
    pub fn new(text: &str) -> Result<AdminToken, String> {
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        if visible && (LENGTH_MIN..=LENGTH_MAX).contains(&text.len()) {
            return Ok(AdminToken(text.into()));
        }
        let found = if visible { format!("found {}", text.len()) } else { "found others".to_owned() };
        Err(format!("expected {TOKEN}, {found}; openssl rand -hex 32 makes a good one"))
    }

    /// As [`AdminToken::new`], of an environment variable's value.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn from_variable(value: &OsStr) -> Result<AdminToken, String> {
        AdminToken::new(value.to_str().unwrap_or("\u{fffd}"))
    }

    /// The token in a file, without the space around it.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or what is in it is no token.
    pub(super) fn read(path: &Path) -> Result<AdminToken, String> {
        let path_shown = quoted(&path.to_string_lossy());
        // The space around it has room.
        let text = file::read(path, 2 * LENGTH_MAX as u64)
            .map_err(|error| format!("cannot read {path_shown}: {error}"))?;
        AdminToken::new(text.trim()).map_err(|problem| format!("{path_shown}: {problem}"))
    }

    /// Whether this is the token, found in a time that tells nothing but its length.
    pub fn is(&self, offered: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(offered).into()
    }

    /// The value of an `Authorization` header, marked as a secret.
    pub fn bearer(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::try_from(format!("Bearer {}", self.0)).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const SECRET: &str = "0123456789abcdef";

    #[test]
    fn a_token_is_itself_and_nothing_else() {
        let token = AdminToken::new(SECRET).expect("16 characters");
        assert!(token.is(SECRET.as_bytes()));
        for other in ["", "0123456789abcde", "0123456789abcdeF", "0123456789abcdef0"] {
            assert!(!token.is(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn what_is_no_token_is_refused_without_being_repeated() {
        for (text, found) in [
            ("", "found 0"),
            ("short-secret", "found 12"),
            (&"s".repeat(1025), "found 1025"),
            ("a secret with spaces", "found others"),
            ("secret-secret-secret\n", "found others"),
            ("secret-secret-sécret", "found others"),
        ] {
            let problem = AdminToken::new(text).expect_err("it is no token");
            assert!(problem.contains(found), "{problem}");
            assert!(!problem.contains("secret"), "{problem}");
        }
        assert!(AdminToken::new(&"s".repeat(1024)).is_ok());
    }

    #[test]
    fn it_is_not_shown() {
        let token = AdminToken::new(SECRET).expect("16 characters");
        let bearer = token.bearer().expect("a header");
        assert_eq!(bearer, format!("Bearer {SECRET}"));
        assert!(!format!("{token:?} {bearer:?}").contains(SECRET));
    }

    #[test]
    fn a_file_may_end_with_a_line_break() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        fs::write(&path, format!("{SECRET}\n")).expect("a file");
        assert!(AdminToken::read(&path).expect("a token").is(SECRET.as_bytes()));
        fs::write(&path, "secret").expect("a file");
        let problem = AdminToken::read(&path).expect_err("too short");
        assert!(problem.contains("token\": expected 16") && !problem.contains("secret"), "{problem}");
        fs::write(&path, " ".repeat(4096)).expect("a file");
        AdminToken::read(&path).expect_err("space only");
        let problem = AdminToken::read(folder.path()).expect_err("a folder");
        assert!(problem.starts_with("cannot read "), "{problem}");
    }
}
