//! How addresses, networks and the names of hosts are written.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use crate::config::settings::{BackendSettings, ListenAddress, Query};
use crate::config::text::quoted;
use crate::net::listener::socket_file;

/// Longest DNS name (RFC 1035 2.3.4, without the root label).
pub(super) const HOST_LENGTH_MAX: usize = 253;

/// What a URL of a service says in front of `://`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scheme {
    name: &'static str,
    pub(super) tls: bool,
    pub(super) websocket: bool,
}

/// Those of services.
const SCHEMES: [Scheme; 4] = [
    Scheme { name: "ws", tls: false, websocket: true },
    Scheme { name: "wss", tls: true, websocket: true },
    Scheme { name: "http", tls: false, websocket: false },
    Scheme { name: "https", tls: true, websocket: false },
];

/// An address to bind.
pub(in crate::config) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!(r#"expected IP:PORT such as "0.0.0.0:8080" or "[::]:8080", found {}"#, quoted(text))
    })
}

/// An address on which clients connect.
pub(in crate::config) fn listen(text: &str) -> Result<ListenAddress, String> {
    text.parse()
}

/// The address of a DNS server.
pub(in crate::config) fn server(text: &str) -> Result<SocketAddr, String> {
    let address = text.parse().ok().filter(|address: &SocketAddr| address.port() != 0);
    address.ok_or_else(|| {
        format!(r#"expected IP:PORT such as "127.0.0.1:53" or "[::1]:53", found {}"#, quoted(text))
    })
}

/// An address of this machine to dial from.
pub(in crate::config) fn source(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text
        .parse()
        .map_err(|_| format!(r#"expected an address such as "127.0.0.2", found {}"#, quoted(text)))?;
    if address.is_unspecified() || address.is_multicast() {
        return Err(format!(
            "{address} is no address that a connection can come from; give one of this machine"
        ));
    }
    Ok(address)
}

/// A network, or an address as a network of one.
pub(in crate::config) fn network(text: &str) -> Result<IpNet, String> {
    let single = || text.parse::<IpAddr>().map(IpNet::from).ok();
    let network = text.parse::<IpNet>().ok().or_else(single).ok_or_else(|| {
        format!(
            r#"expected a network or an address such as "10.0.0.0/8" or "192.0.2.7", found {}"#,
            quoted(text)
        )
    })?;
    if network != network.trunc() {
        let whole = network.trunc();
        return Err(format!(
            "{network} has bits beyond its mask; write {whole}, or the address without a mask"
        ));
    }
    // Clients' addresses are compared in their plain form, so this one would fit none.
    if matches!(network, IpNet::V6(six) if six.prefix_len() >= 96 && six.addr().to_ipv4_mapped().is_some()) {
        return Err(format!("{network} is IPv4 in the form of IPv6; write it as IPv4"));
    }
    Ok(network)
}

/// A backend by its URL; its name is `host:port`. That of a file has its path as host, and no port.
pub(crate) fn backend(url: &str) -> Result<BackendSettings, String> {
    if let Some(path) = socket_file(url) {
        let host = path?.to_string_lossy().into_owned();
        let name = format!("unix:{host}");
        return Ok(BackendSettings {
            name,
            host,
            port: 0,
            tls: false,
            weight: 1,
            backup: false,
            max_sessions: None,
            public_url: None,
        });
    }
    let found = quoted(&without_user(url));
    let Some((Scheme { tls, .. }, rest)) = scheme_and_rest(url) else {
        return Err(format!(
            r#"expected a URL such as "ws://127.0.0.1:9001" or "wss://chat.internal", found {found}"#
        ));
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if !matches!(path, "" | "/") {
        return Err(format!("a backend has no path, the client's own is passed on; remove it from {found}"));
    }
    if authority.contains('@') {
        return Err(format!("a backend has no user name; remove it from {found}"));
    }
    let (host, port) = authority_parts(authority).ok_or_else(|| {
        format!(r#"expected HOST:PORT or "[IPv6]:PORT" with a port from 1 to 65535 in {found}"#)
    })?;
    // RFC 6455, 3: the scheme's default.
    let port = port.unwrap_or(if tls { 443 } else { 80 });
    let name = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let host = host.to_owned();
    Ok(BackendSettings {
        name,
        host,
        port,
        tls,
        weight: 1,
        backup: false,
        max_sessions: None,
        public_url: None,
    })
}

/// The scheme of a service's URL, and what stands behind `://`.
pub(super) fn scheme_and_rest(url: &str) -> Option<(Scheme, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let known = SCHEMES.iter().find(|known| scheme.eq_ignore_ascii_case(known.name))?;
    Some((*known, rest))
}

/// A URL without what may be a password: what stands before its last `@`.
pub(super) fn without_user(url: &str) -> String {
    let begin = url.find("://").map_or(0, |at| at + 3);
    let end = url[begin..].find(['/', '?', '#']).map_or(url.len(), |at| begin + at);
    match url[begin..end].rfind('@') {
        Some(at) => format!("{}...{}", &url[..begin], &url[begin + at..]),
        None => url.to_owned(),
    }
}

/// A name whose addresses are backends, with their port.
pub(in crate::config) fn lookup(text: &str) -> Result<Query, String> {
    let Some((host, Some(port))) = authority_parts(text) else {
        return Err(format!(r#"expected HOST:PORT such as "chat.internal:9001", found {}"#, quoted(text)));
    };
    if host.parse::<IpAddr>().is_ok() {
        return Err(format!("{} is an address already; write it as a [[pool.backend]]", quoted(text)));
    }
    Ok(Query::Address { host: host.to_owned(), port })
}

/// A name with SRV records.
pub(in crate::config) fn service(text: &str) -> Result<Query, String> {
    let expected = r#"a name such as "_ws._tcp.chat.internal""#;
    if text.contains(':') {
        return Err(format!("expected {expected}, found {}; the port comes with the record", quoted(text)));
    }
    match host_name(text) {
        Some(name) if name.parse::<IpAddr>().is_err() => Ok(Query::Srv { name: name.to_owned() }),
        _ => Err(format!("expected {expected}, found {}", quoted(text))),
    }
}

/// The name in a certificate: a host's, or an address.
pub(in crate::config) fn server_name(text: &str) -> Result<String, String> {
    let is_address = text.parse::<IpAddr>().is_ok();
    let sound = is_address || host_name(text).is_some();
    sound.then(|| text.to_owned()).ok_or_else(|| {
        format!(r#"expected a host name or an address such as "chat.internal", found {}"#, quoted(text))
    })
}

/// What a Host header says (RFC 9110, 7.2).
pub(in crate::config) fn authority(text: &str) -> Result<String, String> {
    let sound = authority_parts(text).is_some();
    sound.then(|| text.to_owned()).ok_or_else(|| {
        format!(r#"expected HOST or HOST:PORT such as "chat.internal", found {}"#, quoted(text))
    })
}

/// Host without brackets, and the port if there is one.
pub(super) fn authority_parts(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(inner) => {
            let (host, after) = inner.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host_name(host)?, Some(port)),
            None => (host_name(authority)?, None),
        },
    };
    let Some(port) = port else { return Some((host, None)) };
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let port: u16 = if digits { port.parse().ok()? } else { return None };
    (port != 0).then_some((host, Some(port)))
}

/// A DNS name or IPv4 address. Underscores occur in the names of containers.
pub(super) fn host_name(host: &str) -> Option<&str> {
    let plain = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    (plain && !host.is_empty() && host.len() <= HOST_LENGTH_MAX).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backends_are_read() {
        for (url, name, host, port, tls) in [
            ("ws://127.0.0.1:9001", "127.0.0.1:9001", "127.0.0.1", 9001, false),
            ("WS://chat_1.internal/", "chat_1.internal:80", "chat_1.internal", 80, false),
            ("ws://[::1]:65535", "[::1]:65535", "::1", 65535, false),
            ("ws://[fe80::2]", "[fe80::2]:80", "fe80::2", 80, false),
            ("http://a", "a:80", "a", 80, false),
            ("wss://a", "a:443", "a", 443, true),
            ("HTTPS://[::1]/", "[::1]:443", "::1", 443, true),
            ("wss://a:9001", "a:9001", "a", 9001, true),
            ("unix:/run/a.sock", "unix:/run/a.sock", "/run/a.sock", 0, false),
        ] {
            let expected = BackendSettings {
                name: name.to_owned(),
                host: host.to_owned(),
                port,
                tls,
                weight: 1,
                backup: false,
                max_sessions: None,
                public_url: None,
            };
            assert_eq!(backend(url), Ok(expected), "{url}");
        }
    }

    #[test]
    fn broken_backends_are_refused() {
        for url in [
            "",
            "ws:",
            "unix:a.sock",
            "unix:unix:/run/a.sock",
            "ws://",
            "ws://:9001",
            "ws://a:",
            "ws://a:0",
            "ws://a:65536",
            "ws://a:+80",
            "ws://a:9x",
            "ws://::1:80",
            "ws://[::1",
            "ws://[::1]80",
            "ws://[::g]:80",
            "ws://a b:1",
            "ws://a:1/chat",
            "ws://a:1?x",
            "ws://a:1#x",
            "ws://u@a:1",
            "ftp://a:1",
            "a:1",
            "wss://u@a:1",
        ] {
            let error = backend(url).expect_err(url);
            assert!(!error.contains('\n'), "{error}");
        }
        for url in [
            "ws://u:secret@a:1",
            "wss://u:secret@a:1",
            "u:secret@a:1",
            "ws://u:sec@ret@a:1/x",
            "ws://secret@",
        ] {
            let error = backend(url).expect_err(url);
            assert!(!error.contains("sec"), "{error}");
        }
    }

    #[test]
    fn networks_are_whole() {
        for (text, expected) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("2001:DB8::/32", "2001:db8::/32"),
            ("::1", "::1/128"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(network(text).map(|network| network.to_string()).as_deref(), Ok(expected));
        }
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0",
            "10.0.0.1/8",
            "::1/64",
            "localhost",
            "::ffff:10.0.0.1",
            "::ffff:10.0.0.0/104",
        ] {
            let error = network(text).expect_err(text);
            assert!(!error.contains('\n'), "{error}");
        }
        assert!(network("10.6.6.1/24").is_err_and(|error| error.contains("write 10.6.6.0/24")));
    }

    #[test]
    fn sources_can_be_dialled_from() {
        assert_eq!(source("127.0.0.2").map(|address| address.to_string()).as_deref(), Ok("127.0.0.2"));
        assert!(source("::1").is_ok());
        for text in ["", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "127.0.0.1:80", "lo"] {
            assert!(source(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_to_look_up_are_no_addresses() {
        let expected = Query::Address { host: "chat.internal".to_owned(), port: 9001 };
        assert_eq!(lookup("chat.internal:9001"), Ok(expected));
        for text in ["", "chat.internal", "chat.internal:0", "10.0.0.1:80", "[::1]:80", "ws://a:1", ":1"] {
            assert!(lookup(text).is_err(), "{text}");
        }
        let expected = Query::Srv { name: "_ws._tcp.chat.internal".to_owned() };
        assert_eq!(service("_ws._tcp.chat.internal"), Ok(expected));
        for text in ["", "chat.internal:9001", "10.0.0.1", "a b", "::1"] {
            assert!(service(text).is_err(), "{text}");
        }
    }

    #[test]
    fn servers_and_host_headers_are_read() {
        assert!(server("127.0.0.1:53").is_ok() && server("[::1]:5353").is_ok());
        for text in ["", "127.0.0.1", "127.0.0.1:0", "dns.internal:53"] {
            assert!(server(text).is_err(), "{text}");
        }
        for text in ["chat.internal", "chat.internal:9001", "[::1]", "[::1]:80", "10.0.0.1"] {
            assert_eq!(authority(text), Ok(text.to_owned()));
        }
        for text in ["", "a b", "a\r\nX: y", "a:0", "http://a", "a/b"] {
            assert!(authority(text).is_err(), "{text:?}");
        }
    }
}
