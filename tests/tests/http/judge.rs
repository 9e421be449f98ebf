//! What may become of requests while backends die: every GET has its answer, no POST is done twice, and those that have
//! none are told so, and are no more than there were when a backend was killed.

use std::collections::HashMap;

/// What its client has seen of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// 200, with its own method and id.
    Good,
    /// Another status.
    Status(u16),
    /// The connection's end.
    Cut,
}

/// A request, and what has become of it.
#[derive(Debug, Clone)]
pub(crate) struct Fate {
    /// `METHOD ID`
    pub(crate) request: String,
    pub(crate) outcome: Outcome,
}

/// What there was, where nothing was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) gets: usize,
    pub(crate) posts: usize,
    /// POSTs without an answer of a backend.
    pub(crate) failed: usize,
    /// GETs that more than one backend has had.
    pub(crate) repeated: usize,
}

/// Judges by what the clients have seen, by what the backends have written down, and by how many POSTs were in flight when
/// backends were killed. `cuts`: a POST may also end with its connection.
///
/// # Errors
/// What was wrong.
pub(crate) fn judge(
    fates: &[Fate],
    logs: &[String],
    in_flight: usize,
    cuts: bool,
) -> Result<Account, String> {
    let mut had = HashMap::<&str, usize>::new();
    for line in logs {
        *had.entry(line).or_default() += 1;
    }
    if let Some((line, times)) = had.iter().find(|(line, times)| line.starts_with("POST") && **times > 1) {
        return Err(format!("{line} was sent {times} times"));
    }
    let mut account = Account { gets: 0, posts: 0, failed: 0, repeated: 0 };
    for Fate { request, outcome } in fates {
        let times = had.get(&**request).copied().unwrap_or_default();
        let is_post = request.starts_with("POST ");
        match outcome {
            Outcome::Good if times == 0 => {
                return Err(format!("{request} has an answer, and nobody has had it"));
            }
            Outcome::Good if is_post => account.posts += 1,
            Outcome::Good => {
                account.gets += 1;
                account.repeated += usize::from(times > 1);
            }
            Outcome::Status(502 | 504) if is_post => account.failed += 1,
            Outcome::Cut if is_post && cuts => account.failed += 1,
            Outcome::Status(_) | Outcome::Cut => return Err(format!("{request}: {outcome:?}")),
        }
    }
    if account.failed > in_flight {
        return Err(format!("{} POSTs failed, and {in_flight} were in flight", account.failed));
    }
    Ok(account)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fates(list: &[(&str, Outcome)]) -> Vec<Fate> {
        list.iter()
            .map(|(request, outcome)| Fate { request: (*request).to_owned(), outcome: *outcome })
            .collect()
    }

    fn logs(list: &[&str]) -> Vec<String> {
        list.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn what_may_be_is_counted() {
        let fates = fates(&[
            ("GET 1", Outcome::Good),
            ("GET 2", Outcome::Good),
            ("POST 3", Outcome::Good),
            ("POST 4", Outcome::Status(502)),
            ("POST 5", Outcome::Status(504)),
        ]);
        let account = judge(&fates, &logs(&["GET 1", "GET 2", "GET 2", "POST 3", "POST 4"]), 2, false);
        assert_eq!(account, Ok(Account { gets: 2, posts: 1, failed: 2, repeated: 1 }));
    }

    #[test]
    fn what_may_not_be_is_found() {
        let wrong = |outcome: &[(&str, Outcome)], log: &[&str], what: &str| {
            let error = judge(&fates(outcome), &logs(log), 1, false).expect_err("something is wrong");
            assert!(error.contains(what), "{error}");
        };
        wrong(&[("POST 1", Outcome::Good)], &["POST 1", "POST 1"], "POST 1 was sent 2 times");
        wrong(&[], &["POST 1", "GET 2", "POST 1"], "2 times");
        wrong(&[("GET 1", Outcome::Status(502))], &["GET 1"], "GET 1: Status(502)");
        wrong(&[("GET 1", Outcome::Cut)], &["GET 1"], "GET 1: Cut");
        wrong(&[("POST 1", Outcome::Cut)], &["POST 1"], "POST 1: Cut");
        wrong(&[("POST 1", Outcome::Status(503))], &[], "Status(503)");
        wrong(&[("POST 1", Outcome::Good)], &[], "nobody has had it");
        let two = [("POST 1", Outcome::Status(502)), ("POST 2", Outcome::Status(502))];
        wrong(&two, &["POST 1", "POST 2"], "1 were in flight");
    }
}
