//! A service that links the shim and means ill: what it claims and floods costs its own session at the most. That goes on
//! elsewhere with what was committed, or ends with a word. A neighbour at the same service notices nothing.

use std::fs;

use serde_json::Value;
use steadfast_tests::broker::Broker;
use steadfast_tests::frame::{BINARY, Frame, PING, PONG};
use steadfast_tests::shim::{Host, Link, ShimClient, commit};

use crate::scene::{over, session};

const MANY: usize = 5_000;

/// What the broker may have had in memory at the most.
const MEMORY_KIB: usize = 200 << 10;

fn memory(broker: &Broker) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", broker.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a figure");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn binary(payload: Vec<u8>) -> Vec<u8> {
    Frame::new(BINARY, payload).encode()
}

/// A commit whose capsule, or first output, claims to have so many bytes.
fn claiming(capsule: Option<u32>, output: Option<u32>) -> Vec<u8> {
    let mut bytes = commit(1, 1, capsule.map(|_| &b""[..]), &[]);
    if let Some(len) = capsule {
        bytes[20..24].copy_from_slice(&len.to_be_bytes());
    }
    if let Some(len) = output {
        bytes.push(1);
        bytes.extend(len.to_be_bytes());
    }
    binary(bytes)
}

/// What the service sends behind the only message, and what the log then calls its breach; `None`: it may.
fn cases() -> Vec<(&'static str, Vec<u8>, Option<&'static str>)> {
    let huge = {
        // The header of a message of 2^62 bytes.
        let mut bytes = vec![0x82, 127];
        bytes.extend((1_u64 << 62).to_be_bytes());
        bytes
    };
    let many = |frame: Frame| frame.encode().repeat(MANY);
    vec![
        ("an ack of what was not sent", binary(commit(1, 1 << 52, None, &["x"])), Some("future_seq")),
        ("a number beyond all numbers", binary(commit(u64::MAX, u64::MAX, None, &[])), Some("bad_envelope")),
        ("a commit of another epoch's", binary(commit(1 << 52, 1, None, &["x"])), Some("commit_gap")),
        ("a capsule of 4 GiB, it says", claiming(Some(u32::MAX), None), Some("bad_envelope")),
        ("an output of 4 GiB, it says", claiming(None, Some(u32::MAX)), Some("bad_envelope")),
        ("a message of 2^62 bytes, it says", huge, None),
        ("envelopes that nobody knows", many(Frame::new(BINARY, b"Zxxxxxxx".to_vec())), None),
        ("pings", many(Frame::new(PING, b"S1\0\0fakefakefakefake".to_vec())), None),
        ("answers to notices that were not given", many(Frame::new(PONG, [0xff; 20].to_vec())), None),
        ("old commits", binary(commit(0, 0, Some(b"old"), &["never"])).repeat(MANY), None),
    ]
}

/// What the log calls the breaches, as many as are counted: it is written by a thread of its own.
async fn breaches(broker: &Broker) -> Vec<String> {
    let count = broker.metric("steadfast_failovers_total", &[("reason", "breach")]).await;
    let records = broker.counted(count, "breaches", |record| record["breach"].is_string()).await;
    records.iter().map(|record| record["breach"].as_str().unwrap_or_default().to_owned()).collect()
}

/// One message each way, and a commit.
async fn converse(client: &mut ShimClient, link: &mut Link, n: u64) {
    client.say(&format!("m-{n}")).await;
    assert_eq!(link.message().await, format!("m-{n}"));
    link.commit(n, n, Some(b"state"), &[&format!("a-{n}")]).await;
    assert_eq!(client.message().await, format!("a-{n}"));
}

#[tokio::test]
async fn a_service_that_means_ill_costs_its_own_session_at_the_most() {
    for (what, bytes, breach) in cases() {
        let (a, b) = (Host::start().await, Host::start().await);
        let broker = over(&[&a]).pool_table(&format!("{}\nbackup = true", b.table("b"))).start().await;
        let (mut neighbour, mut sound) = session(&broker, &a).await;
        converse(&mut neighbour, &mut sound, 1).await;
        let (mut client, mut link) = session(&broker, &a).await;
        client.say("one").await;
        assert_eq!(link.message().await, "one");
        let too_large = what.contains("2^62");
        tokio::spawn(async move {
            link.send_raw(bytes).await;
            // A service that is not read any more, or left, has nothing else to say.
            while !matches!(link.next().await, steadfast_tests::shim::Told::End(_)) {}
        });
        converse(&mut neighbour, &mut sound, 2).await;
        if too_large {
            assert_eq!(client.closed().await.0, Some(1009), "{what}");
            client.client.send_frame(Frame::close(1009, "")).await;
            broker.wait_sessions(1).await;
        } else if breach.is_some() {
            let mut next = b.accept().await;
            assert_eq!((next.attach.applied, next.attach.committed), (0, 0), "{what}: nothing of it counts");
            assert_eq!(next.attach.capsule, None, "{what}");
            assert_eq!(next.message().await, "one");
            next.commit(1, 1, None, &["answer"]).await;
            assert_eq!(client.message().await, "answer", "{what}");
            assert_eq!(breaches(&broker).await, Vec::from_iter(breach), "{what}");
        } else {
            // It is as slow as it likes, and still there.
            client.say("two").await;
            client.acknowledged(2, 0).await;
            assert_eq!(breaches(&broker).await, [""; 0], "{what}");
        }
        converse(&mut neighbour, &mut sound, 3).await;
        assert_eq!(broker.sessions().await.len(), if too_large { 1 } else { 2 }, "{what}");
        let panics = |line: &String| serde_json::from_str::<Value>(line).is_err();
        assert!(!broker.log().iter().any(panics), "{what}: {:?}", broker.log());
        assert!(memory(&broker) < MEMORY_KIB, "{what}: {} KiB", memory(&broker));
    }
}
