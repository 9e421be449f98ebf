//! What a counting server answers, without sockets and clock: nothing to binary messages, and their count
//! to a text.

use crate::wire::control::{Control, Gather, put_close};
use crate::wire::count::Count;
use crate::wire::frame::{self, FrameError, Header, Piece, Reader};

/// One connection's state.
#[derive(Debug, Default)]
pub(super) struct Tally {
    reader: Reader,
    header: Option<Header>,
    control: Gather,
    count: Count,
    /// The open message is a text.
    text: bool,
    closed: bool,
}

impl Tally {
    /// The client has sent Close, and the answer to it is the last.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Takes what the client has sent; appends to `answers` what is to be written.
    pub(super) fn feed(&mut self, mut input: &[u8], answers: &mut Vec<u8>) -> Result<(), FrameError> {
        while let (false, Some(piece)) = (self.closed, self.reader.next(&mut input)?) {
            match (piece, self.header) {
                (Piece::Start(header), _) => self.start(header),
                (Piece::Payload { bytes, last }, Some(header)) if header.is_control() => {
                    let whole = self.control.take(&header, bytes, last);
                    whole.into_iter().for_each(|control| self.answer_control(control, answers));
                }
                (Piece::Payload { bytes, last }, Some(header)) => {
                    self.take_data(bytes.len(), last && header.fin, answers);
                }
                (Piece::Payload { .. }, None) => {}
            }
        }
        Ok(())
    }

    fn start(&mut self, header: Header) {
        self.header = Some(header);
        // Fragments belong to the kind of message that the first one has named.
        if !header.is_control() && header.opcode != frame::CONTINUATION {
            self.text = header.opcode == frame::TEXT;
        }
    }

    fn take_data(&mut self, length: usize, whole: bool, answers: &mut Vec<u8>) {
        if !self.text {
            self.count.bytes += length as u64;
            self.count.messages += u64::from(whole);
        } else if whole {
            frame::put_frame(answers, frame::TEXT, None, self.count.to_string().as_bytes());
        }
    }

    fn answer_control(&mut self, control: Control, answers: &mut Vec<u8>) {
        if let Some(code) = control.answer(None, answers) {
            put_close(answers, code);
            self.closed = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::{BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, put_frame, put_header};

    const KEY: Option<[u8; 4]> = Some([1, 2, 3, 4]);

    fn answers(input: &[u8], step: usize) -> Vec<u8> {
        let (mut tally, mut answers) = (Tally::default(), Vec::new());
        for part in input.chunks(step) {
            tally.feed(part, &mut answers).unwrap();
        }
        answers
    }

    #[test]
    fn binary_messages_are_counted_and_a_text_asks_how_many() {
        let mut input = Vec::new();
        put_frame(&mut input, BINARY, KEY, &[0; 300]);
        put_header(&mut input, &Header { fin: false, opcode: BINARY, mask: None, length: 2 });
        input.extend_from_slice(b"fr");
        put_frame(&mut input, PING, KEY, b"p");
        put_frame(&mut input, CONTINUATION, KEY, b"agments");
        put_frame(&mut input, TEXT, KEY, b"how many?");
        put_frame(&mut input, BINARY, KEY, b"");
        put_frame(&mut input, TEXT, KEY, b"and now?");
        let mut expected = Vec::new();
        put_frame(&mut expected, PONG, None, b"p");
        put_frame(&mut expected, TEXT, None, b"2 309");
        put_frame(&mut expected, TEXT, None, b"3 309");
        for step in [1, 7, 5_000] {
            assert_eq!(answers(&input, step), expected, "in reads of {step}");
        }
    }

    #[test]
    fn nothing_is_answered_behind_the_close() {
        let mut input = Vec::new();
        put_frame(&mut input, CLOSE, KEY, &1000_u16.to_be_bytes());
        put_frame(&mut input, TEXT, KEY, b"how many?");
        assert_eq!(answers(&input, input.len()), [0x88, 2, 0x03, 0xE8]);
    }
}
