//! What counts clients counts networks of IPv6 (/64), of which one host may have every address, and IPv4 addresses
//! whichever way they are written. `broker/src/net/address.rs` knows that; nothing else may keep whole addresses, or take
//! them apart.

use std::fs;

use crate::{read, workspace};

/// Where an address is read, shown, compared with networks, or hashed for a placement.
const APART: [&str; 9] = [
    // Those of the broker itself.
    "admin/listeners.rs",
    "config/",
    "demo/",
    "http/forwarding/node.rs",
    "http/onward.rs",
    "net/address.rs",
    "net/connect/",
    "net/networks.rs",
    "upstream/balance/affinity.rs",
];

/// What a file that counts by whole addresses has.
const SIGNS: [&str; 10] = [
    "Map<IpAddr",
    "Map<SocketAddr",
    "Map<Ipv6Addr",
    "Set<IpAddr",
    "Set<SocketAddr",
    "Set<Ipv6Addr",
    "Map<(IpAddr",
    "Set<(IpAddr",
    ".octets()",
    ".segments()",
];

/// The signs in what is before a file's tests.
fn signs(text: &str) -> Vec<&'static str> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    SIGNS.into_iter().filter(|sign| code.contains(sign)).collect()
}

#[test]
fn clients_are_counted_by_their_networks() {
    let tree = read("broker/src/lib.rs");
    let (mut found, mut users) = (String::new(), 0);
    for module in &tree.modules {
        let file = module.file.to_str().expect("text");
        let path = workspace().join("broker/src").join(file);
        let text = fs::read_to_string(&path).expect("a file that has been read before");
        users += usize::from(text.contains("Address::of("));
        if APART.iter().any(|apart| file.starts_with(apart)) {
            continue;
        }
        signs(&text).iter().for_each(|sign| found += &format!("{file}: {sign}\n"));
    }
    assert!(found.is_empty(), "\n{found}");
    assert!(users >= 5, "{users} files count clients: this looks in the wrong place");
}

#[test]
fn a_table_of_whole_addresses_is_found() {
    for bad in ["by: HashMap<IpAddr, usize>", "DashMap<(IpAddr, u16), u8>", "six.segments()[..4].to_vec()"] {
        assert_eq!(signs(bad).len(), 1, "{bad}");
        assert!(signs(&format!("fn f() {{}}\n#[cfg(test)]\n{bad}")).is_empty());
    }
    assert!(signs("by: HashMap<Address, usize>").is_empty());
}
