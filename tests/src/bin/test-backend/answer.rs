//! An answer to a request, as it is written.

/// What to send, and whether the connection is a WebSocket then.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) bytes: Vec<u8>,
}

/// Writes headers that flags have given as `Name:value`, `+` standing for a space.
pub(crate) fn push_headers(text: &mut String, headers: &[String]) {
    for header in headers {
        let (name, value) = header.split_once(':').expect("a header is given as Name:value");
        *text += &format!("{}: {}\r\n", name.replace('+', " "), value.replace('+', " "));
    }
}
