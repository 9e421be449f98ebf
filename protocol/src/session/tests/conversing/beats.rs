//! Signs of life while there is no backend.

use super::*;

fn idle() -> Vec<String> {
    Vec::new()
}

#[test]
fn the_clients_passes_while_there_is_a_backend_and_is_never_said_again() {
    let mut rig = logged_in(rig());
    rig.client_says(&said("beat"));
    assert_eq!(messages(rig.upstream()), [said("beat")]);
    rig.backend_dies();
    taken(&mut rig);
    assert_eq!(messages(rig.upstream()), [said("login")]);
}

#[test]
fn it_is_answered_by_the_broker_while_there_is_none() {
    let mut rig = logged_in(rig());
    rig.backend_dies();
    rig.client_says(&said("beat"));
    assert_eq!(rig.downstream(), [said("beaten")]);
    rig.link_next();
    rig.client_says(&said("beat"));
    assert_eq!(rig.downstream(), [said("beaten")], "in the prologue too");
    rig.backend_says(&said("hello"));
    rig.backend_says(&said("ok"));
    rig.client_says(&said("beat"));
    assert_eq!(messages(rig.upstream()), [said("login"), said("beat")]);
}

#[test]
fn the_broker_speaks_for_a_backend_that_is_away_and_keeps_the_answers() {
    let mut rig = rig_with(|config| (config.deadline, config.longest) = (secs(300), secs(300)));
    rig.backend_says(&said("tick"));
    rig = logged_in_after_tick(rig);
    rig.backend_dies();
    rig.wait(secs(19));
    assert_eq!(rig.downstream(), idle());
    rig.wait(secs(2));
    assert_eq!(rig.downstream(), [said("tick")]);
    rig.client_says(&said("tock"));
    rig.wait(secs(20));
    assert_eq!(rig.downstream(), [said("tick")]);
    taken(&mut rig);
    rig.client_says(&said("tock"));
    assert_eq!(messages(rig.upstream()), [said("login")], "both were the broker's");
    rig.backend_says(&said("tick"));
    rig.client_says(&said("tock"));
    assert_eq!(messages(rig.upstream()), [said("tock")]);
}

fn logged_in_after_tick(mut rig: Rig) -> Rig {
    rig.client_says(&said("login"));
    rig.backend_says(&said("ok"));
    rig.backend_pongs();
    rig.upstream();
    rig.downstream();
    rig
}

#[test]
fn it_fills_in_for_one_that_beats_later_than_the_one_before() {
    let mut rig = rig_with(|config| config.stable = secs(1));
    rig.backend_says(&said("tick"));
    rig = logged_in_after_tick(rig);
    rig.wait(secs(10));
    rig.backend_says(&said("tick"));
    rig.downstream();
    rig.wait(secs(5));
    rig.backend_dies();
    taken(&mut rig);
    rig.wait(secs(6));
    assert_eq!(rig.downstream(), idle());
    rig.wait(secs(2));
    assert_eq!(rig.downstream(), [said("tick")], "12 s after the last");
}

#[test]
fn a_client_that_has_never_had_one_gets_none() {
    let mut rig = rig_with(|config| (config.deadline, config.longest) = (secs(300), secs(300)));
    rig = logged_in_after_tick(rig);
    rig.backend_dies();
    rig.wait(secs(100));
    assert_eq!(rig.downstream(), idle());
}

#[test]
fn the_first_backend_is_not_filled_in_for() {
    let mut rig = logged_in(rig());
    rig.wait(secs(100));
    assert_eq!(rig.downstream(), idle());
}
