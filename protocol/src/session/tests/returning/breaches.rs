//! What a client that links the shim must not do.

use crate::websocket::close_code::CloseCode;

use super::*;

/// The client is told, the backend hears that a client has broken its protocol, and the session ends.
fn assert_breach(rig: &mut Rig, name: &str) {
    let [Event::ClientBreach(reason)] = rig.take_events()[..] else { panic!("{name}: no note") };
    assert!(reason.starts_with(&format!("{name}: ")), "{reason}");
    assert_eq!(heard(rig).last(), Some(&format!("<close 4400 {reason}>")));
    if rig.session.commits().is_some() {
        rig.backend_sends(&Commit { number: 1, upto: 1, ..Commit::default() }.frame());
    } else {
        rig.backend_pongs();
    }
    assert_eq!(got(rig), ["one", "<close 1002>"], "what came before it is delivered");
    rig.backend_closes(1002, "");
    rig.client_goes();
    assert_eq!(
        rig.session.ended().map(|end| (end.cause, end.code)),
        Some((EndCause::ProtocolClient, Some(CloseCode(4400))))
    );
    assert_eq!(rig.session.resumable(&resume(1, 0)), Err(Reason::Unknown));
}

#[test]
fn frames_that_cannot_be_read() {
    let long = format!("a 0 {}", "x".repeat(509));
    let cases = [
        upstream(""),
        masked(true, BINARY, b""),
        masked(false, TEXT, b""),
        upstream("a"),
        upstream("a -1"),
        upstream("a 01"),
        upstream("a  1"),
        upstream("query"),
        upstream("a 9007199254740992"),
        upstream(&long),
        [masked(false, TEXT, b"a "), masked(true, CONTINUATION, b"?")].concat(),
    ];
    for bytes in cases {
        for mut rig in both() {
            rig.client_says("mone");
            rig.client_sends(&[bytes.clone(), upstream("mbehind it")].concat());
            assert_breach(&mut rig, "bad_frame");
        }
    }
}

#[test]
fn acknowledgements_of_what_was_not_sent() {
    for mut rig in both() {
        rig.client_says("mone");
        answers(&mut rig, "answer");
        rig.set_client_room(0);
        answers(&mut rig, "not written");
        rig.client_sends(&upstream("a 2"));
        rig.set_client_room(usize::MAX);
        assert_breach(&mut rig, "future_ack");
    }
}

#[test]
fn acknowledgements_of_what_was_sent_on_another_connection_only() {
    for mut rig in both() {
        rig.client_says("mone");
        answers(&mut rig, "1");
        answers(&mut rig, "2");
        rig.client_goes();
        comes_back(&mut rig, 1, 0, 2);
        rig.client_goes();
        assert_eq!(rig.session.handle_client_back(rig.now, Some(&resume(1, 0)), [3; 32]), Ok(None));
        rig.set_client_room(0);
        rig.client_sends(&upstream("a 1"));
        rig.set_client_room(usize::MAX);
        assert!(matches!(rig.take_events()[..], [Event::ClientBreach(_)]));
    }
}

/// Whether it comes together with what is behind it, or before.
#[test]
fn what_comes_behind_a_breach_goes_nowhere() {
    for at_once in [true, false] {
        for mut rig in both() {
            rig.client_says("mone");
            let (breach, behind) = (upstream("a 9"), upstream("mbehind it"));
            if at_once {
                rig.client_sends(&[breach, behind].concat());
            } else {
                rig.client_sends(&breach);
                rig.client_sends(&behind);
            }
            assert_breach(&mut rig, "future_ack");
        }
    }
}

#[test]
fn breaches_of_the_websocket_protocol_end_as_ever() {
    for mut rig in both() {
        rig.client_says("mone");
        rig.client_sends(&plain(true, TEXT, b"mnot masked"));
        assert_eq!(heard(&mut rig), ["<close 1002 a client frame is not masked>"]);
        assert!(matches!(rig.take_events()[..], [Event::ClientViolation(_)]));
    }
}

#[test]
fn a_breach_of_a_client_that_was_told_close_only_makes_it_deaf() {
    for mut rig in both() {
        rig.backend_closes(4000, "enough");
        rig.client_sends(&upstream("a 9"));
        assert_eq!((heard(&mut rig), rig.take_notes()), (vec!["<close 4000 enough>".to_owned()], vec![]));
        rig.wait(secs(5));
        assert!(rig.session.ended().is_some());
    }
}

#[test]
fn the_kind_counts_in_a_messages_size() {
    let limit = config().message_limit as usize;
    for mut rig in both() {
        rig.client_says(&format!("m{}", "x".repeat(limit - 1)));
        assert_eq!(got(&mut rig)[0].len(), limit - 1);
        rig.client_says(&format!("m{}", "x".repeat(limit)));
        assert_eq!(heard(&mut rig), ["<close 1009 a message is over the limit>"]);
    }
}
