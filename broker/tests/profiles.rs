//! Profiles at the command line: what `check` says of them, and `steadfast profile`.

#[expect(dead_code, reason = "nothing is run here that does not end by itself")]
mod program;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use program::{code, run, steadfast, text};

const POOLS: &str = r#"
[[listener]]
address = "127.0.0.1:0"
pool = "a"

[[pool]]
name = "a"

[[pool.backend]]
url = "ws://127.0.0.1:1"

[[pool]]
name = "b"
profile = "none"

[[pool.backend]]
url = "ws://127.0.0.1:1"

[[pool]]
name = "c"
profile = "mine"
ack = "reply"

[[pool.backend]]
url = "ws://127.0.0.1:1"

[[pool]]
name = "d"
on_failure = "close"

[[pool.backend]]
url = "ws://127.0.0.1:1"
"#;

/// Of a protocol that nobody else speaks.
const MINE: &str = r#"
[[profile]]
name = "mine"
match = { path = "/mine*" }
up = [
    { when = { "/type" = "login" }, keep = "login", answer = "login" },
    { when = { "/type" = "join" }, keep = "room:{/room}", standing = true },
    { when = { "/type" = "leave" }, retire = "room:{/room}" },
    { when = { "/type" = "call" }, ask = "call:{/id}" },
    { when = { "/type" = "result" }, reply = "own:{/id}" },
    { when = { prefix = [0, 1] }, beat = "alive" },
]
down = [
    { when = { "/type" = "hello" }, greeting = true },
    { when = { "/type" = "welcome" }, answer = "login" },
    { when = { "/type" = "no" }, answer = "login", refusal = true },
    { when = { "/type" = "answer" }, answer = "call:{/id}" },
    { when = { "/type" = "call" }, asks = "own:{/id}" },
    { when = { "/type" = "closed" }, end = "room:{/room}" },
    { when = { "/type" = "bye" }, parting = true },
]
fill_in = { every = "20s", say = "alive" }
"#;

/// Each word that is said of messages, by rules of one's own.
const CONVERSATION: &str = r#"
# A session that loses its backend twice.
< {"type":"hello"}
= greeting, passed on
> {"type":"login","token":"secret"}
= kept, as a login, whose answer is waited for
< {"type":"welcome"}
= answers line 5
> {"type":"join","room":"a"}
= kept, as a subscription
> {"type":"join","room":"b"}
> {"type":"join","room":"c"}
> {"type":"join","room":"c","again":true}
= kept, as a subscription, in place of line 12
> {"type":"leave","room":"a"}
= ends line 9
> {"type":"leave","room":"nowhere"}
= ends nothing that is kept
< {"type":"closed","room":"b"}
= ends line 11, passed on
> {"type":"call","id":1}
= asks
> {"type":"call","id":2}
< {"type":"answer","id":1}
= answers line 21
< {"type":"call","id":7}
= asks the client
>b AAEC
= beat; without a backend the client is told alive
> {"type":"shout"}
= told
< {"type":"news"}
= passed on
< {"type":"bye"}
= swallowed: says that it goes away
--- next backend
< {"type":"hello"}
= swallowed: greeting
< {"type":"welcome"}
= swallowed: answers line 5 again
> {"type":"result","id":7}
= dropped: replies to line 26, of a backend that is gone
< {"type":"answer","id":2}
= answers line 23
--- next backend
< {"type":"no"}
= swallowed: refuses line 5; another backend is tried, then the client is closed
"#;

/// What the next backends of that conversation are told, with one blank where there are several.
const TOLD: [&[&str]; 2] = [
    &[
        "meanwhile the client is told, each 20s: alive",
        "waits for the greeting",
        r#"5 > {"type":"login","token":"secret"} said again; waits for its answer"#,
        r#"13 > {"type":"join","room":"c","again":true} said again"#,
        r#"23 > {"type":"call","id":2} said again, since it is not answered"#,
    ],
    &[
        "meanwhile the client is told, each 20s: alive",
        "waits for the greeting",
        r#"5 > {"type":"login","token":"secret"} said again; waits for its answer"#,
        r#"13 > {"type":"join","room":"c","again":true} said again"#,
    ],
];

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().expect("a folder"))
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).expect("a file");
        path
    }
}

fn test(arguments: &[&Path]) -> Output {
    run(steadfast().args(["profile", "test"]).args(arguments))
}

#[test]
fn check_says_which_profile_each_pool_has() {
    let folder = Folder::new();
    let file = folder.file("s.toml", &format!("{POOLS}{MINE}"));
    let output = run(steadfast().arg("check").arg("--config").arg(&file));
    let lines: Vec<_> = text(&output.stdout).lines().collect();
    let said = |line: &str| format!("{}: {line}", file.display());
    assert!(lines[0].starts_with(&said("pool \"a\": profile \"auto\", of mine")), "{lines:?}");
    assert_eq!(lines[1], said("pool \"b\": no profile"));
    assert_eq!(lines[2], said("pool \"c\": profile \"mine\""));
    assert_eq!(lines[3], said("pool \"d\": no profile, with on_failure = \"close\""));
    assert_eq!(lines[4], said("ok: 1 listeners, 4 pools, 4 backends"));

    let output = run(steadfast().arg("check").arg("--config").arg(&file).args(["--profile", "none"]));
    assert!(
        text(&output.stderr).contains("[pool] \"c\" has ack = \"reply\" without a profile"),
        "{output:?}"
    );
    assert_eq!(code(output.status), Some(3));
}

#[test]
fn check_explains_a_rule_that_cannot_work() {
    let folder = Folder::new();
    let wrong = MINE
        .replace("{ when = { \"/type\" = \"answer\" }, answer = \"call:{/id}\" },", "")
        .replace("retire = \"room:{/room}\"", "retire = \"rooms:{/room}\"");
    let file = folder.file("s.toml", &format!("{POOLS}{wrong}"));
    let output = run(steadfast().arg("check").arg("--config").arg(&file));
    let lines: Vec<_> = text(&output.stderr).lines().collect();
    assert_eq!(lines.len(), 2, "{output:?}");
    let begins = |line: &str, number: usize, key: &str| {
        line.starts_with(&format!("steadfast: {}:{number}: [profile.up] {key}: ", file.display()))
    };
    assert!(begins(lines[0], 40, "retire") && begins(lines[1], 41, "ask"), "{lines:?}");
    assert_eq!(code(output.status), Some(3));
}

#[test]
fn built_in_profiles_are_listed_and_shown() {
    let output = run(steadfast().args(["profile", "list"]));
    let names: Vec<&str> =
        text(&output.stdout).lines().skip(1).filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains(&"graphql-transport-ws") && names.contains(&"socket.io"), "{names:?}");

    let folder = Folder::new();
    for name in names {
        let output = run(steadfast().args(["profile", "show", name]));
        assert_eq!(code(output.status), Some(0), "{output:?}");
        // It can be copied, under a name of one's own.
        let named = format!("name = \"{name}\"");
        let copy = text(&output.stdout);
        assert_eq!(copy.matches(&named).count(), 1, "{copy}");
        let copy = copy.replace(&named, "name = \"mine\"");
        let file = folder.file("s.toml", &format!("{POOLS}{copy}"));
        let output = run(steadfast().arg("check").arg("--config").arg(&file));
        assert_eq!(code(output.status), Some(0), "{output:?}");
    }
    let output = run(steadfast().args(["profile", "show", "nobody"]));
    assert!(
        text(&output.stderr).contains("there is no profile \"nobody\"; the profiles are: "),
        "{output:?}"
    );
    assert_eq!(code(output.status), Some(8));
}

#[test]
fn a_conversation_is_played_and_held_against_what_is_expected() {
    let folder = Folder::new();
    let transcript = folder.file("conversation.txt", CONVERSATION);
    for config in [MINE.to_owned(), format!("{POOLS}{MINE}")] {
        let output = test(&[&folder.file("s.toml", &config), &transcript]);
        assert_eq!(code(output.status), Some(0), "{output:?}");
        let parts: Vec<_> = text(&output.stdout).split("--- next backend\n").skip(1).collect();
        assert_eq!(parts.len(), TOLD.len(), "{output:?}");
        for (part, told) in parts.iter().zip(TOLD) {
            let collapsed = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
            // What follows is said by the next backend.
            let lines: Vec<_> = part.lines().map(collapsed).take(told.len()).collect();
            assert_eq!(lines, told);
            assert!(part.lines().nth(told.len()).is_some_and(|line| line.contains(" < ")), "{part}");
        }
    }
}

#[test]
fn the_page_shows_the_example_and_what_is_said_of_it() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let read = |name: &str| fs::read_to_string(docs.join(name)).expect("a file of the pages");
    let (page, example) = (read("profiles.md"), read("examples/profile.toml"));
    let rules = example.find("[[profile]]").expect("the example has a profile");
    assert!(page.contains(&format!("```toml\n{}```\n", &example[rules..])), "the page has the rules");
    let transcript = "examples/profile.transcript";
    assert!(page.contains(&format!("```\n{}```\n", read(transcript))), "the page has the conversation");

    let output = test(&[&docs.join("examples/profile.toml"), &docs.join(transcript)]);
    assert_eq!(code(output.status), Some(0), "{output:?}");
    let shown = format!(
        "```\n$ steadfast profile test docs/examples/profile.toml docs/{transcript}\n{}```\n",
        text(&output.stdout)
    );
    assert!(page.contains(&shown), "the page does not have:\n{shown}");
}

#[test]
fn what_is_not_as_expected_is_told() {
    let folder = Folder::new();
    let transcript = folder.file("t.txt", "> {\"type\":\"login\"}\n= kept\n= told\n< x\n= passed on\n");
    let output = test(&[&folder.file("s.toml", MINE), &transcript]);
    let said = text(&output.stdout);
    assert!(said.contains("   3 = \"told\" was expected\n"), "{said}");
    assert!(said.ends_with("1 of the lines with = do not hold\n"), "{said}");
    assert_eq!(code(output.status), Some(1));
}

#[test]
fn a_profile_is_chosen_by_name_where_there_are_several() {
    let folder = Folder::new();
    let transcript = folder.file("t.txt", "> {\"type\":\"connection_init\"}\n= kept\n");
    let name = |name: &'static str| [Path::new("--name"), Path::new(name)];
    let built_in = Path::new("graphql-transport-ws");
    assert_eq!(code(test(&[built_in, &transcript]).status), Some(0));

    let none = folder.file("none.toml", POOLS.split("profile = \"mine\"").next().unwrap_or_default());
    let two = folder.file("two.toml", &format!("{MINE}{}", MINE.replace("\"mine\"", "\"other\"")));
    for file in [&none, &two] {
        let [flag, value] = name("graphql-transport-ws");
        assert_eq!(code(test(&[file, &transcript, flag, value]).status), Some(0));
    }
    let [flag, value] = name("other");
    let output = test(&[&two, &transcript, flag, value]);
    assert!(text(&output.stdout).contains("1 of the lines with ="), "it is told: {output:?}");

    for (arguments, said, exit) in [
        (vec![&*none, &*transcript], "has no [[profile]]", 8),
        (vec![&*two, &*transcript], "choose one by --name, of mine, other", 8),
        (
            vec![&*two, &*transcript, Path::new("--name"), Path::new("third")],
            "there is no profile \"third\"",
            8,
        ),
        (vec![Path::new("nowhere.toml"), &*transcript], "cannot be read", 3),
        (vec![built_in, Path::new("nowhere.txt")], "nowhere.txt: cannot be read", 2),
        (vec![built_in, &*two], "two.toml:2: expected >, <, >b, <b or =", 2),
    ] {
        let output = test(&arguments);
        assert!(text(&output.stderr).contains(said), "{said}: {output:?}");
        assert_eq!((code(output.status), text(&output.stdout)), (Some(exit), ""), "{said}");
    }
}
