//! The jobs beside the sessions: health checks, agents and DNS. Which ones there are follows from
//! the configuration and the backends of the moment.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use steadfast_protocol::time::Time;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use crate::clock;
use crate::config::settings::{Agent, Check, Discovery, Dns, Health};
use crate::metric::{self, AnswerOutcome, CheckOutcome};
use crate::net::connect::History;
use crate::pace::Pace;
use crate::upstream::approach::Approach;
use crate::upstream::backend::Backend;
use crate::upstream::discovery::follower::{Follower, News};
use crate::upstream::discovery::resolver::Resolver;
use crate::upstream::health::agent;
use crate::upstream::health::probe::{self, ProbeAnswer, ProbeFailure};
use crate::upstream::pool::Pool;

/// How soon a new backend is checked and an old one no more.
const ROUND: Duration = Duration::from_millis(250);

static LOCAL: Pace = Pace::new();

/// One job, whatever its settings.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum CheckKey {
    Health(usize),
    Agent(usize),
    Discovery(Arc<str>, Discovery),
}

/// A job with what it works on.
#[derive(Clone)]
enum Job {
    Health(Arc<Pool>, Arc<Backend>, Health),
    Agent(Arc<Pool>, Arc<Backend>, Agent),
    Discovery(Arc<Pool>, Discovery, Dns),
}

/// A job under way; it ends when this is dropped.
struct Running {
    job: Job,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What is configured at the moment.
pub(crate) struct Configured {
    pub(crate) pools: Vec<Arc<Pool>>,
    pub(crate) dns: Dns,
}

/// Begins and ends jobs until it is dropped. `configured` is asked in each round.
pub(crate) async fn supervise(configured: impl Fn() -> Configured) {
    let mut running: HashMap<CheckKey, Running> = HashMap::new();
    loop {
        let wanted = wanted(&configured());
        forget(&mut running, &wanted);
        for (key, job) in wanted {
            running.entry(key).or_insert_with(|| job.begin());
        }
        sleep(ROUND).await;
    }
}

fn wanted(Configured { pools, dns }: &Configured) -> HashMap<CheckKey, Job> {
    let mut jobs = HashMap::new();
    for pool in pools {
        let present = pool.snapshot();
        for discovery in &present.settings.discoveries {
            let key = CheckKey::Discovery(Arc::clone(&pool.name), discovery.clone());
            jobs.insert(key, Job::Discovery(Arc::clone(pool), discovery.clone(), dns.clone()));
        }
        for backend in &present.backends {
            if let Some(health) = present.settings.health.clone() {
                let job = Job::Health(Arc::clone(pool), Arc::clone(backend), health);
                jobs.insert(CheckKey::Health(backend.id), job);
            }
            if let Some(agent) = present.settings.agent.clone() {
                let job = Job::Agent(Arc::clone(pool), Arc::clone(backend), agent);
                jobs.insert(CheckKey::Agent(backend.id), job);
            }
        }
    }
    jobs
}

/// Ends what is no longer wanted, or wanted otherwise. What a check or an agent has said holds only
/// while it is asked; a job that is only replaced leaves that to its successor.
fn forget(running: &mut HashMap<CheckKey, Running>, wanted: &HashMap<CheckKey, Job>) {
    let now = clock::now();
    running.retain(|key, running| match wanted.get(key) {
        Some(job) => job.is_same(&running.job),
        None => {
            running.job.forget(now);
            false
        }
    });
}

impl Job {
    fn begin(self) -> Running {
        let task = match self.clone() {
            Job::Health(pool, backend, health) => tokio::spawn(check(pool, backend, health)),
            Job::Agent(pool, backend, agent) => tokio::spawn(ask(pool, backend, agent)),
            Job::Discovery(pool, discovery, dns) => tokio::spawn(follow(pool, discovery, dns)),
        };
        Running { job: self, task: task.abort_handle() }
    }

    /// With the same settings, for the same pool. (Of one key, the rest is the same.)
    fn is_same(&self, other: &Job) -> bool {
        match (self, other) {
            (Job::Health(_, _, one), Job::Health(_, _, other)) => one == other,
            (Job::Agent(_, _, one), Job::Agent(_, _, other)) => one == other,
            (Job::Discovery(pool, _, one), Job::Discovery(same, _, other)) => {
                Arc::ptr_eq(pool, same) && one == other
            }
            _ => false,
        }
    }

    /// What it has found out holds no longer.
    fn forget(&self, now: Time) {
        match self {
            Job::Health(_, backend, _) => backend.unchecked(now),
            Job::Agent(_, backend, _) => backend.untold(now),
            Job::Discovery(..) => {}
        }
    }
}

async fn check(pool: Arc<Pool>, backend: Arc<Backend>, health: Health) {
    let own = History::default();
    let history = if health.port.is_none() { &backend.history } else { &own };
    loop {
        // In front of the first as well, so that the checks of a large pool are spread.
        sleep(part_of(health.jitter)).await;
        let (sources, present) = (pool.sources(), pool.snapshot());
        let (manner, tls) = (present.dialing.manner, present.tls_of(backend.tls));
        let approach = Approach { sources: &sources, history, manner, tls };
        let begun = clock::now();
        let result = probe::probe(&health, &backend.host, backend.port, approach).await;
        let outcome = match &result {
            Ok(_) => CheckOutcome::Passed,
            Err(ProbeFailure::Backend(_)) => CheckOutcome::Failed,
            Err(ProbeFailure::Local(_)) => CheckOutcome::Local,
        };
        metric::HEALTH_CHECKS.count((backend.pool.to_string(), backend.series(), outcome));
        let now = clock::now();
        match result {
            Ok(ProbeAnswer { drain }) => {
                // In this order: what it asks now is asked by the process that has come up.
                backend.checked(now, Ok(()), health.rise, health.fall);
                if !matches!(health.check, Check::Tcp) {
                    backend.life.answered(now);
                }
                backend.answered(begun, drain);
            }
            Err(ProbeFailure::Backend(why)) => backend.checked(now, Err(why), health.rise, health.fall),
            Err(ProbeFailure::Local(why)) => {
                if let Some(left_out) = LOCAL.line(now) {
                    let (pool, backend) = (&*backend.pool, &backend.name);
                    let sentence = "cannot check a backend for a reason of this machine's";
                    tracing::warn!(pool, backend, why, left_out, "{sentence}");
                }
            }
        }
        sleep(health.interval).await;
    }
}

async fn ask(pool: Arc<Pool>, backend: Arc<Backend>, agent: Agent) {
    let mut silent = false;
    let own = History::default();
    let history = if agent.port.is_none() { &backend.history } else { &own };
    loop {
        sleep(part_of(agent.interval / 10)).await;
        let present = pool.snapshot();
        let (manner, tls) = (present.dialing.manner, present.tls_of(backend.tls));
        let approach = Approach { sources: &[], history, manner, tls };
        let answer = agent::ask(&agent, &backend.host, backend.port, approach).await;
        metric::AGENT_CHECKS.count((backend.pool.to_string(), backend.series(), outcome(&answer)));
        match answer {
            Ok(report) => {
                silent = false;
                backend.told(clock::now(), report);
            }
            // It changes nothing; once is enough to say so.
            Err(why) if !silent => {
                silent = true;
                tracing::warn!(
                    pool = &*backend.pool,
                    backend = backend.name,
                    why,
                    "no word from a backend's agent; what it said last holds"
                );
            }
            Err(_) => {}
        }
        sleep(agent.interval).await;
    }
}

async fn follow(pool: Arc<Pool>, discovery: Discovery, dns: Dns) {
    let resolver = resolver(&pool, &dns).await;
    // Settings may have changed while there were backends already.
    let mut follower = Follower::resume(pool.found(&discovery.query));
    loop {
        let answer = resolver.look_up(&discovery.query).await;
        let outcome = outcome(&answer);
        metric::DNS_LOOKUPS.count(outcome);
        let step = follower.answered(clock::now(), answer, &dns);
        if let Some(found) = step.set {
            pool.discovered(&discovery, &found);
        }
        match step.news {
            Some(News::Trouble(why)) => {
                tracing::warn!(pool = &*pool.name, query = ?discovery.query, why, "trouble with DNS");
            }
            Some(News::Recovered) => {
                tracing::info!(pool = &*pool.name, query = ?discovery.query, "DNS is well again");
            }
            None => {}
        }
        sleep(step.next).await;
    }
}

/// Tries until there is one: the system may write its resolv.conf later than it starts the broker.
async fn resolver(pool: &Pool, dns: &Dns) -> Resolver {
    let mut told = false;
    loop {
        match Resolver::new(dns) {
            Ok(resolver) => return resolver,
            Err(why) if !told => {
                told = true;
                tracing::error!(pool = &*pool.name, why, "DNS cannot be asked yet");
            }
            Err(_) => {}
        }
        sleep(dns.ttl_min.max(ROUND)).await;
    }
}

fn outcome<T, E>(answer: &Result<T, E>) -> AnswerOutcome {
    if answer.is_ok() { AnswerOutcome::Answered } else { AnswerOutcome::Failed }
}

fn part_of(whole: Duration) -> Duration {
    whole.mul_f64(rand::random::<f64>())
}
