//! The keys by which cookies are signed, as a file has them: one in each line, in base64, 32 to 64 bytes. The first one
//! signs, and all verify. They are used, never shown.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Keys of a file: a cookie that none has signed is tried with each.
const KEYS_MAX: usize = 16;
/// Bytes of a key.
const KEY_MIN: usize = 32;
const KEY_MAX: usize = 64;

const ADVICE: &str = "openssl rand -base64 32 makes one";

/// Keys that sign cookies, the one that signs first; none: there is no file. Their `Debug` does not tell them.
#[derive(Clone, Default)]
pub struct CookieSecrets(Arc<[Box<[u8]>]>);

impl CookieSecrets {
    /// Reads the lines of a file.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as the rest of a sentence about the file, without any of its text.
    pub fn new(bytes: &[u8]) -> Result<CookieSecrets, String> {
        let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).enumerate();
        let mut keys = Vec::<Box<[u8]>>::new();
        for (number, line) in lines.filter(|(_, line)| !line.is_empty()) {
            let number = number + 1;
            let key =
                STANDARD.decode(line).map_err(|_| format!("holds no base64 in line {number}; {ADVICE}"))?;
            if !(KEY_MIN..=KEY_MAX).contains(&key.len()) {
                let length = key.len();
                return Err(format!(
                    "has a key of {length} bytes in line {number}; {KEY_MIN} to {KEY_MAX} are wanted: {ADVICE}"
                ));
            }
            if keys.len() == KEYS_MAX {
                return Err(format!(
                    "holds more than {KEYS_MAX} keys; remove the oldest, which are the last"
                ));
            }
            keys.push(key.into());
        }
        if keys.is_empty() {
            return Err(format!("holds no key; {ADVICE}"));
        }
        Ok(CookieSecrets(keys.into()))
    }

    /// The keys, the one that signs first.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(|key| &**key)
    }
}

impl fmt::Debug for CookieSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CookieSecrets(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(byte: u8, length: usize) -> String {
        STANDARD.encode(vec![byte; length]) + "\n"
    }

    fn read(text: &str) -> Vec<Vec<u8>> {
        CookieSecrets::new(text.as_bytes()).expect("sound").keys().map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn a_file_has_a_key_in_each_line() {
        assert_eq!(read(&line(1, 32)), [[1; 32]]);
        let text = format!("\n{}\r\n  {}\n\n{}", line(3, 32).trim(), line(2, 64), line(1, 48).trim());
        assert_eq!(read(&text), [vec![3; 32], vec![2; 64], vec![1; 48]]);
        assert_eq!(read(&line(1, 32).repeat(KEYS_MAX)).len(), KEYS_MAX);
    }

    #[test]
    fn what_is_wrong_is_told_without_the_text() {
        for (text, fault) in [
            (String::new(), "holds no key; openssl"),
            ("\n \n".to_owned(), "holds no key; openssl"),
            (line(1, 32) + "secret-secret!", "holds no base64 in line 2; "),
            (line(1, 31), "has a key of 31 bytes in line 1; 32 to 64 are wanted"),
            (line(1, 32) + &line(1, 65), "has a key of 65 bytes in line 2; 32 to 64 are wanted"),
            (line(1, 32).repeat(KEYS_MAX + 1), "holds more than 16 keys; "),
        ] {
            let found = CookieSecrets::new(text.as_bytes()).expect_err("a fault");
            assert!(found.starts_with(fault) && !found.contains("secret"), "{found}");
        }
        let secrets = CookieSecrets::new(line(7, 32).as_bytes()).expect("sound");
        assert_eq!(format!("{secrets:?}"), "CookieSecrets(hidden)");
    }
}
