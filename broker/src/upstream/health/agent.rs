//! The agent check: a backend tells its own weight and state, in HAProxy's words.
//!
//! The operating state (`up`, `down`) and the administrative one (`ready`, `drain`, `maint`) are two
//! things. Only the agent ends what it began: `up` ends `down`, `ready` ends `drain` and `maint`, and
//! what a report does not mention stays as it was.

use http::Method;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;

use crate::config::settings::{Agent, WEIGHT_MAX};
use crate::net::connect::reason;
use crate::upstream::approach::Approach;
use crate::upstream::health::probe::{ProbeDeadlines, ProbeFailure, http as plain};

/// The most bytes of a report.
const REPORT_MAX: usize = 1 << 10;

/// The largest percentage that makes a difference: that of the smallest weight to the largest.
pub(crate) const PERCENT_MAX: u32 = WEIGHT_MAX * 100;

/// What an agent said at once. `None` changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AgentReport {
    pub(super) weight: Option<Score>,
    pub(super) operating: Option<Operating>,
    pub(super) admin: Option<AgentAdmin>,
    /// `maxconn`: sessions at once; zero: no limit.
    pub(super) max_sessions: Option<usize>,
    /// What stood behind `#`.
    pub(super) why: Option<String>,
}

/// A backend's share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Score {
    /// Of the configured weight.
    Percent(u32),
    /// The weight itself, 0 to [`WEIGHT_MAX`].
    Weight(u32),
}

/// Whether the service works.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Operating {
    /// As far as the health checks agree.
    #[default]
    Up,
    /// `down`, `fail` and `stopped`, whatever the health checks say.
    Down,
}

/// What the operator wants of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum AgentAdmin {
    /// It gets sessions.
    #[default]
    Ready,
    /// It gets no new sessions and keeps those it has.
    Drain,
    /// It gets no sessions, and those it has move.
    Maint,
}

/// What all reports of one agent have come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AgentStanding {
    pub(crate) weight: Option<Score>,
    pub(crate) operating: Operating,
    pub(crate) admin: AgentAdmin,
    pub(crate) max_sessions: Option<usize>,
    /// The reason of the last report.
    pub(crate) why: Option<String>,
}

impl AgentStanding {
    /// Takes over what `report` mentions.
    pub(crate) fn handle(&mut self, report: AgentReport) {
        self.weight = report.weight.or(self.weight);
        self.operating = report.operating.unwrap_or(self.operating);
        self.admin = report.admin.unwrap_or(self.admin);
        self.max_sessions = report.max_sessions.or(self.max_sessions);
        self.why = report.why;
    }
}

/// Asks the agent of the backend at `host`, whose own port is `port`. `history` is that of the port
/// that is asked.
///
/// # Errors
/// When there is no report within `agent.timeout`, or it cannot be understood; either says nothing of
/// the backend.
pub(crate) async fn ask(
    agent: &Agent,
    host: &str,
    port: u16,
    approach: Approach<'_>,
) -> Result<AgentReport, String> {
    let deadlines = ProbeDeadlines::new(agent.timeout);
    let authority = plain::authority(host, agent.port.unwrap_or(port));
    let request = plain::request(Method::GET, &agent.path, &authority)?;
    let connected = approach.connect((host, port), agent.port, agent.timeout).await;
    let stream = connected.map_err(|error| reason(&error))?;
    let text = deadlines.within("answer", plain::exchange(stream, request, approach.manner, read)).await?;
    parse(&text.map_err(ProbeFailure::why)?)
}

async fn read(answer: http::Response<Incoming>) -> Result<String, ProbeFailure> {
    if !answer.status().is_success() {
        return Err(format!("answered {}, expected 200-299", answer.status().as_u16()).into());
    }
    let body = Limited::new(answer.into_body(), REPORT_MAX).collect().await.map_err(|error| {
        match error.downcast_ref::<hyper::Error>() {
            _ if error.is::<LengthLimitError>() => too_long().into(),
            Some(error) => plain::complaint(error),
            None => error.to_string().into(),
        }
    })?;
    String::from_utf8(body.to_bytes().to_vec())
        .map_err(|_| "answered with something that is no text".to_owned().into())
}

/// Understands words in upper or lower case, separated by space, comma or newline. Of two words for
/// the same thing the last counts.
///
/// # Errors
/// When there is no word, or one that is not known or out of its range: then none counts.
pub(crate) fn parse(text: &str) -> Result<AgentReport, String> {
    if text.len() > REPORT_MAX {
        return Err(too_long());
    }
    let mut report = AgentReport::default();
    for line in text.lines() {
        let (words, reason) = line.split_once('#').map_or((line, None), |(words, why)| (words, Some(why)));
        for word in words.split([' ', '\t', ',']).filter(|word| !word.is_empty()) {
            report.add(word)?;
        }
        report.why = reason.and_then(clean).or(report.why);
    }
    if report == (AgentReport { why: report.why.clone(), ..AgentReport::default() }) {
        return Err("said nothing that is understood, such as up, drain or 75%".to_owned());
    }
    Ok(report)
}

impl AgentReport {
    fn add(&mut self, word: &str) -> Result<(), String> {
        match word.to_ascii_lowercase().as_str() {
            "up" => self.operating = Some(Operating::Up),
            "down" | "fail" | "stopped" => self.operating = Some(Operating::Down),
            "ready" => self.admin = Some(AgentAdmin::Ready),
            "drain" => self.admin = Some(AgentAdmin::Drain),
            "maint" => self.admin = Some(AgentAdmin::Maint),
            lower => match (lower.strip_prefix("maxconn:"), lower.strip_suffix('%')) {
                (Some(count), _) => self.max_sessions = Some(number(count, word)? as usize),
                (_, Some(share)) => self.weight = Some(Score::Percent(number(share, word)?.min(PERCENT_MAX))),
                _ => self.weight = Some(Score::Weight(weight(lower, word)?)),
            },
        }
        Ok(())
    }
}

fn weight(text: &str, word: &str) -> Result<u32, String> {
    let weight = number(text, word)?;
    if weight > WEIGHT_MAX {
        Err(format!("the weight {weight} is not in 0..={WEIGHT_MAX}"))
    } else {
        Ok(weight)
    }
}

/// Digits alone: a sign is not understood.
fn number(text: &str, word: &str) -> Result<u32, String> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("said {word:?}, which is not understood"));
    }
    text.parse().map_err(|_| format!("said {word:?}, which is too large"))
}

/// Fit for one line of a log; `None` when nothing is left.
fn clean(reason: &str) -> Option<String> {
    let text: String = reason.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    (!text.is_empty()).then_some(text)
}

fn too_long() -> String {
    format!("answered more than {REPORT_MAX} bytes")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpSocket};
    use tokio::task::JoinHandle;

    use crate::net::connect::History;
    use crate::upstream::manner::Manner;

    use super::*;
    use crate::config::settings::{HeaderCase, SendProxy};

    fn agent(timeout: Duration) -> Agent {
        Agent { path: "/agent".to_owned(), port: None, interval: timeout, timeout }
    }

    const LONG: Duration = Duration::from_secs(30);

    const MANNER: Manner =
        Manner { case: HeaderCase::Lower, header: 16 << 10, header_lines: 128, proxy: SendProxy::Off };

    async fn ask(agent: &Agent, host: &str, port: u16, manner: Manner) -> Result<AgentReport, String> {
        let approach = Approach { sources: &[], history: &History::default(), manner, tls: None };
        super::ask(agent, host, port, approach).await
    }

    /// Gives `answer` to one request, and the request when the connection is over.
    async fn answering(answer: String) -> (u16, JoinHandle<String>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let task = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("the broker connects");
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                assert_ne!(stream.read_buf(&mut request).await.expect("the request"), 0);
            }
            stream.write_all(answer.as_bytes()).await.expect("the broker reads");
            while stream.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {}
            String::from_utf8(request).expect("a request is text")
        });
        (port, task)
    }

    async fn asked(answer: String) -> (Result<AgentReport, String>, String) {
        let (port, task) = answering(answer).await;
        let result = ask(&agent(LONG), "127.0.0.1", port, MANNER).await;
        let request = tokio::time::timeout(LONG, task).await.expect("the connection was left open");
        (result, request.expect("no panic"))
    }

    #[test]
    fn each_word_means_what_it_means_to_haproxy() {
        let operating = |state| AgentReport { operating: Some(state), ..AgentReport::default() };
        let admin = |state| AgentReport { admin: Some(state), ..AgentReport::default() };
        let weight = |score| AgentReport { weight: Some(score), ..AgentReport::default() };
        for (text, report) in [
            ("up", operating(Operating::Up)),
            ("down", operating(Operating::Down)),
            ("fail", operating(Operating::Down)),
            ("stopped", operating(Operating::Down)),
            ("ready", admin(AgentAdmin::Ready)),
            ("drain", admin(AgentAdmin::Drain)),
            ("maint", admin(AgentAdmin::Maint)),
            ("75%", weight(Score::Percent(75))),
            ("0%", weight(Score::Percent(0))),
            ("99999%", weight(Score::Percent(25_600))),
            ("0", weight(Score::Weight(0))),
            ("256", weight(Score::Weight(256))),
            ("maxconn:30", AgentReport { max_sessions: Some(30), ..AgentReport::default() }),
            ("DOWN\r\n", operating(Operating::Down)),
        ] {
            assert_eq!(parse(text), Ok(report), "{text:?}");
        }
    }

    #[test]
    fn words_stand_together() {
        let report = AgentReport {
            weight: Some(Score::Percent(50)),
            operating: Some(Operating::Up),
            admin: Some(AgentAdmin::Ready),
            max_sessions: Some(100),
            why: Some("two cores, busy # hot".to_owned()),
        };
        assert_eq!(parse("up ready,50%\tmaxconn:100 # two cores, busy # hot\n"), Ok(report.clone()));
        assert_eq!(parse("up\nready\n50% #two cores, busy # hot\r\nmaxconn:100\n"), Ok(report));
    }

    #[test]
    fn of_two_words_for_one_thing_the_last_counts() {
        let report = parse("up down drain ready 10 20%").expect("known words");
        assert_eq!(report.operating, Some(Operating::Down));
        assert_eq!(report.admin, Some(AgentAdmin::Ready));
        assert_eq!(report.weight, Some(Score::Percent(20)));
    }

    #[test]
    fn one_wrong_word_spoils_all_and_is_named() {
        for (text, why) in [
            ("up asleep", r#"said "asleep", which is not understood"#),
            ("-5%", r#"said "-5%", which is not understood"#),
            ("%", r#"said "%", which is not understood"#),
            ("maxconn:", r#"said "maxconn:", which is not understood"#),
            ("maxconn:lots", r#"said "maxconn:lots", which is not understood"#),
            ("99999999999", r#"said "99999999999", which is too large"#),
            ("257", "the weight 257 is not in 0..=256"),
            ("", "said nothing that is understood, such as up, drain or 75%"),
            (" , \n# asleep", "said nothing that is understood, such as up, drain or 75%"),
        ] {
            assert_eq!(parse(text), Err(why.to_owned()), "{text:?}");
        }
        assert_eq!(parse(&"up ".repeat(342)), Err("answered more than 1024 bytes".to_owned()));
    }

    #[test]
    fn only_the_agent_ends_what_it_began() {
        let mut standing = AgentStanding::default();
        let mut hears = |text| {
            standing.handle(parse(text).expect("known words"));
            (standing.operating, standing.admin, standing.weight)
        };
        let quarter = Some(Score::Percent(25));
        assert_eq!(hears("down drain 25%"), (Operating::Down, AgentAdmin::Drain, quarter));
        assert_eq!(hears("ready"), (Operating::Down, AgentAdmin::Ready, quarter));
        assert_eq!(hears("maint"), (Operating::Down, AgentAdmin::Maint, quarter));
        assert_eq!(hears("up"), (Operating::Up, AgentAdmin::Maint, quarter));
        assert_eq!(hears("ready"), (Operating::Up, AgentAdmin::Ready, quarter));
        assert_eq!(hears("7"), (Operating::Up, AgentAdmin::Ready, Some(Score::Weight(7))));
    }

    #[test]
    fn a_reason_lasts_until_the_next_report() {
        let mut standing = AgentStanding::default();
        standing.handle(parse("down # no\u{7}disk").expect("known words"));
        assert_eq!(standing.why.as_deref(), Some("no disk"));
        standing.handle(parse("up").expect("known words"));
        assert_eq!(standing.why, None);
    }

    proptest! {
        #[test]
        fn whatever_comes_is_understood_or_refused(text in r"(?s).{0,200}") {
            if let Ok(report) = parse(&text) {
                prop_assert!(!matches!(report.weight, Some(Score::Weight(257..) | Score::Percent(25_601..))));
                prop_assert!(report.why.is_none_or(|why| !why.is_empty() && !why.contains(char::is_control)));
            }
        }

        #[test]
        fn words_in_any_order_are_understood(
            words in proptest::sample::subsequence(vec!["UP", "drain", "75%", "maxconn:5"], 1..=4).prop_shuffle(),
            separator in "[ ,\t\n]{1,3}",
        ) {
            let report = parse(&words.join(&separator)).expect("known words");
            prop_assert_eq!(report.operating.is_some(), words.contains(&"UP"));
            prop_assert_eq!(report.admin.is_some(), words.contains(&"drain"));
            prop_assert_eq!(report.weight.is_some(), words.contains(&"75%"));
            prop_assert_eq!(report.max_sessions.is_some(), words.contains(&"maxconn:5"));
        }
    }

    #[tokio::test]
    async fn an_agent_is_asked_over_http() {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ndrain 50%";
        let (result, request) = asked(answer.to_owned()).await;
        let report = AgentReport {
            weight: Some(Score::Percent(50)),
            admin: Some(AgentAdmin::Drain),
            ..AgentReport::default()
        };
        assert_eq!(result, Ok(report));
        assert!(request.starts_with("GET /agent HTTP/1.1\r\n"), "{request}");
    }

    #[tokio::test]
    async fn a_refusal_is_no_report() {
        let (result, _) = asked("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nup".to_owned()).await;
        assert_eq!(result, Err("answered 404, expected 200-299".to_owned()));
    }

    #[tokio::test]
    async fn an_answer_that_is_too_long_is_no_report() {
        let answer = format!("HTTP/1.1 200 OK\r\n\r\n{}", "up ".repeat(400));
        assert_eq!(asked(answer).await.0, Err("answered more than 1024 bytes".to_owned()));
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_is_no_report() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let task = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("the broker connects");
            assert_ne!(stream.read(&mut [0; 4096]).await.expect("the request"), 0);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nup").await.expect("it reads");
            stream.shutdown().await.expect("open until now");
        });
        let result = ask(&agent(LONG), "127.0.0.1", port, MANNER).await;
        assert_eq!(result, Err("closed without a whole answer".to_owned()));
        task.await.expect("no panic");
    }

    #[tokio::test]
    async fn an_agent_that_says_nothing_is_an_error() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let result = ask(&agent(Duration::from_secs(1)), "127.0.0.1", port, MANNER).await;
        assert_eq!(result, Err("no answer within 1s".to_owned()));
    }

    #[tokio::test]
    async fn an_agent_that_is_not_there_is_an_error() {
        // Taken, and not listened on.
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
        let port = socket.local_addr().expect("it is bound").port();
        let asked = tokio::spawn(async move { ask(&agent(LONG), "127.0.0.1", port, MANNER).await });
        assert_eq!(asked.await.expect("no panic"), Err("connection refused".to_owned()));
    }
}
