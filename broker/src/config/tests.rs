//! The parts together: defaults, precedence, and that the documentation has every key.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::problem::ProblemReport;
use super::raw::{self, ConfigKey};
use super::settings::{Ack, BackendSettings, LogFormat, OnFailure, ProfileChoice, ProfileInForce};
use super::*;

const MINIMAL: &str = r#"
    [[listener]]
    address = "127.0.0.1:0"
    [[pool]]
    name = "chat"
    [[pool.backend]]
    url = "ws://127.0.0.1:9001"
"#;

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Every key there is: those that reading a file asks for, whatever is in it.
fn keys() -> Vec<ConfigKey> {
    let (_, keys) = raw::read_document("", &mut ProblemReport::new(None), keys::file).expect("valid TOML");
    keys.into_iter().filter(|key| key.default.is_some()).collect()
}

fn overrides() -> Overrides {
    Overrides::default()
}

fn backend(port: u16) -> BackendSettings {
    BackendSettings {
        name: format!("10.0.0.1:{port}"),
        host: "10.0.0.1".to_owned(),
        port,
        tls: false,
        weight: 1,
        backup: false,
        max_sessions: None,
        public_url: None,
    }
}

fn problems(text: &str, overrides: &Overrides) -> Vec<String> {
    parse(text, overrides).expect_err("it is wrong").lines().collect()
}

/// Rows of the tables under the headings `[section]`, as section, key, default and bounds. A heading may
/// name several sections with the same keys, joined by "and".
fn documented() -> BTreeSet<[String; 4]> {
    let text = fs::read_to_string(in_repository("docs/configuration.md")).expect("the documentation");
    let (_, text) = text.split_once("# Keys of the file").expect("the chapter of the keys");
    let (text, _) = text.split_once("\n# ").expect("the chapter after it");
    let mut rows = BTreeSet::new();
    let mut sections = Vec::new();
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            let section = |name: &str| name.trim_matches(['`', '[', ']']).replace("Top level", "");
            sections = heading.split(" and ").map(section).collect();
        } else if line.starts_with("| `") {
            let cells: Vec<&str> = line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
            let [_, key, default, allowed, meaning, _] = cells[..] else { panic!("not four cells: {line}") };
            assert!(!meaning.is_empty(), "{line}");
            for section in &sections {
                rows.insert([section.as_str(), key, default, allowed].map(str::to_owned));
            }
        }
    }
    rows
}

#[test]
fn the_documentation_has_every_key_with_its_default_and_bounds() {
    let known = keys()
        .into_iter()
        .map(|key| [key.section, key.name.to_owned(), key.default.unwrap_or_default(), key.allowed]);
    let known: BTreeSet<_> = known.collect();
    assert!(known.len() > 100, "the keys were found: {known:?}");
    let documented = documented();
    let missing: Vec<_> = known.difference(&documented).collect();
    let invented: Vec<_> = documented.difference(&known).collect();
    assert!(missing.is_empty() && invented.is_empty(), "missing: {missing:#?}\ninvented: {invented:#?}");
}

/// Defaults that are words about the value: they cannot be written.
const DESCRIBED: [&str; 20] = [
    "as in [close_codes]",
    "required",
    "the only pool, else default; with routes none",
    "off",
    "auto",
    "cores",
    "any",
    "all",
    "none",
    "host:port",
    "where it was learned",
    "the backend's",
    "the system's",
    "the URL's host",
    "upgrades_per_second",
    "as the process makes files",
    "the process's user",
    "the process's group",
    "route-1, route-2 ...",
    "of logins",
];

/// It cannot stand in a file that has the token itself.
const INSTEAD_OF_TOKEN: &str = "token_file";

/// The defaults of these can be written, though those of others by the same word cannot.
const WORDS: [(&str, &str); 7] = [
    ("route", "kind"),
    ("pool", "on_failure"),
    ("pool", "profile"),
    ("pool", "send_proxy"),
    ("pool.sticky", "secure"),
    ("listener", "proxy_protocol"),
    ("listener.tls", "client_auth"),
];

#[test]
fn a_file_with_every_default_written_is_the_same_as_one_without() {
    let path = in_repository("broker/tests/fixtures/valid/complete.toml");
    let text = fs::read_to_string(&path).expect("the fixture");
    let table: toml::Table = text.parse().expect("valid TOML");
    let mut shorter = table.clone();
    for key in keys().into_iter().filter(|key| key.name != INSTEAD_OF_TOKEN) {
        assert!(!holders(&mut table.clone(), &key).is_empty(), "{key:?} is not in {}", path.display());
        let mut removed = 0;
        for table in holders(&mut shorter, &key) {
            if key.default == table.get(key.name).map(as_documented) {
                table.remove(key.name);
                removed += 1;
            }
        }
        let is_word = WORDS.contains(&(key.section.as_str(), key.name));
        let is_described = |default: &str| DESCRIBED.contains(&default) && !is_word;
        let described = key.default.as_deref().is_some_and(is_described);
        assert_ne!(removed > 0, described, "the default of {key:?} is written in {}", path.display());
    }

    let complete = load(Some(&path), &overrides()).expect("a sound configuration");
    let shorter = toml::to_string(&shorter).expect("valid TOML");
    let without = parse(&shorter, &overrides()).expect("a sound configuration");
    assert_eq!(format!("{complete:#?}"), format!("{without:#?}"));
}

/// All tables in which the key is written.
fn holders<'a>(table: &'a mut toml::Table, key: &ConfigKey) -> Vec<&'a mut toml::Table> {
    let mut tables = vec![table];
    for part in key.section.split('.').filter(|part| !part.is_empty()) {
        let inner = tables.into_iter().filter_map(|table| table.get_mut(part));
        tables = inner.flat_map(tables_in).collect();
    }
    tables.retain(|table| table.contains_key(key.name));
    tables
}

fn tables_in(value: &mut toml::Value) -> Vec<&mut toml::Table> {
    match value {
        toml::Value::Table(table) => vec![table],
        toml::Value::Array(array) => array.iter_mut().filter_map(toml::Value::as_table_mut).collect(),
        _ => Vec::new(),
    }
}

fn as_documented(value: &toml::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[test]
fn no_truncation_panics() {
    let path = in_repository("broker/tests/fixtures/valid/complete.toml");
    let text = fs::read_to_string(path).expect("the fixture");
    for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
        if let Err(error) = parse(&text[..end], &overrides()) {
            assert!(error.lines().all(|line| !line.contains('\n')), "{error}");
        }
    }
}

#[test]
fn flags_alone_suffice() {
    let overrides = Overrides {
        listen: vec!["127.0.0.1:0".parse().expect("an address"); 2],
        backend: vec![backend(1), backend(2)],
        ..Overrides::default()
    };
    let settings = parse("", &overrides).expect("a sound configuration");
    assert_eq!(
        settings.listeners.iter().map(|listener| listener.pool.as_deref()).collect::<Vec<_>>(),
        [Some("default"); 2]
    );
    let [pool] = &settings.pools[..] else { panic!("one pool: {:?}", settings.pools) };
    assert_eq!((pool.name.as_str(), &pool.backends[..]), ("default", &[backend(1), backend(2)][..]));
    assert_eq!((pool.ack, pool.on_failure), (Ack::Pong, OnFailure::Auto));
}

#[test]
fn flags_win_over_the_file() {
    let text =
        format!("workers = 2\n[admin]\naddress = \"127.0.0.1:1\"\n[log]\nformat = \"text\"\n{MINIMAL}");
    let overrides = Overrides {
        listen: vec!["127.0.0.2:0".parse().expect("an address")],
        admin: Some("127.0.0.1:2".parse().expect("an address")),
        ack: Some(Ack::None),
        on_failure: Some(OnFailure::Close),
        workers: Some(7),
        log_format: Some(LogFormat::Json),
        log_level: Some("debug".to_owned()),
        ..Overrides::default()
    };
    let settings = parse(&text, &overrides).expect("a sound configuration");
    assert_eq!(settings.listeners.len(), 1);
    assert_eq!(settings.listeners[0].address.to_string(), "127.0.0.2:0");
    assert_eq!(settings.listeners[0].pool.as_deref(), Some("chat"));
    assert_eq!(settings.admin.address.map(|admin| admin.port()), Some(2));
    assert_eq!((settings.pools[0].ack, settings.pools[0].on_failure), (Ack::None, OnFailure::Close));
    assert_eq!(settings.workers, 7);
    assert_eq!((settings.log.format, settings.log.level.as_str()), (LogFormat::Json, "debug"));
}

#[test]
fn a_hold_is_judged_with_the_flag() {
    let text = MINIMAL.replace("name = \"chat\"", "name = \"chat\"\nack_hold = \"1s\"");
    let with = |ack| Overrides { ack: Some(ack), ..Overrides::default() };
    let [line] = &problems(&text, &with(Ack::Shim))[..] else { panic!("one problem") };
    assert!(line.starts_with("line 4: [pool] \"chat\" has an ack_hold with ack = \"shim\""), "{line}");

    let shim = text.replace("ack_hold", "ack = \"shim\"\nack_hold");
    assert_eq!(problems(&shim, &overrides()).len(), 1);
    assert!(parse(&shim, &with(Ack::Pong)).is_ok());
}

#[test]
fn the_token_comes_from_the_environment_a_file_or_the_configuration() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("token");
    fs::write(&path, "from-a-file-0123456789\n").expect("a file");
    let token = |admin: &str, variable: Option<&str>| {
        let overrides = overrides().with_token(variable.map(str::as_ref)).expect("a token");
        parse(&format!("{MINIMAL}\n[admin]\n{admin}"), &overrides).expect("sound").admin.token
    };
    let written = "token = \"written-0123456789\"";
    let in_file = format!("token_file = {:?}", path.to_str().expect("UTF-8"));
    assert!(token("", None).is_none());
    assert!(token(written, None).expect("one").is(b"written-0123456789"));
    assert!(token(&in_file, None).expect("one").is(b"from-a-file-0123456789"));
    assert!(token(written, Some("variable-0123456789")).expect("one").is(b"variable-0123456789"));

    let both = problems(&format!("{MINIMAL}\n[admin]\n{written}\n{in_file}"), &overrides());
    assert_eq!(both, ["line 11: [admin] token_file: token and token_file are both given; remove one"]);
}

#[test]
fn no_mistake_repeats_a_token() {
    for wrong in
        ["\"secret\"", "\"secret-secret-secret", "[\"secret-secret-secret\"]", "5318008531800853180085"]
    {
        for line in problems(&format!("{MINIMAL}\n[admin]\ntoken = {wrong}\n"), &overrides()) {
            assert!(!line.contains("secret") && !line.contains("5318"), "{line}");
        }
    }
    let problem = overrides().with_token(Some("secret".as_ref())).expect_err("too short");
    assert!(problem.starts_with("STEADFAST_ADMIN_TOKEN: expected 16 ") && !problem.contains("secret"));
}

#[test]
fn backend_flags_fill_the_default_pool_and_no_other() {
    let flags = Overrides { backend: vec![backend(7)], ..Overrides::default() };

    let added = parse(MINIMAL, &flags).expect("a sound configuration");
    let names: Vec<_> = added.pools.iter().map(|pool| pool.name.as_str()).collect();
    assert_eq!(names, ["chat", "default"]);
    assert_eq!(added.pools[0].backends.len(), 1);
    assert_eq!(added.pools[1].backends, [backend(7)]);
    assert_eq!(
        added.listeners[0].pool.as_deref(),
        Some("default"),
        "of two pools, a listener without one takes the default"
    );

    // The file's own settings of that pool stay, also when it has no backends itself.
    let text = "[[listener]]\naddress = \"127.0.0.1:0\"\n[[pool]]\nname = \"default\"\nack_hold = \"1s\"\n";
    let replaced = parse(text, &flags).expect("a sound configuration");
    assert_eq!(replaced.pools.len(), 1);
    assert_eq!(replaced.pools[0].backends, [backend(7)]);
    assert_eq!(replaced.pools[0].ack_hold.as_secs(), 1);
    assert_eq!(problems(text, &overrides()).len(), 1, "without the flag it lacks a backend");
}

#[test]
fn backend_flags_replace_what_would_be_discovered() {
    let flags = Overrides { backend: vec![backend(7)], ..Overrides::default() };
    let text = "[[listener]]\naddress = \"127.0.0.1:0\"\n[[pool]]\nname = \"default\"\n\
                [[pool.discovery]]\naddress = \"chat.internal:9001\"\n";
    let written = parse(text, &overrides()).expect("a sound configuration");
    assert_eq!((written.pools[0].discoveries.len(), written.pools[0].backends.len()), (1, 0));
    let replaced = parse(text, &flags).expect("a sound configuration");
    assert_eq!((replaced.pools[0].discoveries.len(), replaced.pools[0].backends.len()), (0, 1));
}

#[test]
fn with_routes_no_pool_is_implied() {
    let route = "[[route]]\npath = \"/chat\"\npool = \"chat\"\n";
    let settings = parse(&format!("{MINIMAL}\n{route}"), &overrides()).expect("a sound configuration");
    assert_eq!((settings.listeners[0].pool.as_deref(), settings.routes.len()), (None, 1));

    let text = MINIMAL.replace("[[pool]]", "pool = \"chat\"\n[[pool]]");
    let settings = parse(&format!("{text}\n{route}"), &overrides()).expect("a sound configuration");
    assert_eq!(settings.listeners[0].pool.as_deref(), Some("chat"));
}

#[test]
fn flags_are_judged_with_the_file() {
    let twice = Overrides { backend: vec![backend(7), backend(7)], ..Overrides::default() };
    assert_eq!(
        problems(MINIMAL, &twice),
        ["--backend (STEADFAST_BACKEND): 10.0.0.1:7 is given twice; remove one"]
    );

    let address = SocketAddr::from(([127, 0, 0, 1], 81));
    let clash = Overrides { listen: vec![address.into()], admin: Some(address), ..Overrides::default() };
    let [line] = &problems(MINIMAL, &clash)[..] else { panic!("one problem") };
    assert!(line.starts_with("--listen (STEADFAST_LISTEN): 127.0.0.1:81 is given twice; "), "{line}");

    let two =
        format!("{MINIMAL}\n[[pool]]\nname = \"news\"\n[[pool.backend]]\nurl = \"ws://127.0.0.1:9002\"");
    let listen = Overrides { listen: vec![address.into()], ..Overrides::default() };
    let [line] = &problems(&two, &listen)[..] else { panic!("one problem") };
    assert!(line.starts_with("--listen (STEADFAST_LISTEN): ") && line.ends_with("chat, news"), "{line}");
}

#[test]
fn few_of_many_pools_are_named() {
    let pool = |number| format!("[[pool]]\nname = \"p{number}\"\n[[pool.backend]]\nurl = \"ws://a\"\n");
    let pools: String = (0..100).map(pool).collect();
    let text = format!("[[listener]]\naddress = \"127.0.0.1:0\"\npool = \"xyz\"\n{pools}");
    let [line] = &problems(&text, &overrides())[..] else { panic!("one problem") };
    assert!(line.contains("the pools are: p0, p1, ") && line.ends_with("p19 and 80 more"), "{line}");
}

#[test]
fn a_missing_file_is_one_problem() {
    let error = load(Some(Path::new("/nonexistent/s.toml")), &overrides()).expect_err("it does not exist");
    let lines: Vec<_> = error.lines().collect();
    assert_eq!(lines.len(), 1, "{error}");
    assert!(lines[0].starts_with("/nonexistent/s.toml: cannot be read: "), "{error}");
}

#[test]
fn an_oversized_file_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("large.toml");
    let size = usize::try_from(FILE_SIZE_MAX).expect("it fits") - MINIMAL.len();
    fs::write(&path, format!("{MINIMAL}{}", "\n".repeat(size))).expect("a file");
    assert!(load(Some(&path), &overrides()).is_ok());
    fs::write(&path, format!("{MINIMAL}{}", "\n".repeat(size + 1))).expect("a file");
    let error = load(Some(&path), &overrides()).expect_err("it is one byte too large");
    assert!(error.to_string().contains("larger than 4194304 bytes"), "{error}");
}

#[test]
fn many_problems_are_counted() {
    let text = format!("{MINIMAL}[herd]\n{}", (0..50).map(|n| format!("key{n} = 1\n")).collect::<String>());
    let lines = problems(&text, &overrides());
    assert_eq!(lines.len(), 21);
    assert_eq!(lines[20], "30 more problems are not shown");
}

/// A table of the pool's, so many times.
fn times(count: usize, table: &str) -> String {
    format!("{MINIMAL}{}", table.repeat(count))
}

#[test]
fn tables_are_bounded() {
    let route = "[[route]]\npool = \"chat\"\npath_prefix = \"/\"\n";
    assert!(parse(&times(4096, route), &overrides()).is_ok());
    let error = "line 8: route: 4097 tables [[route]] are too many; allowed are 4096";
    assert_eq!(problems(&times(4097, route), &overrides()), [error]);
    assert_eq!(problems(&times(400_000, "[[pool]]\n"), &overrides()).len(), 1, "none of them is read");

    let pool = |n: usize| {
        format!("[[pool]]\nname = \"{n}\"\n{}", "[[pool.backend]]\nurl = \"ws://h:PORT\"\n".repeat(4096))
    };
    let numbered = |pool: String| {
        let parts = pool.split("PORT").enumerate();
        parts.map(|(n, part)| if n == 0 { part.to_owned() } else { format!("{n}{part}") }).collect::<String>()
    };
    let pools = |count: usize| (0..count).map(|n| numbered(pool(n))).collect::<String>();
    let listener = "[[listener]]\naddress = \"127.0.0.1:0\"\npool = \"0\"\n";
    assert!(parse(&format!("{listener}{}", pools(4)), &overrides()).is_ok());
    let one_more = "[[pool]]\nname = \"more\"\n[[pool.backend]]\nurl = \"ws://h:1\"\n";
    let error = "16385 backends in all pools are too many; allowed are 16384";
    assert_eq!(problems(&format!("{listener}{}{one_more}", pools(4)), &overrides()), [error]);
}

#[test]
fn profiles_and_their_rules_are_bounded() {
    let profiles = |count: usize, rules: usize| {
        let rule = |n| format!("{{ when = {{ \"/a\" = {n} }}, keep = \"a\" }},");
        let rules: String = (0..rules).map(rule).collect();
        let profile = |n| format!("[[profile]]\nname = \"p{n}\"\nup = [{rules}]\n");
        format!("{MINIMAL}{}", (0..count).map(profile).collect::<String>())
    };
    assert!(parse(&profiles(64, 1), &overrides()).is_ok() && parse(&profiles(1, 256), &overrides()).is_ok());
    let error = "line 8: profile: 65 tables [[profile]] are too many; allowed are 64";
    assert_eq!(problems(&profiles(65, 1), &overrides()), [error]);
    let error = "line 10: [profile] up: 257 rules are too many; allowed are 256";
    assert_eq!(problems(&profiles(1, 257), &overrides()), [error]);
}

#[test]
fn a_profile_is_judged_with_the_flags() {
    let named = |name: &str| Overrides {
        profile: Some(values::profile(name).expect("a word")),
        ..Overrides::default()
    };
    let settings = |overrides: &Overrides| parse(MINIMAL, overrides).expect("sound").pools.remove(0);
    let auto = settings(&overrides());
    assert_eq!((&auto.profile, auto.profile_in_force()), (&ProfileChoice::Auto, ProfileInForce::Auto));
    assert_eq!(settings(&named("ocpp")).profile_in_force(), ProfileInForce::Named("ocpp"));
    assert_eq!(settings(&named("none")).profile_in_force(), ProfileInForce::None(None));
    for (ack, on_failure, why) in [
        (Ack::None, OnFailure::Auto, r#"ack = "none""#),
        (Ack::Shim, OnFailure::Failover, r#"ack = "shim""#),
        (Ack::Reply, OnFailure::Close, r#"on_failure = "close""#),
    ] {
        let flags = Overrides { ack: Some(ack), on_failure: Some(on_failure), ..Overrides::default() };
        assert_eq!(settings(&flags).profile_in_force(), ProfileInForce::None(Some(why)));
        let both = Overrides { ack: Some(ack), on_failure: Some(on_failure), ..named("ocpp") };
        let [line] = &problems(MINIMAL, &both)[..] else { panic!("one problem") };
        assert!(line.contains(r#"has profile = "ocpp" with "#) && line.contains(why), "{line}");
    }
    let reply = Overrides { ack: Some(Ack::Reply), ..named("none") };
    assert_eq!(problems(MINIMAL, &reply).len(), 1);
    assert!(parse(MINIMAL, &Overrides { ack: Some(Ack::Reply), ..overrides() }).is_ok());
}

#[test]
fn a_hundred_thousand_unknown_keys_are_counted() {
    let keys: String = (0..100_000).map(|n| format!("key{n} = 1\n")).collect();
    let lines = problems(&format!("{keys}{MINIMAL}"), &overrides());
    assert_eq!((lines.len(), lines[20].as_str()), (21, "99980 more problems are not shown"));
    for (n, line) in lines[..20].iter().enumerate() {
        assert!(line.starts_with(&format!("line {}: unknown key \"key{n}\"", n + 1)), "{line}");
    }
}
