//! What is said to those who speak HTTP/2 right away (RFC 9113, 3.3). An answer of HTTP/1.1 is noise to them.

/// Returns the whole of what a server says to them: empty settings, with which it has to begin (RFC 9113, 3.4), and that no
/// request was looked at, since HTTP/1.1 is needed (6.8, 7). With the sentence as what a person may see of that.
pub(crate) fn goodbye(sentence: &str) -> Vec<u8> {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const GOAWAY: u8 = 7;
    const NO_STREAM: [u8; 4] = [0; 4];
    const HTTP_1_1_REQUIRED: [u8; 4] = [0, 0, 0, 13];
    // A sentence has a few dozen bytes.
    let length = (NO_STREAM.len() + HTTP_1_1_REQUIRED.len() + sentence.len()) as u32;
    let [_, length @ ..] = length.to_be_bytes();
    let header = [&length[..], &[GOAWAY, 0], &NO_STREAM].concat();
    [&SETTINGS[..], &header, &NO_STREAM, &HTTP_1_1_REQUIRED, sentence.as_bytes()].concat()
}
