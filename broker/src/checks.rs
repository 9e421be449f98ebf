//! The jobs beside the sessions: health checks, agents and DNS. Which ones there are follows from
//! the configuration and the backends of the moment.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::sleep;

use crate::agent;
use crate::backend::Backend;
use crate::broker::Broker;
use crate::clock;
use crate::config::settings::{Agent, Discovery, Dns, Health};
use crate::discovery::follower::{Follower, News};
use crate::discovery::resolver::Resolver;
use crate::pool::Pool;
use crate::probe::{self, Failure};

/// How soon a new backend is checked and an old one no more.
const ROUND: Duration = Duration::from_millis(250);

/// One job. It begins anew when anything of this changes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Job {
    Health { backend: usize, health: Health },
    Agent { backend: usize, agent: Agent },
    Discovery { pool: Arc<str>, discovery: Discovery, dns: Dns },
}

/// What a job works on.
enum Subject {
    Backend(Arc<Pool>, Arc<Backend>),
    Pool(Arc<Pool>),
}

/// A job under way; it ends when this is dropped.
struct Running {
    task: AbortHandle,
    subject: Subject,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Begins and ends jobs until it is dropped.
pub(crate) async fn supervise(broker: Arc<Broker>) {
    let mut running: HashMap<Job, Running> = HashMap::new();
    loop {
        let wanted = wanted(&broker);
        forget(&mut running, &wanted);
        for (job, subject) in wanted {
            running.entry(job.clone()).or_insert_with(|| begin(job, subject));
        }
        sleep(ROUND).await;
    }
}

fn wanted(broker: &Broker) -> HashMap<Job, Subject> {
    let setup = broker.setup();
    let mut jobs = HashMap::new();
    for pool in setup.pools.values() {
        let present = pool.present();
        for discovery in &present.settings.discoveries {
            let (discovery, dns) = (discovery.clone(), setup.settings.dns.clone());
            let job = Job::Discovery { pool: Arc::clone(&pool.name), discovery, dns };
            jobs.insert(job, Subject::Pool(Arc::clone(pool)));
        }
        for backend in &present.backends {
            let subject = || Subject::Backend(Arc::clone(pool), Arc::clone(backend));
            if let Some(health) = present.settings.health.clone() {
                jobs.insert(Job::Health { backend: backend.id, health }, subject());
            }
            if let Some(agent) = present.settings.agent.clone() {
                jobs.insert(Job::Agent { backend: backend.id, agent }, subject());
            }
        }
    }
    jobs
}

/// Ends what is no longer wanted. What a check or an agent has said holds only while it is asked; a
/// job that is only replaced leaves that to its successor.
fn forget(running: &mut HashMap<Job, Running>, wanted: &HashMap<Job, Subject>) {
    let still: HashSet<_> = wanted.keys().map(Job::kind).collect();
    let now = clock::now();
    running.retain(|job, running| {
        if wanted.contains_key(job) {
            return true;
        }
        if let (Subject::Backend(_, backend), false) = (&running.subject, still.contains(&job.kind())) {
            match job {
                Job::Health { .. } => backend.unchecked(now),
                Job::Agent { .. } => backend.untold(now),
                Job::Discovery { .. } => {}
            }
        }
        false
    });
}

fn begin(job: Job, subject: Subject) -> Running {
    let task = match (&subject, job) {
        (Subject::Backend(pool, backend), Job::Health { health, .. }) => {
            tokio::spawn(check(Arc::clone(pool), Arc::clone(backend), health))
        }
        (Subject::Backend(_, backend), Job::Agent { agent, .. }) => {
            tokio::spawn(ask(Arc::clone(backend), agent))
        }
        (Subject::Pool(pool), Job::Discovery { discovery, dns, .. }) => {
            tokio::spawn(follow(Arc::clone(pool), discovery, dns))
        }
        // Each job is made with its subject.
        (Subject::Backend(..), Job::Discovery { .. }) | (Subject::Pool(_), _) => {
            tokio::spawn(std::future::ready(()))
        }
    };
    Running { task: task.abort_handle(), subject }
}

impl Job {
    /// What it is for, whatever its settings.
    fn kind(&self) -> (u8, usize) {
        match self {
            Job::Health { backend, .. } => (0, *backend),
            Job::Agent { backend, .. } => (1, *backend),
            Job::Discovery { .. } => (2, 0),
        }
    }
}

async fn check(pool: Arc<Pool>, backend: Arc<Backend>, health: Health) {
    loop {
        // In front of the first as well, so that the checks of a large pool are spread.
        sleep(part_of(health.jitter)).await;
        let sources = pool.sources();
        let result = probe::probe(&health, &backend.host, backend.port, &sources).await;
        let outcome = match &result {
            Ok(()) => "passed",
            Err(Failure::Backend(_)) => "failed",
            Err(Failure::Local(_)) => "local",
        };
        count(&backend, "steadfast_health_checks_total", outcome);
        let now = clock::now();
        match result {
            Ok(()) => backend.checked(now, Ok(()), health.rise, health.fall),
            Err(Failure::Backend(why)) => backend.checked(now, Err(why), health.rise, health.fall),
            Err(Failure::Local(why)) => {
                tracing::warn!(
                    pool = &*backend.pool,
                    backend = backend.name,
                    why,
                    "cannot check a backend for a reason of this machine's"
                );
            }
        }
        sleep(health.interval).await;
    }
}

async fn ask(backend: Arc<Backend>, agent: Agent) {
    let mut silent = false;
    loop {
        sleep(part_of(agent.interval / 10)).await;
        let answer = agent::ask(&agent, &backend.host, backend.port).await;
        count(&backend, "steadfast_agent_checks_total", if answer.is_ok() { "answered" } else { "failed" });
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
        let outcome = if answer.is_ok() { "answered" } else { "failed" };
        metrics::counter!("steadfast_dns_lookups_total", "outcome" => outcome).increment(1);
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

fn count(backend: &Backend, name: &'static str, outcome: &'static str) {
    let labels =
        [("pool", backend.pool.to_string()), ("backend", backend.series()), ("outcome", outcome.to_owned())];
    metrics::counter!(name, &labels).increment(1);
}

fn part_of(whole: Duration) -> Duration {
    whole.mul_f64(rand::random::<f64>())
}
