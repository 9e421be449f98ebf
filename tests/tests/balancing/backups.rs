//! Backups stand in for primaries that are gone, not for busy ones.

use steadfast_tests::broker::Broker;
use steadfast_tests::upgrade::Upgrade;

use crate::{backends, home, over, placed, staying};

const NO_QUEUE: &str = "queue = { max = 0 }";

#[tokio::test]
async fn a_backup_serves_only_while_no_primary_is_up() {
    let all = backends(["a", "spare"]).await;
    let broker = over(&all).backend_setting("spare", "backup = true").start().await;
    let (mut clients, homes) = staying(&broker, 4).await;
    assert_eq!(homes, ["a"; 4]);
    assert!(all[1].journal().peers().is_empty());
    all[0].kill();
    for client in &mut clients {
        assert_eq!(home(client).await, "spare");
    }
    let (_more, homes) = staying(&broker, 2).await;
    assert_eq!(homes, ["spare"; 2]);
    let reasons: Vec<_> = broker.sessions().await.iter().map(|session| session["placed"].clone()).collect();
    assert_eq!(reasons, ["least_sessions; a backup, no primary is eligible"; 6]);
    all[0].restart().await;
    broker.wait_backend("a", "trusted again", |backend| backend["penalised"] == false).await;
    assert_eq!(staying(&broker, 2).await.1, ["a"; 2]);
    for client in &mut clients {
        assert_eq!(home(client).await, "spare", "what is open stays");
    }
}

#[tokio::test]
async fn a_backup_does_not_help_out_when_primaries_are_full() {
    let all = backends(["a", "spare"]).await;
    let broker = over(&all).pool_setting(NO_QUEUE).backend_setting("a", "max_sessions = 1");
    let broker = broker.backend_setting("spare", "backup = true").start().await;
    let _client = placed(&Upgrade::to(broker.address())).await;
    assert_full(&broker).await;
    assert!(all[1].journal().peers().is_empty());
}

#[tokio::test]
async fn of_several_backends_those_with_room_are_filled() {
    let all = backends(["a", "b"]).await;
    let broker = over(&all).pool_setting(NO_QUEUE).backend_setting("a", "max_sessions = 1");
    let broker = broker.backend_setting("b", "max_sessions = 3").start().await;
    let (_clients, homes) = staying(&broker, 4).await;
    assert_eq!(crate::shares(&homes, ["a", "b"]), [1, 3]);
    assert_full(&broker).await;
}

async fn assert_full(broker: &Broker) {
    let response = Upgrade::to(broker.address()).refused().await;
    assert_eq!((response.status, response.header("retry-after")), (503, Some("1")), "{response:?}");
}
