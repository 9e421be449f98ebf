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
        "minimal.toml",
        "public-edge.toml",
        "scale-out-dns.toml",
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
    assert_eq!(settings.len(), 5);
}
