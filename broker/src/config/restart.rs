//! What a running broker cannot change: it is bound, sized or started once.

use super::settings::Settings;

/// The keys whose values differ and that only a restart changes.
pub fn differences(present: &Settings, next: &Settings) -> Vec<&'static str> {
    let addresses = |settings: &Settings| -> Vec<_> {
        settings.listeners.iter().map(|listener| (listener.address.clone(), listener.file.clone())).collect()
    };
    let (limits, wanted) = (&present.limits, &next.limits);
    let (herd, wanted_herd) = (&present.herd, &next.herd);
    let differs = [
        ("listener.address", addresses(present) != addresses(next)),
        ("admin.address", present.admin.address != next.admin.address),
        ("workers", present.workers != next.workers),
        ("log.format", present.log.format != next.log.format),
        ("limits.max_sessions", limits.max_sessions != wanted.max_sessions),
        ("limits.max_handshakes", limits.max_handshakes != wanted.max_handshakes),
        ("limits.message", limits.message != wanted.message),
        ("limits.buffers", limits.buffers != wanted.buffers),
        ("herd.dials", herd.dials != wanted_herd.dials),
        ("herd.dials_per_backend", herd.dials_per_backend != wanted_herd.dials_per_backend),
        ("herd.moves", herd.moves != wanted_herd.moves),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Overrides, parse};

    const POOL: &str = "[[pool]]\nname = \"a\"\n[[pool.backend]]\nurl = \"ws://127.0.0.1:1\"\n";

    fn settings(top: &str, below: &str) -> Settings {
        let text = format!(
            "workers = 3\n{top}\n[[listener]]\naddress = \"127.0.0.1:0\"\npool = \"a\"\n{POOL}{below}"
        );
        parse(&text, &Overrides::default()).expect("a sound configuration")
    }

    #[test]
    fn each_key_that_needs_a_restart_is_named() {
        let present = settings("", "");
        for (below, key) in [
            ("[[listener]]\naddress = \"127.0.0.1:0\"\npool = \"a\"", "listener.address"),
            ("[admin]\naddress = \"127.0.0.1:0\"", "admin.address"),
            ("[log]\nformat = \"json\"", "log.format"),
            ("[limits]\nmax_sessions = 3", "limits.max_sessions"),
            ("[limits]\nmax_handshakes = 3", "limits.max_handshakes"),
            ("[limits]\nmessage = \"1MiB\"", "limits.message"),
            ("[limits]\nbuffers = \"1GiB\"", "limits.buffers"),
            ("[herd]\ndials = 3", "herd.dials"),
            ("[herd]\ndials_per_backend = 3", "herd.dials_per_backend"),
            ("[herd]\nmoves = 3", "herd.moves"),
        ] {
            assert_eq!(differences(&present, &settings("", below)), [key]);
        }
        let mut other = settings("", "");
        other.workers = 4;
        assert_eq!(differences(&present, &other), ["workers"]);
    }

    #[test]
    fn everything_else_may_change() {
        let present = settings("", "");
        for below in [
            "[[pool.backend]]\nurl = \"ws://127.0.0.1:2\"",
            "[[pool]]\nname = \"b\"\n[[pool.backend]]\nurl = \"ws://127.0.0.1:2\"",
            "[limits]\nring = \"32MiB\"\nheader = \"32KiB\"",
            "[timeouts]\nconnect = \"1s\"",
            "[failover]\ndeadline = \"1m\"",
            "[[profile]]\nname = \"mine\"\nup = [{ keep = \"login\" }]",
            "[log]\nlevel = \"debug\"",
            "[admin]\ntoken = \"0123456789abcdef\"",
        ] {
            assert_eq!(differences(&present, &settings("", below)), [""; 0], "{below}");
        }
        let mut other = settings("", "");
        other.listeners[0].trusted = vec!["10.0.0.0/8".parse().expect("a network")];
        assert_eq!(differences(&present, &other), [""; 0], "the proxies in front");
    }
}
