//! Which backend a session gets: by the pool's rule, by who is there and has room, and by what the API has changed.

mod backups;
mod changes;
mod keys;
mod moves;
mod queue;
mod refusals;
mod rules;

use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::client::Client;
use steadfast_tests::upgrade::Upgrade;

/// Backends with these names.
async fn backends<const N: usize>(names: [&str; N]) -> [Backend; N] {
    let mut backends = Vec::new();
    for name in names {
        backends.push(Backend::start(name, "").await);
    }
    backends.try_into().expect("one for each name")
}

/// A broker over them, to be configured further.
fn over(backends: &[Backend]) -> BrokerBuilder {
    Broker::over(&backends.iter().collect::<Vec<_>>())
}

/// A client, and the name of the backend that it talks to.
async fn placed(request: &Upgrade) -> (Client, String) {
    let mut client = request.connect().await;
    let home = home(&mut client).await;
    (client, home)
}

/// The name of the backend that this client talks to.
async fn home(client: &mut Client) -> String {
    client.send("where?").await;
    client.text().await.split(':').next().expect("a name").to_owned()
}

/// So many clients of the default pool that stay, and where each is.
async fn staying(broker: &Broker, count: usize) -> (Vec<Client>, Vec<String>) {
    let request = Upgrade::to(broker.address());
    let (mut clients, mut homes) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let (client, home) = placed(&request).await;
        clients.push(client);
        homes.push(home);
    }
    (clients, homes)
}

/// How many of `homes` are each of `names`.
fn shares<const N: usize>(homes: &[String], names: [&str; N]) -> [usize; N] {
    names.map(|name| homes.iter().filter(|home| *home == name).count())
}
