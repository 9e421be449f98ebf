use super::*;

/// 10.0.0.0/8, 192.0.2.1 and fd00::/8.
fn is_trusted(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(four) => four.octets()[0] == 10 || four.octets() == [192, 0, 2, 1],
        IpAddr::V6(six) => six.octets()[0] == 0xfd,
    }
}

fn map(lines: &[(&'static str, &str)]) -> HeaderMap {
    let line = |(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).expect("a value"))
    };
    lines.iter().map(line).collect()
}

/// The way of a request from this peer with these lines, and its headers afterwards.
fn read(peer: &str, lines: &[(&'static str, &str)]) -> (Hops, HeaderMap) {
    let mut headers = map(lines);
    let hops = Hops::read(&mut headers, SocketAddr::new(peer.parse().expect("an address"), 7), is_trusted);
    (hops, headers)
}

/// The client as it is shown; that of the connection has the port 7.
fn client(peer: &str, lines: &[(&'static str, &str)]) -> String {
    read(peer, lines).0.client().to_string()
}

fn behind_proxy(addresses: &[&str]) -> String {
    let lines: Vec<_> = addresses.iter().map(|line| ("x-forwarded-for", *line)).collect();
    client("10.0.0.1", &lines)
}

#[test]
fn the_first_address_from_the_right_that_is_not_trusted_is_the_client() {
    for (lines, expected) in [
        (&["203.0.113.9"][..], "203.0.113.9:0"),
        (&["203.0.113.9:5678"], "203.0.113.9:5678"),
        (&["198.51.100.7, 203.0.113.9"], "203.0.113.9:0"),
        (&["203.0.113.9, 10.1.1.1, 192.0.2.1"], "203.0.113.9:0"),
        (&["198.51.100.7", "203.0.113.9, 10.1.1.1", "10.2.2.2"], "203.0.113.9:0"),
        (&["203.0.113.9", "", " , "], "203.0.113.9:0"),
        (&["2001:db8::9"], "[2001:db8::9]:0"),
        (&["[2001:db8::9]:443,fd00::1"], "[2001:db8::9]:443"),
        (&["::ffff:203.0.113.9, ::ffff:10.0.0.2"], "203.0.113.9:0"),
    ] {
        assert_eq!(behind_proxy(lines), expected, "{lines:?}");
    }
}

#[test]
fn if_all_are_trusted_the_first_is_the_client() {
    for (lines, expected) in
        [(&["10.1.1.1, 10.2.2.2"][..], "10.1.1.1:0"), (&[], "10.0.0.1:7"), (&[" ,"], "10.0.0.1:7")]
    {
        assert_eq!(behind_proxy(lines), expected, "{lines:?}");
    }
}

#[test]
fn what_cannot_be_read_ends_the_walk() {
    for (line, expected) in [
        ("203.0.113.9, rubbish, 10.1.1.1", "10.1.1.1:0"),
        ("203.0.113.9, unknown, 10.1.1.1", "10.1.1.1:0"),
        ("203.0.113.9, _hidden", "10.0.0.1:7"),
        ("203.0.113.9, 10.1.1.1:65536", "10.0.0.1:7"),
        ("203.0.113.9 10.1.1.1", "10.0.0.1:7"),
        ("203.0.113.9, for=10.1.1.1", "10.0.0.1:7"),
        ("203.0.113.9, \u{fc}", "10.0.0.1:7"),
        ("rubbish, 203.0.113.9", "203.0.113.9:0"),
    ] {
        assert_eq!(behind_proxy(&[line]), expected, "{line}");
    }
}

#[test]
fn nobody_else_is_believed() {
    for peer in ["203.0.113.5", "2001:db8::5"] {
        for name in ["x-forwarded-for", "forwarded", "x-real-ip", "x_forwarded_for"] {
            let (hops, headers) = read(peer, &[(name, "198.51.100.7"), ("via", "1.1 other")]);
            assert_eq!(hops.client(), SocketAddr::new(peer.parse().expect("an address"), 7), "{name}");
            assert_eq!((headers.get(name), headers.len()), (None, 1), "{name}");
        }
    }
}

#[test]
fn what_was_dropped_is_known_by_its_name() {
    let dropped = |peer, name| read(peer, &[(name, "x")]).0.dropped().map(ToString::to_string);
    assert_eq!(dropped("203.0.113.5", "x-forwarded-port").as_deref(), Some("x-forwarded-port"));
    assert_eq!(dropped("203.0.113.5", "x-custom"), None);
    assert_eq!(dropped("10.0.0.1", "x-forwarded-port"), None);
}

#[test]
fn forwarded_is_read_likewise_where_there_is_no_list_of_addresses() {
    for (lines, expected) in [
        (&[("forwarded", "for=203.0.113.9")][..], "203.0.113.9:0"),
        (
            &[("forwarded", r#"for=198.51.100.7;proto=https, for="[2001:db8::9]:99", for=10.1.1.1"#)],
            "[2001:db8::9]:99",
        ),
        (&[("forwarded", "for=203.0.113.9"), ("forwarded", "for=10.1.1.1;by=_me")], "203.0.113.9:0"),
        (&[("forwarded", "for=203.0.113.9, for=unknown, for=10.1.1.1")], "10.1.1.1:0"),
        (&[("forwarded", "for=203.0.113.9, for=_hidden")], "10.0.0.1:7"),
        (&[("forwarded", "for=203.0.113.9, proto=https")], "10.0.0.1:7"),
        (&[("forwarded", "for=203.0.113.9, for=\"10.1.1.1")], "10.0.0.1:7"),
        (&[("forwarded", "for=\"198.51.100.7, for=203.0.113.9")], "203.0.113.9:0"),
        (&[("forwarded", "for=198.51.100.7"), ("x-forwarded-for", "203.0.113.9")], "203.0.113.9:0"),
        (&[("forwarded", "for=203.0.113.9"), ("x-forwarded-for", " ")], "203.0.113.9:0"),
        (&[("forwarded", "for=203.0.113.9"), ("x-forwarded-for", "rubbish")], "10.0.0.1:7"),
    ] {
        assert_eq!(client("10.0.0.1", lines), expected, "{lines:?}");
    }
}

#[test]
fn a_peer_that_is_ipv4_on_a_listener_for_both_is_trusted_as_ipv4() {
    assert_eq!(client("::ffff:10.0.0.1", &[("x-forwarded-for", "203.0.113.9")]), "203.0.113.9:0");
    assert_eq!(client("::ffff:203.0.113.5", &[("x-forwarded-for", "203.0.113.9")]), "[::ffff:203.0.113.5]:7");
}

#[test]
fn a_list_has_an_end() {
    let line = vec!["10.1.1.1"; 10 * HOPS_MAX].join(",");
    let (hops, _) = read("10.0.0.1", &[("x-forwarded-for", &format!("203.0.113.9,{line}"))]);
    assert_eq!((hops.client().to_string().as_str(), hops.chain.len()), ("10.1.1.1:0", HOPS_MAX));
}

/// What a backend gets in this form, without what is appended at each dial, and that.
fn told(peer: &str, form: ForwardedForm, lines: &[(&'static str, &str)]) -> (Vec<String>, String, String) {
    let (hops, mut headers) = read(peer, &[lines, &[("host", "a.test:8080")]].concat());
    let Appended { address, element } = hops.tell(&mut headers, form);
    headers.remove("host");
    let mut lines: Vec<_> =
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().expect("text"))).collect();
    lines.sort_unstable();
    let address = address.map(|address| address.to_string()).unwrap_or_default();
    (lines, address, String::from_utf8(element).expect("text"))
}

#[test]
fn a_client_that_connects_by_itself_is_told_in_each_form() {
    let x = ["x-forwarded-host: a.test:8080", "x-forwarded-proto: http"].map(str::to_owned).to_vec();
    let lines = [("x-forwarded-proto", "https"), ("forwarded", "for=a")];
    for (peer, address, node) in
        [("203.0.113.5", "203.0.113.5", "203.0.113.5"), ("2001:db8::5", "2001:db8::5", "\"[2001:db8::5]\"")]
    {
        let element = format!("for={node};host=\"a.test:8080\";proto=http");
        let (form, both) = (ForwardedForm::X, ForwardedForm::Both);
        assert_eq!(told(peer, form, &lines), (x.clone(), address.to_owned(), String::new()));
        assert_eq!(told(peer, both, &lines), (x.clone(), address.to_owned(), element.clone()));
        assert_eq!(told(peer, ForwardedForm::Rfc7239, &lines), (Vec::new(), String::new(), element));
    }
}

#[test]
fn what_a_trusted_proxy_says_goes_on() {
    let lines = [
        ("x-forwarded-for", "evil, 203.0.113.9"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "shop.test"),
        ("x-forwarded-port", "443"),
        ("x-forwarded-prefix", "/x"),
        ("x-real-ip", "203.0.113.9"),
        ("forwarded", "for=198.51.100.7;proto=http"),
    ];
    let (headers, address, element) = told("10.0.0.1", ForwardedForm::X, &lines);
    let expected = [
        "x-forwarded-for: evil, 203.0.113.9",
        "x-forwarded-host: shop.test",
        "x-forwarded-port: 443",
        "x-forwarded-prefix: /x",
        "x-forwarded-proto: https",
        "x-real-ip: 203.0.113.9",
    ];
    assert_eq!(
        (headers, address.as_str(), element.as_str()),
        (expected.map(str::to_owned).to_vec(), "10.0.0.1", "")
    );
    let (headers, address, element) = told("10.0.0.1", ForwardedForm::Rfc7239, &lines);
    let expected = [
        "forwarded: for=203.0.113.9;host=shop.test;proto=https",
        "x-forwarded-prefix: /x",
        "x-real-ip: 203.0.113.9",
    ];
    assert_eq!((headers, address.as_str()), (expected.map(str::to_owned).to_vec(), ""));
    assert_eq!(element, "for=10.0.0.1", "protocol and host are said once");
}

#[test]
fn one_form_is_said_in_the_other() {
    let line = r#"for=198.51.100.7;proto=http, for="[2001:db8::9]:99";proto=https;host=shop.test;by=_me, for=10.1.1.1"#;
    let lines = [("forwarded", line)];
    let (headers, address, element) = told("10.0.0.1", ForwardedForm::Both, &lines);
    let expected = [
        &*format!("forwarded: {line}"),
        "x-forwarded-for: 198.51.100.7, [2001:db8::9]:99, 10.1.1.1",
        "x-forwarded-host: shop.test",
        "x-forwarded-proto: https",
    ];
    assert_eq!(headers, expected);
    assert_eq!((address.as_str(), element.as_str()), ("10.0.0.1", "for=10.0.0.1"));
    let lines =
        [("x-forwarded-for", "203.0.113.9, 2001:db8::9:1,10.1.1.1:80"), ("x-forwarded-proto", "https")];
    let (headers, ..) = told("fd00::1", ForwardedForm::Rfc7239, &lines);
    let expected = "forwarded: for=203.0.113.9, for=\"[2001:db8::9:1]\";host=\"a.test:8080\";proto=https, \
                    for=\"10.1.1.1:80\"";
    assert_eq!(headers, [expected], "the trusted proxy next to the client knows how it was asked");
}

#[test]
fn a_trusted_peer_that_says_nothing_is_the_client() {
    let (headers, address, element) =
        told("10.0.0.1", ForwardedForm::Both, &[("x-forwarded-proto", "https")]);
    assert_eq!(headers, ["x-forwarded-host: a.test:8080", "x-forwarded-proto: https"]);
    let expected = "for=10.0.0.1;host=\"a.test:8080\";proto=https";
    assert_eq!((address.as_str(), element.as_str()), ("10.0.0.1", expected));
}

#[test]
fn what_cannot_be_read_is_not_said_in_the_other_form() {
    for (line, expected) in [
        ("for=\"x, for=203.0.113.9;proto=https", "forwarded: for=203.0.113.9;proto=https"),
        ("for=a;;for=b, proto=https", "forwarded: proto=https"),
    ] {
        let (headers, ..) = told("10.0.0.1", ForwardedForm::Rfc7239, &[("forwarded", line)]);
        assert_eq!(headers, [expected], "{line}");
    }
    let (headers, _, element) = told("10.0.0.1", ForwardedForm::Rfc7239, &[("x-forwarded-for", "rubbish")]);
    assert_eq!((headers, element.as_str()), (Vec::new(), "for=10.0.0.1;host=\"a.test:8080\";proto=http"));
}
