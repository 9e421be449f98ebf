//! How the owner and the permissions of a file are written.

use nix::unistd::{Group, User};

use crate::config::text::quoted;

/// Octal digits, as chmod(1) takes them.
pub(in crate::config) fn mode(text: &str) -> Result<u32, String> {
    let digits = (3..=4).contains(&text.len()) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    let mode = digits.then(|| u32::from_str_radix(text, 8).ok()).flatten().filter(|mode| *mode <= 0o777);
    mode.ok_or_else(|| format!(r#"expected octal permissions such as "0660", found {}"#, quoted(text)))
}

/// A user of this machine.
pub(in crate::config) fn user(text: &str) -> Result<u32, String> {
    id(text, "user", |name| User::from_name(name).ok().flatten().map(|user| user.uid.as_raw()))
}

/// A group of this machine.
pub(in crate::config) fn group(text: &str) -> Result<u32, String> {
    id(text, "group", |name| Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw()))
}

fn id(text: &str, what: &str, find: impl FnOnce(&str) -> Option<u32>) -> Result<u32, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // The last one stands for "as it is" (chown(2)).
        let id = text.parse().ok().filter(|id| *id != u32::MAX);
        return id.ok_or_else(|| format!("{} is no id of a {what}", quoted(text)));
    }
    let name = Some(text).filter(|name| !name.is_empty() && !name.contains('\0'));
    name.and_then(find).ok_or_else(|| format!("this machine has no {what} {}", quoted(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_octal() {
        assert_eq!((mode("0660"), mode("600")), (Ok(0o660), Ok(0o600)));
        for text in ["", "66", "0680", "1777", "rw-", "00660"] {
            assert!(mode(text).is_err(), "{text}");
        }
    }

    #[test]
    fn who_owns_it_has_a_name_or_an_id() {
        assert_eq!((user("root"), group("root"), user("1234")), (Ok(0), Ok(0), Ok(1234)));
        assert_eq!(user("no-such-user"), Err("this machine has no user \"no-such-user\"".to_owned()));
        assert!(group("4294967295").is_err() && user("").is_err());
    }
}
