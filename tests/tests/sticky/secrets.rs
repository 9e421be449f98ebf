//! The keys that sign cookies: several brokers share them, and they change while sessions run.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::wait::eventually_some;
use tempfile::TempDir;

use crate::{backends, come_to, newcomer, showing, sticky};

const NAMES: [&str; 3] = ["a", "b", "c"];

/// Three keys of 32 bytes.
const ONE: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const TWO: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";
const THREE: &str = "AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=";

/// A file with keys.
struct Secrets {
    folder: TempDir,
}

impl Secrets {
    fn new(keys: &[&str]) -> Secrets {
        let secrets = Secrets { folder: tempfile::tempdir().expect("a temporary directory") };
        secrets.write(&keys.join("\n"));
        secrets
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("secrets")
    }

    /// Puts another file in its place, in one step.
    fn write(&self, text: &str) {
        let next = self.folder.path().join("next");
        fs::write(&next, text).expect("a file can be written");
        fs::rename(&next, self.path()).expect("a file can be renamed");
    }
}

fn signing(backends: &[Backend], file: &Path) -> BrokerBuilder {
    sticky(backends, &format!("secret_file = {:?}", file.to_str().expect("text")))
}

async fn reload(broker: &Broker) {
    let answer = broker.post("/api/v1/reload").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn brokers_with_one_secret_agree() {
    let all = backends(NAMES).await;
    let (shared, other) = (Secrets::new(&[ONE, TWO]), Secrets::new(&[THREE]));
    let [first, second] =
        [signing(&all, &shared.path()).start().await, signing(&all, &shared.path()).start().await];
    let stranger = signing(&all, &other.path()).start().await;
    for _ in 0..3 {
        let (_client, home, cookie) = newcomer(&first).await;
        let there = showing(&second, &cookie).await;
        assert_eq!((there.home, there.cookie), (home, None));
        assert!(showing(&stranger, &cookie).await.cookie.is_some(), "another secret, another cookie");
    }
}

#[tokio::test]
async fn a_cookie_outlives_the_broker_by_its_secret() {
    let all = backends(NAMES).await;
    let secrets = Secrets::new(&[ONE]);
    let broker = signing(&all, &secrets.path()).start().await;
    let (_client, home, cookie) = newcomer(&broker).await;
    drop(broker);
    let broker = signing(&all, &secrets.path()).start().await;
    assert_eq!(come_to(&broker, &cookie, &home, 3).await, 3);
    // Without one it does not.
    let first = sticky(&all, "").start().await;
    let (_client, _, cookie) = newcomer(&first).await;
    let second = sticky(&all, "").start().await;
    assert!(showing(&second, &cookie).await.cookie.is_some());
}

#[tokio::test]
async fn a_secret_changes_and_neither_clients_nor_sessions_notice() {
    let all = backends(NAMES).await;
    let secrets = Secrets::new(&[ONE]);
    let broker = signing(&all, &secrets.path()).setting("reload", "watch = \"0s\"").start().await;
    let (mut client, home, old) = newcomer(&broker).await;
    // The new key signs, and the old one is known still: its cookies are signed anew.
    secrets.write(&format!("{TWO}\n{ONE}\n"));
    reload(&broker).await;
    let again = showing(&broker, &old).await;
    assert_eq!(again.home, home);
    let new = again.cookie.expect("one by the new key");
    let stays = showing(&broker, &new).await;
    assert_eq!((stays.home.as_str(), stays.cookie), (home.as_str(), None));
    // The old one goes.
    secrets.write(TWO);
    reload(&broker).await;
    assert_eq!(showing(&broker, &new).await.cookie, None);
    assert!(showing(&broker, &old).await.cookie.is_some(), "it counts no more");
    client.ask("still here", &format!("{home}:still here")).await;
}

#[tokio::test]
async fn a_change_of_the_file_alone_is_looked_for() {
    let all = backends(NAMES).await;
    let secrets = Secrets::new(&[ONE]);
    let broker = signing(&all, &secrets.path()).setting("reload", "watch = \"50ms\"").start().await;
    let (_client, _, cookie) = newcomer(&broker).await;
    secrets.write(TWO);
    broker.wait_metric("steadfast_reloads_total", &[("outcome", "applied")], |count| count == 1.0).await;
    assert!(showing(&broker, &cookie).await.cookie.is_some());
}

#[tokio::test]
async fn a_file_that_is_wrong_is_refused_and_the_present_one_stays() {
    let all = backends(NAMES).await;
    let secrets = Secrets::new(&[ONE]);
    let broker = signing(&all, &secrets.path()).setting("reload", "watch = \"0s\"").start().await;
    let (_client, home, cookie) = newcomer(&broker).await;
    secrets.write("secret-secret");
    let answer = broker.post("/api/v1/reload").await;
    let text = answer.text();
    assert_eq!(answer.status, 409, "{text}");
    assert!(text.contains("[pool.sticky] secret_file: ") && text.contains("no base64 in line 1"), "{text}");
    assert!(!text.contains("secret-secret"), "{text}");
    let again = showing(&broker, &cookie).await;
    assert_eq!((again.home, again.cookie), (home, None));
}

#[tokio::test]
async fn who_gives_no_file_is_warned() {
    let all = backends(["a"]).await;
    let secrets = Secrets::new(&[ONE]);
    let warned = |record: &Value| {
        let text = record["message"].as_str().unwrap_or_default();
        text.contains("do not outlive it") && text.contains("secret_file") && record["level"] == "WARN"
    };
    let without = sticky(&all, "").start().await;
    eventually_some("a warning", || without.records(warned).pop()).await;
    let with = signing(&all, &secrets.path()).start().await;
    // What is logged at the start is there when a session has been told of.
    newcomer(&with).await.0.close(1000, "").await;
    with.wait_causes(1).await;
    assert_eq!(with.records(warned), Vec::<Value>::new());
}
