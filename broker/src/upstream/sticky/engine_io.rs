//! The session of Engine.IO, which Socket.IO rides on: a server names it at the beginning of its first polling answer, and
//! each further request of the client, polling or the upgrade, has it in its query.
//!
//! The answer's body begins with the open packet, `0{"sid":"...",...}`; in the third version of the protocol a length
//! stands in front, `97:0{"sid":"...",...}`.

/// So much of a body is looked at.
pub(crate) const LOOKED_AT: usize = 1024;

/// A session's name is shorter: those of the library have twenty characters.
const SID_MAX: usize = 128;
/// A packet's length, and a colon, have fewer characters.
const LENGTH_MAX: usize = 8;

/// The name of the session that a body opens; `None`: it opens none. `body`: its first bytes.
pub(crate) fn sid(body: &[u8]) -> Option<&[u8]> {
    let body = body.get(..LOOKED_AT).unwrap_or(body);
    let packet = behind_length(body).strip_prefix(b"0")?.trim_ascii_start();
    let mut rest = packet.strip_prefix(b"{")?;
    // The values of the packet are texts, numbers and lists of these: the key stands at its top.
    loop {
        let (key, behind) = text(rest.trim_ascii_start())?;
        let value = behind.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
        if key == b"sid" {
            return text(value).map(|(sid, _)| sid).filter(|sid| is_sid(sid));
        }
        rest = behind_value(value)?;
    }
}

/// What is there without the length in front, if one is.
fn behind_length(body: &[u8]) -> &[u8] {
    let digits = body.iter().take(LENGTH_MAX).take_while(|byte| byte.is_ascii_digit()).count();
    let behind = body.get(digits..).and_then(|rest| rest.strip_prefix(b":"));
    behind.filter(|_| digits > 0).unwrap_or(body)
}

/// A text in quotes, without escapes, and what stands behind it.
fn text(from: &[u8]) -> Option<(&[u8], &[u8])> {
    let from = from.strip_prefix(b"\"")?;
    let end = from.iter().position(|byte| *byte == b'"' || *byte == b'\\')?;
    let (text, rest) = from.split_at_checked(end)?;
    Some((text, rest.strip_prefix(b"\"")?))
}

/// What stands behind a value and its comma.
fn behind_value(from: &[u8]) -> Option<&[u8]> {
    let (mut quoted, mut depth) = (false, 0_usize);
    for (at, byte) in from.iter().enumerate() {
        match byte {
            b'\\' => return None,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.checked_sub(1)?,
            b',' if depth == 0 => return from.get(at + 1..),
            _ => {}
        }
    }
    None
}

fn is_sid(sid: &[u8]) -> bool {
    (1..=SID_MAX).contains(&sid.len()) && sid.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const V4: &[u8] = br#"0{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;

    #[test]
    fn the_session_of_the_open_packet() {
        let expected = Some(&b"lv_VI97HAXpY6yYWAAAC"[..]);
        assert_eq!(sid(V4), expected);
        let v3 = br#"96:0{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":5000}2:40"#;
        assert_eq!(sid(v3), expected);
        let later = br#"0{ "upgrades" : ["websocket", "a,b"], "pingInterval":25000 , "sid" : "lv_VI97HAXpY6yYWAAAC"}"#;
        assert_eq!(sid(later), expected);
        assert_eq!(sid(&[V4, &[b'x'; 4096]].concat()), expected);
    }

    #[test]
    fn what_opens_no_session_has_none() {
        for body in [
            &b""[..],
            b"0",
            b"0{",
            b"0{}",
            b"4{\"sid\":\"a\"}",
            b"{\"sid\":\"a\"}",
            b"40{\"sid\":\"a\"}",
            b"0{\"sid\":7}",
            b"0{\"sid\":\"\"}",
            b"0{\"sid\":\"a b\"}",
            b"0{\"sid\":\"a\\\"b\"}",
            b"0{\"sid\":\"cut",
            b"0{\"other\":\"sid\",\"more\":[\"sid\"]}",
            b"0{\"data\":{\"sid\":\"a\"}}",
            b"ok",
            b"<html>\"sid\":\"a\"</html>",
        ] {
            assert_eq!(sid(body), None, "{}", body.escape_ascii());
        }
        let long = format!("0{{\"sid\":\"{}\"}}", "a".repeat(SID_MAX + 1));
        assert_eq!(sid(long.as_bytes()), None);
        let late = format!("0{{\"pad\":\"{}\",\"sid\":\"a\"}}", "x".repeat(LOOKED_AT));
        assert_eq!(sid(late.as_bytes()), None, "more than is looked at");
        for end in 0..V4.len().min(30) {
            assert_eq!(sid(&V4[..end]), None, "cut at {end}");
        }
    }

    proptest! {
        #[test]
        fn no_body_is_too_strange(body: Vec<u8>) {
            let found = sid(&body);
            prop_assert!(found.is_none_or(|sid| sid.len() <= SID_MAX));
        }

        #[test]
        fn nor_one_that_begins_well(rest in "[\\[\\]{}\":,\\\\a-z0-9 ]{0,64}") {
            sid(format!("0{{{rest}").as_bytes());
        }
    }
}
