//! What users copy from: the examples and the page for those who come from another balancer.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use steadfast::config::{self, Overrides, Settings};

fn docs(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(path)
}

/// The configurations; what else is there is judged in `deployments.rs`.
fn examples() -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(docs("examples")).expect("the examples");
    let files = entries.map(|entry| entry.expect("an entry").path());
    files.filter(|file| file.extension().is_some_and(|end| end == "toml")).collect()
}

fn load(file: &Path) -> Settings {
    config::load(Some(file), &Overrides::default()).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_example_is_sound() {
    let examples = examples();
    let names: Vec<_> = examples.iter().filter_map(|file| file.file_name()?.to_str()).collect();
    let expected = [
        "canary-weights.toml",
        "chat-rooms.toml",
        "many-connections.toml",
        "meteor.toml",
        "minimal.toml",
        "pages-and-sockets.toml",
        "profile.toml",
        "public-edge.toml",
        "scale-out-dns.toml",
        "socketio-transports.toml",
        "socketio.toml",
        "tls-edge.toml",
    ];
    assert_eq!(names, expected);
    for file in &examples {
        let settings = load(file);
        // So that anybody can start it, several times over.
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into();
        let addresses = settings
            .listeners
            .iter()
            .map(|listener| listener.address.clone())
            .chain(settings.admin.address.map(Into::into));
        assert!(addresses.into_iter().all(|address| address == anywhere), "{}", file.display());
    }
}

#[test]
fn every_example_is_commented() {
    for file in examples() {
        let text = fs::read_to_string(&file).expect("the example");
        assert!(text.starts_with("# "), "{} begins with what it is for", file.display());
    }
}

#[test]
fn every_setup_of_the_page_for_migrating_is_sound() {
    let text = fs::read_to_string(docs("migrating.md")).expect("the page");
    let blocks = text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let settings: Vec<_> = blocks
        .map(|block| {
            config::parse(block, &Overrides::default()).unwrap_or_else(|error| panic!("{error}\n{block}"))
        })
        .collect();
    assert_eq!(settings.len(), 10);
}

#[test]
fn the_page_for_migrating_counts_its_lines() {
    let text = fs::read_to_string(docs("migrating.md")).expect("the page");
    let counted: Vec<_> = text
        .split("\n## ")
        .filter_map(|section| {
            let title = section.lines().next()?;
            let mut blocks = section.split("```").skip(1).step_by(2).map(|block| {
                // The first line is the block's own.
                block.lines().skip(1).filter(|line| !line.trim().is_empty()).count()
            });
            Some((title.to_owned(), [blocks.next()?, blocks.next()?]))
        })
        .collect();
    let told: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| ["))
        .map(|row| {
            let (title, rest) = row.split_once("](").expect("a link");
            let mut cells = rest.split('|').skip(1).filter_map(|cell| cell.trim().parse::<usize>().ok());
            (title.to_owned(), [cells.next().expect("theirs"), cells.next().expect("ours")])
        })
        .collect();
    assert_eq!(told, counted);
}
