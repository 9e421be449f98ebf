//! Files that are no configuration: huge, deep, no files at all, or half written. The old configuration serves on, with
//! what it needs.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use steadfast_tests::broker::Broker;
use steadfast_tests::client::Client;
use steadfast_tests::wait::bounded;

use crate::{asked, complaint, pair, take, weighed, weights};

/// What the program may ever have had in memory: a file of 4 MiB has some hundred thousand parts.
const MEMORY_KIB: usize = 512 << 10;

/// The most memory that the broker has had, in KiB.
fn memory(broker: &Broker) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", broker.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a figure");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Half a megabyte of it.
fn full(of: impl Fn(usize) -> String) -> String {
    let mut text = String::new();
    let mut parts = (0..).map(of);
    while let Some(part) = parts.next().filter(|part| text.len() + part.len() < 500_000) {
        text += &part;
    }
    text
}

/// What is made at the place of the file, and what the complaint says.
type Case = (Box<dyn Fn(&Path)>, &'static str);

fn text(text: String, why: &'static str) -> Case {
    (Box::new(move |file| fs::write(file, &text).expect("it can be written")), why)
}

fn cases(sound: &str) -> Vec<Case> {
    let pool = |n| format!("[[pool]]\nname = \"p{n}\"\n[[pool.backend]]\nurl = \"ws://127.0.0.1:1\"\n");
    let deep =
        |open: &str, close: &str| format!("x = {}1{}\n{sound}", open.repeat(400_000), close.repeat(400_000));
    vec![
        text(format!("{sound}\n{}", full(pool)), "are too many; allowed are 4096"),
        text(format!("{sound}\n{}", full(|_| "[[pool]]\n".to_owned())), "are too many; allowed are 4096"),
        text(format!("{}\n{sound}", full(|n| format!("key{n} = 1\n"))), "unknown key"),
        text(deep("[", "]"), "not valid TOML"),
        text(deep("{a = ", "}"), "not valid TOML"),
        text(format!("a{} = 1\n{sound}", ".a".repeat(1_900_000)), "not valid TOML"),
        text("\u{1}".repeat(4_000_000), "not valid TOML"),
        text(String::new(), "no backend"),
        text("[[listener]]\naddress = \"127.0.0.1:0\"\n".to_owned(), "no backend"),
        (
            Box::new(|file| {
                fs::File::create(file).and_then(|made| made.set_len(8 << 30)).expect("a sparse file")
            }),
            "larger than",
        ),
        (Box::new(|file| symlink("/dev/zero", file).expect("a link")), "larger than"),
        (Box::new(|file| symlink(file, file).expect("a link to itself")), "cannot be read"),
        (Box::new(|file| symlink("/nowhere/at/all", file).expect("a link to nothing")), "cannot be read"),
        (Box::new(|file| fs::create_dir(file).expect("a directory")), "cannot be read"),
        (Box::new(|file| drop(UnixListener::bind(file).expect("a socket"))), "cannot be read"),
    ]
}

fn remove(file: &Path) {
    let is_dir = fs::symlink_metadata(file).is_ok_and(|found| found.is_dir());
    let removed = if is_dir { fs::remove_dir(file) } else { fs::remove_file(file) };
    removed.expect("it can be removed");
}

#[tokio::test]
async fn whatever_lies_in_the_place_of_the_file_the_old_configuration_serves_on() {
    let (a, b) = pair().await;
    let broker = asked(&[&a]).start().await;
    let mut client = Client::connect(broker.address()).await;
    let file = broker.file();
    for (n, (make, why)) in cases(&asked(&[&a]).to_toml()).into_iter().enumerate() {
        remove(&file);
        make(&file);
        // Whoever looks whether the broker lives is answered while it reads.
        let (answer, health) = tokio::join!(broker.post("/api/v1/reload"), broker.get("/healthz"));
        let told = complaint(&answer);
        assert!(told.contains(why) && told.len() < 16 << 10, "case {n}: {told}");
        assert_eq!(health.status, 200);
        client.ask("hello", "a:hello").await;
        assert_eq!(weights(&broker).await, weighed(&[("a", 1)]), "case {n}");
    }
    assert!(memory(&broker) < MEMORY_KIB, "{} KiB", memory(&broker));
    take(&broker, &asked(&[&a, &b])).await;
    assert_eq!(weights(&broker).await, weighed(&[("a", 1), ("b", 1)]));
    client.ask("hello", "a:hello").await;
}

/// So many backends that any beginning of the file which ends between two of them is a configuration too.
const MANY: usize = 300;

/// A file with that many backends, of this weight.
fn many(sound: &str, weight: u64) -> Vec<String> {
    let backend = |n| {
        format!(
            "[[pool.backend]]\nname = \"b{n}\"\nurl = \"ws://127.0.0.1:1\"\nweight = {weight}\nbackup = true\n"
        )
    };
    std::iter::once(sound.to_owned()).chain((0..MANY).map(backend)).collect()
}

/// Writes the file in place, piece by piece, so many times with each of these weights, as they come. In between it is
/// gone, or a directory.
fn write_in_pieces(file: &Path, sound: &str, weights: &mpsc::Receiver<u64>) {
    const TIMES: usize = 50;
    for weight in weights {
        for n in 0..TIMES {
            if n % 5 == 0 {
                remove(file);
                fs::create_dir(file).expect("a directory");
                remove(file);
            }
            let mut file = fs::File::create(file).expect("the file can be written");
            for piece in many(sound, weight) {
                file.write_all(piece.as_bytes()).expect("the file can be written");
            }
        }
    }
}

#[tokio::test]
async fn a_file_that_is_written_while_it_is_read_is_taken_whole_or_not_at_all() {
    const ROUNDS: u64 = 10;
    let (a, _b) = pair().await;
    let mut broker = asked(&[&a]).start().await;
    let mut client = Client::connect(broker.address()).await;
    let sound = asked(&[&a]).to_toml();
    let (file, to_write) = (broker.file(), sound.clone());
    let (write, to_come) = mpsc::channel();
    let writer = thread::spawn(move || write_in_pieces(&file, &to_write, &to_come));
    for weight in 1..=ROUNDS {
        write.send(weight).expect("it writes");
        bounded("the file as it is at last", async {
            loop {
                broker.signal(Signal::SIGHUP);
                let mut seen = weights(&broker).await;
                seen.retain(|(name, _)| name != "a");
                let first = seen.first().map_or(0, |(_, weight)| *weight);
                assert!(seen.len() == MANY || (seen.is_empty() && weight == 1), "{} of {MANY}", seen.len());
                assert!(seen.iter().all(|(_, weight)| *weight == first), "{seen:?}");
                if first == weight {
                    return;
                }
            }
        })
        .await;
        client.ask("hello", "a:hello").await;
    }
    drop(write);
    writer.join().expect("it has written");
}

#[tokio::test]
async fn a_file_that_is_written_without_a_pause_is_refused_in_the_end() {
    let (a, b) = pair().await;
    let broker = asked(&[&a]).start().await;
    let mut client = Client::connect(broker.address()).await;
    let (file, next) = (broker.file(), asked(&[&a, &b]).to_toml());
    fs::write(&file, &next).expect("the file can be written");
    let (stop, stopped) = mpsc::channel::<()>();
    let writer = thread::spawn(move || {
        let mut file = fs::OpenOptions::new().append(true).open(file).expect("the file can be written");
        // Slowly, for there is a limit.
        while stopped.recv_timeout(Duration::from_millis(1)) == Err(mpsc::RecvTimeoutError::Timeout) {
            file.write_all(b"\n").expect("the file can be written");
        }
    });
    let told = complaint(&broker.post("/api/v1/reload").await);
    assert!(told.contains("without a pause"), "{told}");
    assert_eq!(weights(&broker).await, weighed(&[("a", 1)]));
    client.ask("hello", "a:hello").await;
    drop(stop);
    writer.join().expect("it has written");
    assert_eq!(broker.post("/api/v1/reload").await.status, 200);
    assert_eq!(weights(&broker).await, weighed(&[("a", 1), ("b", 1)]));
}
