//! Clients that belong to one of the backends.

use http::header::{CACHE_CONTROL, COOKIE, HeaderName, HeaderValue, SET_COOKIE};
use http::{HeaderMap, Uri};

use super::*;
use crate::upstream::backend::{AdminState, Reach};
use crate::upstream::sticky::{SetCookie, StickyRequest};

const INSERT: &str = "[pool.sticky]\n";
const LEARN: &str = "[pool.sticky]\nmode = \"learn\"\nlearn = \"cookie:sid\"\n";
const ENGINE_IO: &str = "[pool.sticky]\nmode = \"learn\"\nlearn = \"engine.io\"\n";

/// A sticky pool over the backends 1 and 2.
fn sticky(keys: &str) -> Pool {
    pool(&format!("{keys}{}{}", backend(1, ""), backend(2, ""))).0
}

fn named(pool: &Pool, name: &str) -> Arc<Backend> {
    pool.named(name).expect("it is there")
}

fn headers(name: HeaderName, lines: &[&str]) -> HeaderMap {
    let value = |line: &&str| (name.clone(), HeaderValue::from_str(line).expect("a header's value"));
    lines.iter().map(value).collect()
}

/// A request with this cookie line.
fn request(pool: &Pool, cookie: &str) -> StickyRequest {
    pool.snapshot().identify(&Uri::from_static("/"), &headers(COOKIE, &[cookie]), false)
}

/// A backend answers without a word of its own.
fn answered(request: &mut StickyRequest, backend: &Backend) -> Option<SetCookie> {
    request.answered(backend, &mut HeaderMap::new())
}

/// As a client sends it.
fn shown(cookie: SetCookie) -> String {
    let line = cookie.into_line();
    let text = line.to_str().expect("text");
    text.split(';').next().expect("a cookie").to_owned()
}

/// The cookie of a client of this backend.
fn given(pool: &Pool, backend: &Backend) -> String {
    shown(answered(&mut request(pool, ""), backend).expect("a cookie"))
}

/// Where such a request is to go.
fn wanted(pool: &Pool, cookie: &str) -> Option<usize> {
    request(pool, cookie).for_request().map(|own| own.backend)
}

#[test]
fn a_pool_that_is_not_sticky_knows_nobody() {
    let plain = sticky("");
    let mut nobody = request(&plain, "steadfast=1; a=b");
    assert_eq!(answered(&mut nobody, &named(&plain, "1")), None);
    assert_eq!((nobody.for_session(), nobody.for_request(), nobody.client()), (None, None, None));
    let mut lines = headers(COOKIE, &["steadfast=1; a=b"]);
    nobody.strip(&mut lines);
    assert_eq!(lines[COOKIE], "steadfast=1; a=b");
}

#[test]
fn a_cookie_leads_back_and_is_not_set_again() {
    let pool = sticky(INSERT);
    for name in ["1", "2"] {
        let backend = named(&pool, name);
        let cookie = given(&pool, &backend);
        assert_eq!(wanted(&pool, &format!("a=b; {cookie}")), Some(backend.id));
        let mut again = request(&pool, &cookie);
        assert_eq!(answered(&mut again, &backend), None);
        assert!(again.client().is_some());
        let mut lines = headers(COOKIE, &[&format!("a=b; {cookie}; c=d")]);
        again.strip(&mut lines);
        assert_eq!(lines[COOKIE], "a=b; c=d");
    }
}

#[test]
fn what_is_no_cookie_of_ours_is_none() {
    let (pool, other) = (sticky(INSERT), sticky("[pool.sticky]\ncookie = \"other\"\n"));
    let one = named(&pool, "1");
    let cookie = given(&pool, &one);
    let foreign = given(&other, &named(&other, "1")).replace("other=", "steadfast=");
    assert_eq!(wanted(&pool, &foreign), Some(one.id), "the same key, pool and name");
    let strange = [
        "steadfast=".to_owned(),
        "steadfast=1".to_owned(),
        format!("{cookie}x"),
        cookie.replace("steadfast=1", "steadfast=2"),
        format!("{cookie}; {cookie}"),
        format!("steadfast={}", "1".repeat(10_000)),
    ];
    for strange in strange {
        let mut request = request(&pool, &strange);
        assert_eq!(request.for_session(), None, "{strange}");
        assert!(answered(&mut request, &one).is_some(), "{strange}");
    }
}

#[test]
fn who_is_led_elsewhere_gets_another_cookie_and_so_do_all_its_requests() {
    let pool = sticky(INSERT);
    let [one, two] = ["1", "2"].map(|name| named(&pool, name));
    let cookie = given(&pool, &one);
    let mut beside = request(&pool, &cookie);
    let other = shown(answered(&mut request(&pool, &cookie), &two).expect("another"));
    assert_eq!(wanted(&pool, &other), Some(two.id));
    assert_eq!(wanted(&pool, &cookie), Some(two.id), "what was sent before it had the other");
    let late = shown(answered(&mut beside, &one).expect("what is true by now"));
    assert_eq!(wanted(&pool, &late), Some(two.id));
}

#[test]
fn a_session_that_moves_takes_its_client_with_it() {
    let pool = sticky(INSERT);
    let [one, two] = ["1", "2"].map(|name| named(&pool, name));
    let mut upgrade = request(&pool, "");
    let cookie = shown(answered(&mut upgrade, &one).expect("a cookie"));
    let client = upgrade.client().expect("it is known");
    pool.clients.begins(7, client);
    let on_its_way = request(&pool, &cookie);
    pool.session_moved(8, &two);
    assert_eq!(wanted(&pool, &cookie), Some(one.id), "another session");
    pool.session_moved(7, &two);
    assert!(pool.clients.holds(7) && !pool.clients.holds(8));
    assert_eq!(wanted(&pool, &cookie), Some(two.id));
    // The answers to what comes next, and to what was asked before, carry the new cookie.
    for mut asked in [request(&pool, &cookie), on_its_way] {
        let backend = if asked.for_request().map(|own| own.backend) == Some(one.id) { &one } else { &two };
        let next = shown(answered(&mut asked, backend).expect("another"));
        assert_eq!(answered(&mut request(&pool, &next), &two), None);
    }
    pool.clients.ended(7);
    assert!(!pool.clients.holds(7));
    pool.session_moved(7, &one);
    assert_eq!(wanted(&pool, &cookie), Some(two.id), "nobody is there any more");
}

#[test]
fn the_sessions_of_a_client_go_to_one_backend() {
    let keys = [backend(1, ""), backend(2, ""), backend(3, "")].concat();
    let (pool, now) = (pool(&format!("{INSERT}{keys}")).0, clock::now());
    let [one, two, three] = ["1", "2", "3"].map(|name| named(&pool, name));
    let mut upgrade = request(&pool, "");
    answered(&mut upgrade, &one);
    for session in [7, 8] {
        pool.clients.begins(session, upgrade.client().expect("it is known"));
    }
    assert_eq!(pool.gone_to(7, Some(one.id)), None, "nobody has gone before it");
    pool.session_moved(7, &two);
    let gone = pool.gone_to(8, Some(one.id)).expect("the other session has");
    assert_eq!((gone.backend, pool.gone_to(8, Some(two.id))), (two.id, None), "it is left");
    let ask = Ask { preferred: Some(gone), just_failed: Some(one.id), ..ASK };
    let leases: Vec<_> = (0..4).map(|_| pool.pick_eligible(now, &ask, None).expect("a lease")).collect();
    assert!(leases.iter().all(|lease| lease.backend().id == two.id));
    let ordered = pool.pick_eligible(now, &ask, Some(three.id)).expect("a lease");
    assert_eq!(ordered.backend().id, three.id, "an operation says where to");
    tell(&two, "down");
    let other = pool.pick_eligible(now, &ask, None).expect("a lease").backend().id;
    assert!(other != two.id, "it takes nobody");
}

#[test]
fn a_backend_does_not_set_the_brokers_cookie_unless_it_may() {
    let theirs = ["steadfast=theirs; Path=/", "sid=7"];
    for (keys, left) in [(INSERT, &theirs[1..]), ("[pool.sticky]\npreserve = true\n", &theirs[..])] {
        let pool = sticky(keys);
        let mut answer = headers(SET_COOKIE, &theirs);
        let cookie = request(&pool, "").answered(&named(&pool, "1"), &mut answer);
        assert_eq!(answer.get_all(SET_COOKIE).iter().collect::<Vec<_>>(), left);
        assert_eq!(cookie.is_some(), left.len() == 1);
    }
}

#[test]
fn an_answer_that_sets_it_is_the_clients_own() {
    let pool = sticky(INSERT);
    let mut answer = headers(CACHE_CONTROL, &["public, max-age=60"]);
    let cookie = request(&pool, "").answered(&named(&pool, "1"), &mut answer).expect("a cookie");
    cookie.add_to(&mut answer);
    assert_eq!(answer[CACHE_CONTROL], "private, max-age=60");
    assert!(answer[SET_COOKIE].to_str().is_ok_and(|line| line.ends_with("; Path=/; SameSite=Lax; HttpOnly")));
}

#[test]
fn a_reload_forgets_nobody() {
    let keys = |more: &str| format!("{INSERT}{more}{}{}", backend(1, ""), backend(2, ""));
    let (pool, _) = pool(&keys(""));
    let two = named(&pool, "2");
    let mut upgrade = request(&pool, "");
    let cookie = shown(answered(&mut upgrade, &named(&pool, "1")).expect("a cookie"));
    pool.clients.begins(7, upgrade.client().expect("it is known"));
    let (_, next) = super::pool(&keys("http_only = false\n"));
    pool.configure(&next.pools[0], &next, &TlsSetup::default());
    pool.session_moved(7, &two);
    assert_eq!(wanted(&pool, &cookie), Some(two.id));
    let (_, plain) = super::pool(&format!("{}{}", backend(1, ""), backend(2, "")));
    pool.configure(&plain.pools[0], &plain, &TlsSetup::default());
    assert_eq!(wanted(&pool, &cookie), None);
    pool.clients.ended(7);
}

#[test]
fn what_an_answer_has_said_leads_back() {
    let pool = sticky(LEARN);
    let [one, two] = ["1", "2"].map(|name| named(&pool, name));
    assert_eq!(wanted(&pool, "sid=ann"), None);
    let mut asked = request(&pool, "");
    let mut answer = headers(SET_COOKIE, &["sid=ann; Path=/"]);
    assert_eq!(asked.answered(&two, &mut answer), None);
    assert_eq!(answer[SET_COOKIE], "sid=ann; Path=/");
    assert_eq!((wanted(&pool, "sid=ann"), wanted(&pool, "sid=bob")), (Some(two.id), None));
    // A session moves, or a request is led elsewhere: what is known follows.
    pool.clients.begins(7, asked.client().expect("it is known"));
    pool.session_moved(7, &one);
    assert_eq!(wanted(&pool, "sid=ann"), Some(one.id));
    answered(&mut request(&pool, "sid=ann"), &two);
    assert_eq!(wanted(&pool, "sid=ann"), Some(two.id));
    // Who shows what nobody has given is nobody's.
    let mut stranger = request(&pool, "sid=bob");
    answered(&mut stranger, &one);
    assert_eq!((wanted(&pool, "sid=bob"), stranger.client()), (None, None));
    let mut lines = headers(COOKIE, &["sid=ann"]);
    request(&pool, "sid=ann").strip(&mut lines);
    assert_eq!(lines[COOKIE], "sid=ann", "it is the backend's");
}

#[test]
fn the_session_of_engine_io_leads_back() {
    let pool = sticky(ENGINE_IO);
    let two = named(&pool, "2");
    let asks = |uri: &'static str| pool.snapshot().identify(&Uri::from_static(uri), &HeaderMap::new(), false);
    let mut first = asks("/socket.io/?EIO=4&transport=polling");
    assert!(first.learns_of_bodies());
    answered(&mut first, &two);
    first.body(&two, b"0{\"sid\":\"lv_VI97HAXpY6yYWAAAC\",\"upgrades\":[\"websocket\"]}");
    let upgrade = asks("/socket.io/?EIO=4&transport=websocket&sid=lv_VI97HAXpY6yYWAAAC");
    assert_eq!(upgrade.for_session().map(|own| own.backend), Some(two.id));
    assert!(!upgrade.learns_of_bodies());
    assert_eq!(asks("/socket.io/?EIO=4&transport=websocket&sid=other").for_session(), None);
}

// ---- placing ----

fn ask(backend: &Backend, drained: bool) -> Ask<'static> {
    let reach = Reach { unweighted: true, drained };
    Ask { preferred: Some(Preferred { backend: backend.id, reach }), ..ASK }
}

#[test]
fn a_client_gets_its_own_backend_whatever_the_rule_says() {
    let (pool, now) = (sticky(INSERT), clock::now());
    let two = named(&pool, "2");
    let leases: Vec<_> = (0..5).map(|_| pool.pick(now, &ask(&two, false)).expect("a lease")).collect();
    assert!(leases.iter().all(|lease| lease.backend().id == two.id));
    assert_eq!(leases[0].reason.to_string(), "sticky");
    two.penalise(now);
    assert_eq!(pool.pick(now, &ask(&two, false)).expect("a lease").backend().id, two.id, "it still serves");
    let tried = [two.id];
    let other = pool.pick(now, &Ask { tried: &tried, ..ask(&two, false) }).expect("a lease");
    assert_ne!(other.backend().id, two.id, "it was asked already");
}

#[test]
fn one_that_takes_nobody_is_passed_over() {
    for out in ["maint", "down"] {
        let (pool, now) = (sticky(INSERT), clock::now());
        let two = named(&pool, "2");
        tell(&two, out);
        assert_ne!(pool.pick(now, &ask(&two, true)).expect("a lease").backend().id, two.id, "{out}");
    }
    let (pool, now) = (sticky("[pool.outlier]\nfailures = 1\n[pool.sticky]\n"), clock::now());
    let two = named(&pool, "2");
    pool.failed(now, &two, Complaint::BROKERS);
    assert_ne!(pool.pick(now, &ask(&two, true)).expect("a lease").backend().id, two.id, "ejected");
    pool.remove("2").expect("it is there");
    assert_ne!(pool.pick(now, &ask(&two, true)).expect("a lease").backend().id, two.id, "removed");
    let (pool, now) = (sticky(INSERT), clock::now());
    let two = named(&pool, "2");
    two.set_admin_state(now, AdminState::Disabled, "");
    assert_ne!(pool.pick(now, &ask(&two, true)).expect("a lease").backend().id, two.id, "disabled");
}

#[test]
fn a_drained_one_gets_requests_and_no_sessions() {
    let (pool, now) = (sticky(INSERT), clock::now());
    let two = named(&pool, "2");
    two.set_admin_state(now, AdminState::Draining, "");
    assert_eq!(pool.pick(now, &ask(&two, true)).expect("a lease").backend().id, two.id);
    assert_ne!(pool.pick(now, &ask(&two, false)).expect("a lease").backend().id, two.id);
    let cookie = given(&pool, &two);
    let reach = |pool: &Pool| {
        let request = request(pool, &cookie);
        [request.for_session(), request.for_request()].map(|own| own.expect("its backend").reach)
    };
    let [unweighted, drained] =
        [Reach { unweighted: true, drained: false }, Reach { unweighted: true, drained: true }];
    assert_eq!(reach(&pool), [unweighted, drained]);
    let leave = sticky("[pool.sticky]\ndraining = \"leave\"\n");
    assert_eq!(reach(&leave), [Reach { unweighted: false, drained: false }; 2]);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_full_is_waited_for_and_then_left() {
    let keys = format!(
        "[pool.queue]\ntimeout = \"5s\"\n{INSERT}{}{}",
        backend(1, ""),
        backend(2, "max_sessions = 1")
    );
    let (pool, _) = pool(&keys);
    let pool = Arc::new(pool);
    let two = named(&pool, "2");
    let ask = ask(&two, false);
    let held = pool.pick(clock::now(), &ask).expect("a lease");
    let told = AtomicUsize::new(0);
    let waits = || {
        told.fetch_add(1, Relaxed);
    };
    let elsewhere = pool.lease(&ask, true, waits).await.expect("a lease");
    assert_ne!(elsewhere.backend().id, two.id);
    assert_eq!(told.load(Relaxed), 1);
    let waiter = tokio::spawn({
        let pool = Arc::clone(&pool);
        async move { pool.lease(&ask, true, || {}).await.expect("a lease").backend().id }
    });
    tokio::task::yield_now().await;
    drop(held);
    assert_eq!(waiter.await.expect("no panic"), two.id);
}
