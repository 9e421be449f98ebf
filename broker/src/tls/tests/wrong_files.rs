//! Each mistake has its sentence, with the line of the configuration and the file.

use std::os::unix::fs::PermissionsExt;

use super::*;

/// A folder with all that a sound listener needs, as `first`.
fn sound() -> Authority {
    let authority = Authority::new("one");
    authority.server("first", &["first.test"], VALID);
    authority.server("second", &["second.test"], VALID);
    authority
}

/// The one problem of a listener with these files; `FOLDER` stands for their folder.
fn problem(authority: &Authority, cert: &str, key: &str, more: &str) -> String {
    let certificate = format!(
        "[[listener.tls.certificate]]\n{}{}",
        file("cert", authority, cert),
        file("key", authority, key)
    );
    let lines = problems(&format!("[listener.tls]\n{more}\n{certificate}"), "verify = false");
    let [line] = &lines[..] else { panic!("one problem: {lines:#?}") };
    assert!(!line.contains('\n'));
    line.replace(authority.folder().to_str().expect("UTF-8"), "FOLDER")
}

#[test]
fn files_that_are_no_certificates_and_keys() {
    let authority = sound();
    fs::write(authority.path("empty"), "").expect("a file");
    fs::write(authority.path("text"), "hello\n").expect("a file");
    fs::write(authority.path("der"), [0x30, 0x82, 1, 1]).expect("a file");
    fs::write(authority.path("broken"), "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n")
        .expect("a file");
    fs::write(authority.path("garbage"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        .expect("a file");
    fs::write(
        authority.path("locked"),
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    )
    .expect("a file");
    fs::write(authority.path("odd"), "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
        .expect("a file");
    let no_cert = "give a PEM file with -----BEGIN CERTIFICATE-----";
    let no_key = "give a PEM file with -----BEGIN PRIVATE KEY-----";
    for (cert, key, expected) in [
        ("none", "first.key", "line 6: [listener.tls.certificate] cert: cannot read \"FOLDER/none\": No such file or directory (os error 2); give a file that the broker may read".to_owned()),
        ("first.key", "first.key", format!("line 6: [listener.tls.certificate] cert: \"FOLDER/first.key\" holds no certificate, but a private key; {no_cert}")),
        ("empty", "first.key", format!("line 6: [listener.tls.certificate] cert: \"FOLDER/empty\" holds no certificate, but nothing at all; {no_cert}")),
        ("text", "first.key", format!("line 6: [listener.tls.certificate] cert: \"FOLDER/text\" holds no certificate, but nothing in PEM; {no_cert}")),
        ("der", "first.key", format!("line 6: [listener.tls.certificate] cert: \"FOLDER/der\" holds no certificate, but DER; {no_cert}")),
        ("broken", "first.key", format!("line 6: [listener.tls.certificate] cert: \"FOLDER/broken\" holds no certificate, but PEM that is broken; {no_cert}")),
        ("first.pem", "first.pem", format!("line 7: [listener.tls.certificate] key: \"FOLDER/first.pem\" holds no private key, but a certificate; {no_key}")),
        ("first.pem", "locked", "line 7: [listener.tls.certificate] key: \"FOLDER/locked\" holds a private key under a passphrase; take that off with openssl pkey -in FILE -out FILE".to_owned()),
        ("first.pem", "second.key", "line 7: [listener.tls.certificate] key: \"FOLDER/second.key\" does not fit the certificate in \"FOLDER/first.pem\"; give the key that this was made with".to_owned()),
    ] {
        assert_eq!(problem(&authority, cert, key, ""), expected);
    }
    let line = problem(&authority, "garbage", "first.key", "");
    assert!(line.starts_with("line 6: [listener.tls.certificate] cert: \"FOLDER/garbage\" holds a certificate that cannot be read: "), "{line}");
    let line = problem(&authority, "first.pem", "odd", "");
    assert!(line.starts_with("line 7: [listener.tls.certificate] key: \"FOLDER/odd\" cannot be used with \"FOLDER/first.pem\": "), "{line}");
}

#[test]
fn other_files_of_a_listener() {
    let authority = sound();
    fs::write(authority.path("text"), "hello\n").expect("a file");
    fs::write(authority.path("large"), vec![b'\n'; (4 << 20) + 1]).expect("a file");
    let certificate = "[[listener.tls.certificate]]";
    for (more, expected) in [
        (
            format!("client_auth = 'required'\n{}", file("client_ca", &authority, "first.key")),
            "line 5: [listener.tls] client_ca: \"FOLDER/first.key\" holds no certificate, but a private key; give a PEM file with -----BEGIN CERTIFICATE-----",
        ),
        (
            file("tickets", &authority, "text"),
            "line 4: [listener.tls] tickets: \"FOLDER/text\" holds no base64 in line 1; openssl rand -base64 48 | tr -d '\\n' makes one",
        ),
        (
            file("tickets", &authority, "large"),
            "line 4: [listener.tls] tickets: cannot read \"FOLDER/large\": it is larger than 4194304 bytes; give a file that the broker may read",
        ),
        (
            format!(
                "{certificate}\n{}{}{}",
                file("cert", &authority, "second.pem"),
                file("key", &authority, "second.key"),
                file("ocsp", &authority, "text")
            ),
            "line 7: [listener.tls.certificate] ocsp: \"FOLDER/text\" holds no OCSP response in DER; openssl ocsp -respout FILE writes one",
        ),
    ] {
        assert_eq!(problem(&authority, "first.pem", "first.key", &more), expected);
    }
}

#[test]
fn files_of_a_pool() {
    let authority = sound();
    let pool = |keys: &str| {
        let lines = problems("", keys);
        let [line] = &lines[..] else { panic!("one problem: {lines:#?}") };
        line.replace(authority.folder().to_str().expect("UTF-8"), "FOLDER")
    };
    assert_eq!(
        pool(&file("ca", &authority, "none")),
        "line 9: [pool.tls] ca: cannot read \"FOLDER/none\": No such file or directory (os error 2); give a file that the broker may read"
    );
    let pair = file("cert", &authority, "first.pem") + &file("key", &authority, "second.key");
    assert_eq!(
        pool(&format!("verify = false\n{pair}")),
        "line 11: [pool.tls] key: \"FOLDER/second.key\" does not fit the certificate in \"FOLDER/first.pem\"; give the key that this was made with"
    );
    assert_eq!(
        pool("verify = false\nserver_name = 'a..b'"),
        "line 8: [pool.tls]: \"a..b\" can stand in no certificate; give a server_name in [pool.tls]"
    );
}

#[test]
fn every_problem_is_told_and_what_may_not_be_read_is_one() {
    let authority = sound();
    fs::set_permissions(authority.path("first.key"), fs::Permissions::from_mode(0o000)).expect("ours");
    let readable = fs::read(authority.path("first.key")).is_ok();
    let tls = listener(&authority, &["first", "third"], "");
    let lines = problems(&tls, &file("ca", &authority, "fourth"));
    // Those who may read everything find one fault less.
    assert_eq!(lines.len(), if readable { 3 } else { 4 }, "{lines:#?}");
}
