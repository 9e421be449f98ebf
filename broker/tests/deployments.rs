//! What operators copy from: the manifest, the unit, the playbook, and the commands of their page.

use std::fs;
use std::path::Path;
use std::time::Duration;

use clap::{ArgMatches, CommandFactory};
use steadfast::cli::args::Cli;
use steadfast::config::{self, Overrides};
use yaml_rust2::{Yaml, YamlLoader};

fn docs(path: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(path);
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn yaml(path: &str) -> Vec<Yaml> {
    YamlLoader::load_from_str(&docs(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The document of this kind and name.
fn object<'a>(manifest: &'a [Yaml], kind: &str, name: &str) -> &'a Yaml {
    let wanted = |object: &&Yaml| {
        object["kind"].as_str() == Some(kind) && object["metadata"]["name"].as_str() == Some(name)
    };
    manifest.iter().find(wanted).unwrap_or_else(|| panic!("there is a {kind} called {name}"))
}

fn texts(list: &Yaml) -> Vec<&str> {
    list.as_vec().into_iter().flatten().filter_map(Yaml::as_str).collect()
}

/// A command line of a shell as `steadfast` would take it: one command, without what stands around it.
fn arguments(line: &str) -> ArgMatches {
    let command =
        ["&&", "||", " &", ";"].iter().fold(line, |line, end| line.split(end).next().unwrap_or(line));
    // What the shell would put in: names do, but an address must be one.
    let command = command.replace("$broker", "127.0.0.1:9000");
    let words = command.split_whitespace().map(|word| word.trim_matches(['"', '\'']));
    Cli::command().try_get_matches_from(words).unwrap_or_else(|error| panic!("{line}\n{error}"))
}

/// It drains and waits, and leaves so many seconds of this time over.
fn drains_within(line: &str, seconds: u64) {
    let matches = arguments(line);
    let (name, drain) = matches.subcommand().expect("a command");
    assert_eq!(name, "drain", "{line}");
    assert!(drain.get_flag("wait"), "{line}");
    let limit = drain.get_one::<Duration>("time_limit").expect("a limit");
    assert!(*limit < Duration::from_secs(seconds), "{line} takes longer than {seconds} s");
}

fn undrains(line: &str) {
    assert_eq!(arguments(line).subcommand_name(), Some("undrain"), "{line}");
}

#[test]
fn the_manifest_drains_before_its_pods_are_killed() {
    let manifest = yaml("examples/kubernetes.yaml");
    let pods = &object(&manifest, "StatefulSet", "chat")["spec"]["template"]["spec"];
    let hooks = &pods["containers"][0]["lifecycle"];
    let script = |hook: &str| match texts(&hooks[hook]["exec"]["command"])[..] {
        ["sh", "-c", script] => script.to_owned(),
        ref other => panic!("{hook} is no script: {other:?}"),
    };
    let grace = pods["terminationGracePeriodSeconds"].as_i64().and_then(|grace| u64::try_from(grace).ok());
    drains_within(&script("preStop"), grace.expect("a time to end"));
    undrains(&script("postStart"));
}

#[test]
fn the_manifests_broker_knows_every_pod() {
    let manifest = yaml("examples/kubernetes.yaml");
    let file = object(&manifest, "ConfigMap", "steadfast")["data"]["steadfast.toml"].as_str();
    let settings = config::parse(file.expect("a configuration"), &Overrides::default());
    let settings = settings.unwrap_or_else(|error| panic!("{error}"));
    let known: Vec<_> = settings.pools[0].backends.iter().map(|backend| backend.name.clone()).collect();
    let replicas = object(&manifest, "StatefulSet", "chat")["spec"]["replicas"].as_i64();
    let pods: Vec<_> = (0..replicas.expect("a number")).map(|number| format!("chat-{number}")).collect();
    assert_eq!(known, pods);

    let broker = &object(&manifest, "Deployment", "steadfast")["spec"]["template"]["spec"]["containers"][0];
    let matches = Cli::command().try_get_matches_from(texts(&broker["command"]));
    assert_eq!(matches.expect("a sound command").subcommand_name(), Some("serve"));
}

#[test]
fn the_unit_drains_before_it_stops() {
    let unit = docs("examples/chat@.service");
    let value = |key: &str| {
        let mut lines = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        lines.next_back().unwrap_or_else(|| panic!("it has {key}"))
    };
    let command = |key: &str| value(key).trim_start_matches('-');
    drains_within(command("ExecStop"), value("TimeoutStopSec").parse().expect("seconds"));
    undrains(command("ExecStartPost"));
}

#[test]
fn the_playbook_drains_before_it_restarts() {
    let playbook = yaml("examples/rolling-deploy.yaml");
    let tasks = playbook[0][0]["tasks"].as_vec().expect("tasks");
    let commands = tasks.iter().map(|task| task["ansible.builtin.command"].as_str());
    // A name in braces is one word once it is filled in.
    let commands: Vec<_> =
        commands.map(|line| line.map(|line| line.replace("{{ inventory_hostname }}", "chat-1"))).collect();
    let [Some(first), .., Some(last)] = &commands[..] else { panic!("it begins and ends with a command") };
    drains_within(first, u64::MAX);
    undrains(last);
    assert!(
        tasks
            .iter()
            .any(|task| task["ansible.builtin.systemd_service"]["state"].as_str() == Some("restarted"))
    );
}

#[test]
fn every_command_of_the_page_is_understood() {
    let page = docs("operations.md");
    let commands = page.split(['`', '\n', '&']).map(str::trim).filter(|text| text.starts_with("steadfast "));
    let names: Vec<_> =
        commands.filter_map(|line| arguments(line).subcommand_name().map(str::to_owned)).collect();
    for name in ["drain", "undrain", "operations", "sessions", "backends"] {
        assert!(names.iter().any(|known| known == name), "{name} is among {names:?}");
    }
}
