//! Messages of every size, by all four ways.

use steadfast_tests::broker::Broker;
use steadfast_tests::frame::{BINARY, Frame};
use steadfast_tests::payload::noise;
use steadfast_tests::upgrade::Upgrade;

use crate::scene::{WAYS, World};

/// Around the lengths at which a frame's header grows, and the longest message by default.
const SIZES: [usize; 7] = [0, 1, 125, 126, 65_535, 65_536, 16 << 20];

#[tokio::test]
async fn messages_of_every_size_pass_in_both_directions_by_all_four_ways() {
    let world = World::new();
    for (client_tls, backend_tls) in WAYS {
        let backend = world.backend_of(backend_tls, "a", "").await;
        let builder = world.trusting(Broker::over(&[&backend]));
        // The answer has the backend's name in front.
        let builder = builder.setting("limits", "message = \"17MiB\"\nring = \"17MiB\"");
        let builder = if client_tls { world.served(builder, "") } else { builder };
        let broker = builder.start().await;
        let request = Upgrade::to(broker.address());
        let request = if client_tls { request.tls(&world.tls) } else { request };
        let mut client = request.connect().await;
        for size in SIZES {
            let payload = noise(size, size as u64);
            client.send_frame(Frame::new(BINARY, payload.clone())).await;
            let answer = client.message().await.bytes;
            assert!(
                answer == [b"a:", &payload[..]].concat(),
                "{size} bytes, client with TLS: {client_tls}, backend with TLS: {backend_tls}"
            );
            if size < 1 << 20 {
                client.send(&format!("!big {size}")).await;
                assert!(client.message().await.bytes == payload, "{size} bytes, and nothing in front");
            }
        }
        let seen = backend.journal().sessions().remove(0);
        assert_eq!(seen.violations(), [""; 0]);
        assert_eq!(backend.journal().secured(), if backend_tls { (1, 0) } else { (0, 0) });
        assert_eq!(seen.header("x-forwarded-proto"), Some(if client_tls { "https" } else { "http" }));
        client.close(1000, "").await;
    }
}

#[tokio::test]
async fn a_proxy_header_stands_in_front_of_the_handshake() {
    let world = World::new();
    let backend = world.backend("a", "").await;
    let behind = "proxy_protocol = \"required\"\ntrusted = [\"127.0.0.1\"]";
    let builder = world.trusting(Broker::over(&[&backend])).listener_setting(behind);
    let broker = world.served(builder, "").start().await;
    let header = b"PROXY TCP4 203.0.113.9 192.0.2.1 5678 443\r\n";
    world.upgrade(&broker).before(header).connect().await.ask("m", "a:m").await;
    let seen = backend.journal().sessions().remove(0);
    assert_eq!(seen.header("x-forwarded-for"), Some("203.0.113.9"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
}

#[tokio::test]
async fn many_small_messages_that_come_at_once_pass_in_order() {
    let world = World::new();
    let backend = world.backend("a", "").await;
    let broker = world.over(&[&backend]).start().await;
    let mut client = world.upgrade(&broker).connect().await;
    let all: Vec<u8> =
        (0..5000_u32).flat_map(|n| Frame::text(&n.to_string()).masked(n.to_be_bytes()).encode()).collect();
    // In pieces that no record and no frame has for its own.
    let writer = client.writer();
    let sender = tokio::spawn(async move {
        for piece in all.chunks(1237) {
            writer.send_raw(piece.to_vec()).await;
        }
    });
    for n in 0..5000 {
        assert_eq!(client.text().await, format!("a:{n}"));
    }
    sender.await.expect("it ends well");
}

#[tokio::test]
async fn a_backend_is_told_that_the_client_came_by_tls_and_a_client_cannot_say_so_itself() {
    let world = World::new();
    let backend = world.backend("a", "").await;
    let broker = world.over(&[&backend]).listener_without_pool();
    let routes = "[[route]]\npath = \"/plain\"\npool = \"default\"";
    let broker = broker.pool_setting("forwarded = \"both\"").tables(routes).start().await;
    world.upgrade(&broker).header("X-Forwarded-Proto", "http").connect().await.ask("m", "a:m").await;
    let plain = Upgrade::to(broker.address_of(1)).path("/plain").header("X-Forwarded-Proto", "https");
    plain.connect().await.ask("m", "a:m").await;
    let seen = backend.journal().sessions();
    for (connection, proto) in seen.iter().zip(["https", "http"]) {
        assert_eq!(connection.header_values("x-forwarded-proto"), [proto]);
        let forwarded = connection.header_values("forwarded").join(", ");
        assert!(forwarded.contains(&format!("proto={proto}")), "{forwarded}");
    }
    assert_eq!(seen.len(), 2);
}
