//! One connection from its request to its end.

use std::net::IpAddr;
use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use socket2::Socket;
use steadfast_tests::frame::{BINARY, CLOSE, CONTINUATION, End, Frame, FrameReader, PING, PONG, RSV1, TEXT};
use steadfast_tests::http::{Head, read_head};
use steadfast_tests::journal::Event;
use steadfast_tests::payload::{Payload, noise};
use steadfast_tests::stream::Stream;
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::broadcast;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::HandshakeKind;

use crate::Shared;
use crate::behaviour::{Behaviour, Death, Spoil};
use crate::command::{Command, Order};
use crate::misdeed::BadFrame;
use crate::outbox::Outbox;
use crate::pace::Paced;
use crate::page;
use crate::upgrade::answer;

/// Serves a connection to its end.
pub(crate) async fn serve(shared: Arc<Shared>, conn: u32, (stream, socket): (Stream, Socket), peer: IpAddr) {
    shared.journal.write(conn, Event::Accepted { peer });
    let Some(mut stream) = secured(&shared, conn, stream).await else { return };
    let mut read_ahead = BytesMut::new();
    if upgrade(&shared, conn, &mut stream, &mut read_ahead).await {
        Connection::new(shared, conn, (stream, socket), read_ahead).run().await;
    }
}

/// Does the handshake of TLS, if this backend speaks it.
async fn secured(shared: &Shared, conn: u32, stream: Stream) -> Option<Stream> {
    let Some(tls) = &shared.tls else { return Some(stream) };
    match TlsAcceptor::from(Arc::clone(tls)).accept(stream).await {
        Ok(stream) => {
            let own = stream.get_ref().1;
            let resumed = own.handshake_kind() == Some(HandshakeKind::Resumed);
            let name = own.server_name().map(str::to_owned);
            shared.journal.write(conn, Event::Secured { resumed, name });
            Some(Box::new(stream))
        }
        Err(error) => {
            shared.journal.write(conn, Event::Unsecured { why: error.to_string() });
            None
        }
    }
}

async fn upgrade(shared: &Shared, conn: u32, stream: &mut Stream, read_ahead: &mut BytesMut) -> bool {
    let Some(head) = read_head(stream, read_ahead).await else {
        shared.journal.write(conn, Event::End { how: format!("{:?}", End::Eof) });
        return false;
    };
    let behaviour = shared.behaviour();
    shared.journal.write(conn, Event::Request { line: head.line.clone(), headers: head.headers.clone() });
    if behaviour.die_on_path.as_deref().is_some_and(|path| head.line.split(' ').nth(1) == Some(path)) {
        std::process::exit(1);
    }
    if page::is_plain(&head) {
        show_page(shared, conn, stream, &behaviour, &head).await;
        return false;
    }
    sleep(Duration::from_millis(behaviour.upgrade_delay.unwrap_or(0))).await;
    let Some(answer) = answer(&behaviour, &head) else {
        if behaviour.spoil_upgrade == Some(Spoil::Hang) {
            std::future::pending::<()>().await;
        }
        return false;
    };
    shared.journal.write(conn, Event::Answered { status: answer.status });
    let mut written = stream.write_all(&answer.bytes).await.is_ok() && stream.flush().await.is_ok();
    if behaviour.spoil_upgrade == Some(Spoil::AcceptThenGarbage) {
        sleep(Duration::from_millis(50)).await;
        written &= stream.write_all(&BadFrame::parse("masked").bytes()).await.is_ok();
        written &= stream.flush().await.is_ok();
    }
    written && answer.status == 101 && behaviour.spoil_upgrade != Some(Spoil::AcceptThenFail)
}

async fn show_page(shared: &Shared, conn: u32, stream: &mut Stream, behaviour: &Behaviour, head: &Head) {
    sleep(Duration::from_millis(behaviour.page_delay.unwrap_or(0))).await;
    let answer = page::answer(&behaviour.page, &behaviour.page_header, head);
    shared.journal.write(conn, Event::Answered { status: answer.status });
    // Who asked may not want to know any more.
    let _ = stream.write_all(&answer.bytes).await;
    let _ = stream.shutdown().await;
}

struct Connection {
    shared: Arc<Shared>,
    conn: u32,
    reader: FrameReader<Paced<ReadHalf<Stream>>>,
    writer: WriteHalf<Stream>,
    socket: Socket,
    outbox: Outbox,
    open: Option<Open>,
    messages: usize,
    reads: bool,
    has_closed: bool,
}

/// A message that is being received.
struct Open {
    opcode: u8,
    rsv: u8,
    key: String,
    fragments: Vec<usize>,
    bytes: Vec<u8>,
}

impl Connection {
    fn new(shared: Arc<Shared>, conn: u32, (stream, socket): (Stream, Socket), read_ahead: BytesMut) -> Self {
        let (read, writer) = tokio::io::split(stream);
        shared.open().insert(conn, socket.try_clone().expect("a descriptor can be copied"));
        let outbox = Outbox::new(&shared.name, &shared.behaviour());
        let reader = FrameReader::new(Paced::new(read, shared.clone()), read_ahead);
        Self {
            shared,
            conn,
            reader,
            writer,
            socket,
            outbox,
            open: None,
            messages: 0,
            reads: true,
            has_closed: false,
        }
    }

    async fn run(mut self) {
        let mut commands = self.shared.commands.subscribe();
        loop {
            let read_delay = self.shared.behaviour().read_delay;
            let next = tokio::select! {
                order = commands.recv() => self.follow(order.expect("masters are few and slow")).await,
                frame = self.outbox.next() => self.send(frame).await,
                frame = read(&mut self.reader, read_delay), if self.reads => match frame {
                    Ok(frame) => self.receive_in_turn(&mut commands, frame).await,
                    Err(end) => {
                        self.note(Event::End { how: format!("{end:?}") });
                        Break(())
                    }
                },
            };
            if next.is_break() {
                return;
            }
        }
    }

    async fn follow(&mut self, order: Order) -> ControlFlow<()> {
        let command = Command::parse(&order.text);
        let command = command.unwrap_or_else(|| panic!("{:?} is not a command", order.text));
        if order.is_mine() { self.obey(command).await } else { Continue(()) }
    }

    /// An order that was given before the frame came is obeyed before it is looked at.
    async fn receive_in_turn(
        &mut self,
        commands: &mut broadcast::Receiver<Order>,
        frame: Frame,
    ) -> ControlFlow<()> {
        self.shared.wait_given();
        while let Ok(order) = commands.try_recv() {
            self.follow(order).await?;
        }
        self.receive(frame).await
    }

    fn note(&self, event: Event) {
        let is_many = matches!(
            event,
            Event::Message { .. } | Event::Fragment { .. } | Event::Ping { .. } | Event::Pong { .. }
        );
        if !(is_many && self.shared.behaviour().unwritten) {
            self.shared.journal.write(self.conn, event);
        }
    }

    async fn send(&mut self, frame: Frame) -> ControlFlow<()> {
        self.has_closed |= frame.opcode == CLOSE;
        self.send_raw(&frame.encode()).await
    }

    async fn send_raw(&mut self, bytes: &[u8]) -> ControlFlow<()> {
        match self.writer.write_all(bytes).await.is_ok() && self.writer.flush().await.is_ok() {
            true => Continue(()),
            false => {
                self.note(Event::End { how: format!("{:?}", End::Reset) });
                Break(())
            }
        }
    }

    async fn receive(&mut self, frame: Frame) -> ControlFlow<()> {
        let behaviour = &*self.shared.behaviour();
        if let Some(what) = self.violation(&frame) {
            self.note(Event::Violation { what: what.to_owned() });
            return self.send(Frame::close(1002, what)).await;
        }
        match frame.opcode {
            PING => self.receive_ping(behaviour, frame).await,
            PONG => {
                self.note(Event::Pong { payload: hex(&frame.payload) });
                Continue(())
            }
            CLOSE => self.receive_close(behaviour, &frame).await,
            _ => self.receive_data(behaviour, frame).await,
        }
    }

    fn violation(&self, frame: &Frame) -> Option<&'static str> {
        let is_control = frame.opcode >= 8;
        match frame.opcode {
            _ if frame.mask.is_none() => Some("unmasked"),
            3..=7 | 11.. => Some("opcode"),
            _ if is_control && (!frame.fin || frame.payload.len() > 125) => Some("control frame"),
            CLOSE if frame.payload.len() == 1 => Some("close payload"),
            CONTINUATION if self.open.is_none() => Some("stray continuation"),
            TEXT | BINARY if self.open.is_some() => Some("nested message"),
            _ => None,
        }
    }

    async fn receive_ping(&mut self, behaviour: &Behaviour, frame: Frame) -> ControlFlow<()> {
        self.note(Event::Ping { payload: hex(&frame.payload) });
        if behaviour.die_before_pong && self.messages > 0 {
            return self.die(behaviour.die_how).await;
        }
        let pong = Frame::new(PONG, frame.payload);
        match behaviour.latest_pong {
            _ if behaviour.no_pong => Continue(()),
            Some(delay) => {
                self.outbox.replace_pong(pong, Duration::from_millis(delay));
                Continue(())
            }
            None => self.send(pong).await,
        }
    }

    async fn receive_close(&mut self, behaviour: &Behaviour, frame: &Frame) -> ControlFlow<()> {
        let (code, reason) = frame.close_parts();
        self.note(Event::Close { code, reason });
        if behaviour.ignore_close {
            return Continue(());
        }
        if let Some(words) = &behaviour.last_words {
            self.send(Frame::text(words)).await?;
        }
        let answered = if self.has_closed {
            Continue(())
        } else {
            self.send(Frame::new(CLOSE, frame.payload.clone())).await
        };
        // A server closes TCP first (RFC 6455 7.1.1); the journal tells whether the peer read on to that.
        let _ = self.writer.shutdown().await;
        answered
    }

    async fn receive_data(&mut self, behaviour: &Behaviour, frame: Frame) -> ControlFlow<()> {
        let len = frame.payload.len();
        let open = self.open.get_or_insert_with(|| Open::begin(&frame));
        open.fragments.push(len);
        if open.bytes.is_empty() {
            open.bytes = frame.payload;
        } else {
            open.bytes.extend_from_slice(&frame.payload);
        }
        if !frame.fin {
            self.note(Event::Fragment { len });
            return Continue(());
        }
        match self.open.take() {
            Some(message) => self.receive_message(behaviour, message).await,
            None => Continue(()),
        }
    }

    async fn receive_message(&mut self, behaviour: &Behaviour, message: Open) -> ControlFlow<()> {
        self.messages += 1;
        let Open { opcode, rsv, key, fragments, bytes } = message;
        self.note(Event::Message { opcode, payload: Payload::of(&bytes), fragments, rsv, key });
        // A sleep of no time takes a millisecond.
        if let Some(time) = behaviour.handle {
            sleep(Duration::from_millis(time)).await;
        }
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        if behaviour.die_after == Some(self.messages) || behaviour.die_on.as_deref() == Some(text) {
            return self.die(behaviour.die_how).await;
        }
        if let Some(command) = Command::parse(text) {
            return self.obey(command).await;
        }
        if let Some(code) = behaviour.close_with {
            return self.send(Frame::close(code, "")).await;
        }
        if behaviour.unsolicited_pongs {
            self.send_guesses().await?;
        }
        if behaviour.silent {
            return Continue(());
        }
        let answer = self.answer(behaviour.sign, opcode, rsv, &bytes);
        match behaviour.delay {
            Some(delay) => {
                self.outbox.push(answer, Duration::from_millis(delay), behaviour.one_by_one);
                Continue(())
            }
            None => self.send(answer).await,
        }
    }

    /// `name:` and the message, or `name.PID:` and the message; a compressed message comes back as it is.
    fn answer(&self, signs: bool, opcode: u8, rsv: u8, bytes: &[u8]) -> Frame {
        if rsv == RSV1 {
            return Frame::new(opcode, bytes).reserved(RSV1);
        }
        let sign = if signs { format!(".{}", std::process::id()) } else { String::new() };
        Frame::new(opcode, [self.shared.name.as_bytes(), sign.as_bytes(), b":", bytes].concat())
    }

    async fn send_guesses(&mut self) -> ControlFlow<()> {
        self.send(Frame::new(PONG, [])).await?;
        for guess in 0..16_u64 {
            self.send(Frame::new(PONG, guess.to_be_bytes())).await?;
            self.send(Frame::new(PONG, guess.to_le_bytes())).await?;
        }
        Continue(())
    }

    async fn obey(&mut self, command: Command) -> ControlFlow<()> {
        match command {
            Command::Close(code, reason) => self.send(Frame::close(code, &reason)).await,
            Command::CloseEmpty => self.send(Frame::close_empty()).await,
            Command::Exit => self.die(Death::Exit).await,
            Command::Eof => self.die(Death::Eof).await,
            Command::Rst => self.die(Death::Rst).await,
            Command::PartialThenDie => self.die(Death::Partial).await,
            Command::Partial => self.send_raw(&half_a_message()).await,
            Command::AnswersThenClose(code) => self.answers_then_close(code).await,
            Command::SpeakAfterClose(code) => {
                self.send(Frame::close(code, "")).await?;
                self.send(Frame::text("after the Close")).await
            }
            Command::Big(len) => self.send(Frame::new(BINARY, noise(len, len as u64))).await,
            Command::Fragments(count) => self.send_fragments(count).await,
            Command::BadFrame(bad) => self.send_raw(&bad.bytes()).await,
            Command::StopReading => self.set_reading(false),
            Command::ResumeReading => self.set_reading(true),
            Command::Work(ms) => self.work(ms).await,
            Command::Block(ms) => {
                std::thread::sleep(Duration::from_millis(ms));
                self.say_done().await
            }
            Command::Push(text) => self.send(Frame::text(&text)).await,
            Command::Feed(count) => self.send_feed(count).await,
            Command::Ping(text) => self.send(Frame::new(PING, text)).await,
            Command::Pong(text) => self.send(Frame::new(PONG, text)).await,
        }
    }

    fn set_reading(&mut self, reads: bool) -> ControlFlow<()> {
        self.reads = reads;
        Continue(())
    }

    async fn work(&mut self, ms: u64) -> ControlFlow<()> {
        sleep(Duration::from_millis(ms)).await;
        self.say_done().await
    }

    async fn say_done(&mut self) -> ControlFlow<()> {
        self.send(Frame::text(&format!("{}:done", self.shared.name))).await
    }

    async fn send_feed(&mut self, count: usize) -> ControlFlow<()> {
        for n in 1..=count {
            self.send(Frame::text(&format!("{}:feed-{n}", self.shared.name))).await?;
        }
        Continue(())
    }

    async fn send_fragments(&mut self, count: usize) -> ControlFlow<()> {
        for n in 1..=count {
            let opcode = if n == 1 { TEXT } else { CONTINUATION };
            let mut frame = Frame::new(opcode, format!("part-{n};"));
            frame.fin = n == count;
            self.send(frame).await?;
            if n < count {
                self.send(Frame::new(PING, format!("between-{n}"))).await?;
            }
        }
        Continue(())
    }

    async fn answers_then_close(&mut self, code: u16) -> ControlFlow<()> {
        let mut byte = [std::mem::MaybeUninit::uninit()];
        // Bytes that stay in the kernel's buffer turn the close into a reset.
        while !matches!(self.socket.peek(&mut byte), Ok(1..)) {
            sleep(Duration::from_millis(1)).await;
        }
        for n in 1..=3 {
            self.send(Frame::text(&format!("{}:last-{n}", self.shared.name))).await?;
        }
        self.send(Frame::close(code, "last words")).await?;
        Break(())
    }

    async fn die(&mut self, how: Death) -> ControlFlow<()> {
        match how {
            Death::Exit => std::process::exit(1),
            Death::Partial => {
                self.send_raw(&half_a_message()).await?;
                std::process::exit(1);
            }
            Death::Eof => {}
            Death::Rst => self.socket.set_linger(Some(Duration::ZERO)).expect("SO_LINGER"),
        }
        Break(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.open().remove(&self.conn);
    }
}

impl Open {
    fn begin(frame: &Frame) -> Self {
        let key = hex(&frame.mask.unwrap_or_default());
        Self { opcode: frame.opcode, rsv: frame.rsv, key, fragments: Vec::new(), bytes: Vec::new() }
    }
}

async fn read(reader: &mut FrameReader<Paced<ReadHalf<Stream>>>, delay: Option<u64>) -> Result<Frame, End> {
    if let Some(delay) = delay {
        sleep(Duration::from_millis(delay)).await;
    }
    reader.next().await
}

/// A text frame without its end, and a continuation without its own.
fn half_a_message() -> Vec<u8> {
    let fragment = Frame::text("never ").unfinished().encode();
    let mut half = Frame::new(CONTINUATION, "to be seen by a client").encode();
    half.truncate(8);
    [fragment, half].concat()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
