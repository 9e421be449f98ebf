//! What a reload changes, and what it leaves.

use super::*;

/// A file of keys for tickets.
fn tickets(authority: &Authority, name: &str, bytes: [u8; 3]) {
    use base64::Engine;
    let line = |byte| base64::engine::general_purpose::STANDARD.encode([byte; 80]) + "\n";
    fs::write(authority.path(name), bytes.map(line).concat()).expect("a file");
}

fn one(authority: &Authority) -> (String, String) {
    authority.server("first", &["first.test"], VALID);
    (listener(authority, &["first"], ""), file("ca", authority, "ca.pem"))
}

/// The setup after a reload of the same settings.
fn again(listener: &str, pool: &str, before: &TlsSetup) -> TlsSetup {
    load(&settings(listener, pool), None, Some(before)).expect("sound files")
}

#[test]
fn what_has_not_changed_is_the_same() {
    let authority = Authority::new("one");
    let (tls, pool) = one(&authority);
    let first = loaded(&tls, &pool);
    let second = again(&format!("# more lines\n{tls}"), &pool, &first);
    assert!(Arc::ptr_eq(first.listener(0).expect("TLS"), second.listener(0).expect("TLS")));
    assert!(Arc::ptr_eq(first.pool("chat").expect("TLS"), second.pool("chat").expect("TLS")));
    authority.server("first", &["first.test"], VALID);
    let third = again(&tls, &pool, &second);
    assert!(!Arc::ptr_eq(first.listener(0).expect("TLS"), third.listener(0).expect("TLS")));
    assert!(Arc::ptr_eq(first.pool("chat").expect("TLS"), third.pool("chat").expect("TLS")));
    let fourth = again(&tls, &format!("{pool}min_version = '1.3'"), &third);
    assert!(Arc::ptr_eq(third.listener(0).expect("TLS"), fourth.listener(0).expect("TLS")));
    assert!(!Arc::ptr_eq(third.pool("chat").expect("TLS"), fourth.pool("chat").expect("TLS")));
}

#[test]
fn another_certificate_costs_no_resumption() {
    let authority = Authority::new("one");
    let (tls, pool) = one(&authority);
    let first = loaded(&tls, &pool);
    let client = first.pool("chat").expect("TLS");
    assert!(!meet(client, "first.test", first.listener(0).expect("TLS")).expect("they meet").resumed());
    authority.server("first", &["first.test"], VALID);
    let second = again(&tls, &pool, &first);
    assert!(meet(client, "first.test", second.listener(0).expect("TLS")).expect("they meet").resumed());
    // Without what was there before, the keys are others.
    let other = loaded(&tls, &pool);
    assert!(!meet(client, "first.test", other.listener(0).expect("TLS")).expect("they meet").resumed());
}

#[test]
fn brokers_with_one_file_take_each_others_tickets() {
    let authority = Authority::new("one");
    let (_, pool) = one(&authority);
    let server = |name: &str, bytes| {
        tickets(&authority, name, bytes);
        let setup =
            loaded(&listener(&authority, &["first"], &file("tickets", &authority, name)), "verify = false");
        Arc::clone(setup.listener(0).expect("TLS"))
    };
    let (here, there) = (server("here", [1, 2, 3]), server("there", [1, 2, 3]));
    let (ahead, far) = (server("ahead", [2, 3, 4]), server("far", [4, 5, 6]));
    for (first, second, resumes) in
        [(&here, &there, true), (&here, &ahead, true), (&ahead, &here, true), (&here, &far, false)]
    {
        let setup = loaded("", &pool);
        let client = setup.pool("chat").expect("TLS");
        assert!(!meet(client, "first.test", first).expect("they meet").resumed());
        assert_eq!(meet(client, "first.test", second).expect("they meet").resumed(), resumes);
    }
}

#[test]
fn tickets_do_not_pass_between_rules_for_clients() {
    let authority = Authority::new("one");
    let (_, pool) = one(&authority);
    authority.client("alice");
    tickets(&authority, "keys", [1, 2, 3]);
    let server = |rules: &str, keys: &str| {
        let ca = if rules.is_empty() { String::new() } else { file("client_ca", &authority, "ca.pem") };
        let setup =
            loaded(&listener(&authority, &["first"], &format!("{rules}\n{ca}{keys}")), "verify = false");
        Arc::clone(setup.listener(0).expect("TLS"))
    };
    let keys = file("tickets", &authority, "keys");
    let (optional, required) = ("client_auth = 'optional'", "client_auth = 'required'");
    let alice = file("cert", &authority, "alice.pem") + &file("key", &authority, "alice.key");
    for (first, second, resumes) in [
        ("", "", true),
        (optional, optional, true),
        (required, required, true),
        ("", optional, false),
        (optional, required, false),
        (required, optional, false),
        (required, "", false),
    ] {
        let setup = loaded("", &format!("{pool}{alice}"));
        let client = setup.pool("chat").expect("TLS");
        assert!(!meet(client, "first.test", &server(first, &keys)).expect("they meet").resumed());
        let met = meet(client, "first.test", &server(second, &keys)).expect("they meet");
        assert_eq!(met.resumed(), resumes, "{first:?}, then {second:?}");
    }
}

#[test]
fn a_reload_that_is_refused_leaves_everything() {
    let authority = Authority::new("one");
    let (tls, pool) = one(&authority);
    let first = loaded(&tls, &pool);
    let key = fs::read(authority.path("first.key")).expect("a key");
    authority.server("first", &["first.test"], VALID);
    fs::write(authority.path("first.key"), key).expect("a file");
    let error = load(&settings(&tls, &pool), None, Some(&first)).expect_err("the key is another's");
    assert!(error.to_string().contains("does not fit the certificate"), "{error}");
    assert!(meet(first.pool("chat").expect("TLS"), "first.test", first.listener(0).expect("TLS")).is_ok());
}
