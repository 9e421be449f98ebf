//! Asking the DNS. Nothing is cached here: how long an answer holds is the asker's to know.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{TokioResolver, system_conf};
use tokio::time::timeout;

use super::srv::shares;
use super::{FOUND_MAX, FoundBackend, LookupError, NameAnswer};
use crate::config::settings::{Dns, Query};

/// Targets of SRV records that are looked up at once.
const TARGETS_AT_ONCE: usize = 8;

/// Who is asked, and how. It belongs to the runtime in which it is first used.
pub(crate) struct Resolver {
    dns: TokioResolver,
    /// Domains that a name without a dot at its end may lie in, as in resolv.conf.
    search: Vec<Name>,
    /// A name with so many dots is tried as it stands first, one with fewer last.
    ndots: usize,
    timeout: Duration,
}

/// Records of one type, and how long they hold.
struct Records<T> {
    data: Vec<T>,
    ttl: Duration,
}

impl Resolver {
    /// Takes `dns.servers`, or else reads the system's resolv.conf, once. The system's hosts file is
    /// not looked at.
    ///
    /// # Errors
    /// When resolv.conf is needed and cannot be used.
    pub(crate) fn new(dns: &Dns) -> Result<Resolver, String> {
        let (config, mut options) = match dns.servers.as_slice() {
            [] => system_conf::read_system_conf().map_err(|error| {
                format!("cannot read the system's resolvers from /etc/resolv.conf: {error}; set dns.servers")
            })?,
            servers => {
                let servers = servers.iter().map(name_server).collect();
                (ResolverConfig::from_name_servers(servers), ResolverOpts::default())
            }
        };
        let search = if config.search.is_empty() {
            config.domain.clone().into_iter().collect()
        } else {
            config.search.clone()
        };
        let ndots = options.ndots;
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        // `attempts` counts those after the first; all together are `dns.timeout`.
        options.timeout = dns.timeout / u32::try_from(options.attempts).unwrap_or(2).saturating_add(1);
        let built = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            .with_options(options)
            .build();
        let resolver = built.map_err(|error| format!("cannot set up the DNS resolver: {error}"))?;
        Ok(Resolver { dns: resolver, search, ndots, timeout: dns.timeout })
    }

    /// Asks anew, in at most `dns.timeout`.
    ///
    /// # Errors
    /// When the name stands for nothing, or that cannot be told. The answer is whole or there is none:
    /// where IPv6 addresses, or one of several targets, cannot be looked up, the others alone would
    /// seem to be all.
    pub(crate) async fn look_up(&self, query: &Query) -> Result<NameAnswer, LookupError> {
        let answer = async {
            match query {
                Query::Address { host, port } => self.host(host, *port).await,
                Query::Srv { name } => self.service(name).await,
            }
        };
        let late = |_| Err(LookupError::Failed(format!("no answer within {:?}", self.timeout)));
        timeout(self.timeout, answer).await.unwrap_or_else(late)
    }

    async fn host(&self, host: &str, port: u16) -> Result<NameAnswer, LookupError> {
        let addresses = self.searched(host, |name| async move { self.addresses(&name).await }).await?;
        let host = host.trim_end_matches('.');
        let found = addresses.data.iter().map(|ip| FoundBackend::new(host, SocketAddr::new(*ip, port)));
        Ok(NameAnswer::new(found.collect(), addresses.ttl))
    }

    /// A target that has no address brings no backend, and the others stand.
    async fn service(&self, name: &str) -> Result<NameAnswer, LookupError> {
        let mut records = self
            .searched(name, |name| async move { self.records(&name, RecordType::SRV, service).await })
            .await?;
        // RFC 2782: the root as a target says that the service is not there.
        records.data.retain(|record| !record.target.is_root());
        // Servers rotate their records; the same are left out each time.
        records.data.sort_by(|a, b| (a.priority, &a.target, a.port).cmp(&(b.priority, &b.target, b.port)));
        let left_out = records.data.len().saturating_sub(FOUND_MAX);
        records.data.truncate(FOUND_MAX);
        if records.data.is_empty() {
            return Err(LookupError::Vanished(format!("{name} says that there is no such service")));
        }
        let targets: Vec<Name> = records.data.iter().map(|record| record.target.clone()).collect();
        let targets: Vec<Records<IpAddr>> = stream::iter(targets)
            .map(|target| async move { self.target(&target).await })
            .buffered(TARGETS_AT_ONCE)
            .try_collect()
            .await?;
        let ttl = targets.iter().map(|target| target.ttl).fold(records.ttl, Duration::min);
        let found = backends(&records.data, &targets);
        if found.is_empty() {
            return Err(LookupError::Vanished(format!("no target of {name} has an address")));
        }
        let answer = NameAnswer::new(found, ttl);
        Ok(NameAnswer { left_out: answer.left_out + left_out, ..answer })
    }

    async fn target(&self, name: &Name) -> Result<Records<IpAddr>, LookupError> {
        match self.addresses(name).await {
            Err(LookupError::Vanished(_)) => Ok(Records { data: Vec::new(), ttl: Duration::MAX }),
            found => found,
        }
    }

    /// IPv4 and IPv6 addresses of a complete name; one kind is enough.
    async fn addresses(&self, name: &Name) -> Result<Records<IpAddr>, LookupError> {
        let v4 = self.records(name, RecordType::A, address);
        let v6 = self.records(name, RecordType::AAAA, address);
        match futures::join!(v4, v6) {
            (Ok(mut v4), Ok(v6)) => {
                v4.data.extend(v6.data);
                Ok(Records { data: v4.data, ttl: v4.ttl.min(v6.ttl) })
            }
            (Ok(found), Err(LookupError::Vanished(_))) | (Err(LookupError::Vanished(_)), Ok(found)) => {
                Ok(found)
            }
            (Err(error @ LookupError::Failed(_)), _) | (_, Err(error @ LookupError::Failed(_))) => Err(error),
            (Err(error), Err(_)) => Err(error),
        }
    }

    async fn records<T>(
        &self,
        name: &Name,
        kind: RecordType,
        pick: fn(&RData) -> Option<T>,
    ) -> Result<Records<T>, LookupError> {
        let lookup =
            self.dns.lookup(name.clone(), kind).await.map_err(|error| verdict(name, kind, &error))?;
        // With those of aliases on the way.
        let ttl = lookup.answers().iter().map(|record| record.ttl).min().unwrap_or_default();
        let data: Vec<T> = lookup.answers().iter().filter_map(|record| pick(&record.data)).collect();
        if data.is_empty() {
            return Err(LookupError::Vanished(format!("{} has no {kind} records", plain(name))));
        }
        Ok(Records { data, ttl: Duration::from_secs(ttl.into()) })
    }

    /// The first of a name's candidates that is found. If none is, but one could not be asked for,
    /// nothing is known: that one may be there.
    async fn searched<T, F>(&self, name: &str, ask: impl Fn(Name) -> F) -> Result<T, LookupError>
    where
        F: Future<Output = Result<T, LookupError>>,
    {
        let mut failure = None;
        let mut vanished = LookupError::Vanished(format!("{name} does not exist"));
        for candidate in self.candidates(name)? {
            match ask(candidate).await {
                Ok(found) => return Ok(found),
                Err(error @ LookupError::Failed(_)) => failure = Some(error),
                Err(error) => vanished = error,
            }
        }
        Err(failure.unwrap_or(vanished))
    }

    /// The complete names that a name may mean, in the order in which they are tried.
    fn candidates(&self, name: &str) -> Result<Vec<Name>, LookupError> {
        let parsed = Name::from_str_relaxed(name);
        let mut name =
            parsed.map_err(|error| LookupError::Failed(format!("{name:?} is no name: {error}")))?;
        if name.is_fqdn() {
            return Ok(vec![name]);
        }
        // Too long with a domain behind it: it cannot be there.
        let mut names: Vec<Name> =
            self.search.iter().filter_map(|domain| name.clone().append_domain(domain).ok()).collect();
        let dots = usize::from(name.num_labels()).saturating_sub(1);
        name.set_fqdn(true);
        names.insert(if dots >= self.ndots { 0 } else { names.len() }, name);
        Ok(names)
    }
}

/// UDP first; TCP for answers that do not fit.
fn name_server(address: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

/// Each address of each record's target, which stands at the same place in `targets`.
fn backends(records: &[SRV], targets: &[Records<IpAddr>]) -> Vec<FoundBackend> {
    let mut found = Vec::new();
    for ((record, share), target) in records.iter().zip(shares(records)).zip(targets) {
        let host = plain(&record.target.to_lowercase());
        found.extend(target.data.iter().map(|ip| FoundBackend {
            weight: Some(share.weight),
            backup: share.backup,
            ..FoundBackend::new(&host, SocketAddr::new(*ip, record.port))
        }));
    }
    found
}

fn address(data: &RData) -> Option<IpAddr> {
    data.ip_addr()
}

fn service(data: &RData) -> Option<SRV> {
    if let RData::SRV(record) = data { Some(record.clone()) } else { None }
}

/// A name as people write it, without the dot at its end.
fn plain(name: &Name) -> String {
    let text = name.to_ascii();
    text.strip_suffix('.').unwrap_or(&text).to_owned()
}

fn verdict(name: &Name, kind: RecordType, error: &NetError) -> LookupError {
    let name = plain(name);
    match error {
        NetError::Dns(DnsError::NoRecordsFound(NoRecords {
            response_code: ResponseCode::NXDomain, ..
        })) => LookupError::Vanished(format!("{name} does not exist")),
        NetError::Dns(DnsError::NoRecordsFound(NoRecords {
            response_code: ResponseCode::NoError, ..
        })) => LookupError::Vanished(format!("{name} has no {kind} records")),
        NetError::Dns(DnsError::ResponseCode(code)) => {
            LookupError::Failed(format!("the DNS server answered {code} to {name}"))
        }
        NetError::Timeout => LookupError::Failed(format!("no DNS server answered to {name}")),
        error => LookupError::Failed(format!("{name} cannot be looked up: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One that is never asked itself, as a resolv.conf with `search a.test b.test` makes it.
    fn searching(ndots: usize) -> Resolver {
        let servers = vec![SocketAddr::from(([127, 0, 0, 1], 1))];
        let secs = Duration::from_secs;
        let dns = Dns { servers, timeout: secs(5), ttl_min: secs(1), ttl_max: secs(300), hold: secs(30) };
        let search = ["a.test.", "b.test."].map(|domain| Name::from_ascii(domain).expect("a name"));
        Resolver { search: search.into(), ndots, ..Resolver::new(&dns).expect("own servers need no file") }
    }

    fn candidates(name: &str, ndots: usize) -> Vec<String> {
        let names = searching(ndots).candidates(name).expect("a name");
        names.iter().map(Name::to_ascii).collect()
    }

    /// What comes of a search when each candidate is answered by `ask`.
    async fn search(ask: impl Fn(&str) -> Result<u32, LookupError>) -> Result<u32, LookupError> {
        searching(1).searched("chat", |name| std::future::ready(ask(&name.to_ascii()))).await
    }

    fn vanished() -> Result<u32, LookupError> {
        Err(LookupError::Vanished("not there".to_owned()))
    }

    fn failed() -> Result<u32, LookupError> {
        Err(LookupError::Failed("no answer".to_owned()))
    }

    #[test]
    fn a_complete_name_is_taken_as_it_stands() {
        assert_eq!(candidates("chat.", 5), ["chat."]);
    }

    #[test]
    fn a_name_with_few_dots_is_searched_for_first() {
        assert_eq!(candidates("chat", 1), ["chat.a.test.", "chat.b.test.", "chat."]);
        assert_eq!(candidates("chat.ns", 5), ["chat.ns.a.test.", "chat.ns.b.test.", "chat.ns."]);
    }

    #[test]
    fn a_name_with_enough_dots_is_tried_as_it_stands_first() {
        assert_eq!(candidates("chat.ns", 1), ["chat.ns.", "chat.ns.a.test.", "chat.ns.b.test."]);
        assert_eq!(
            candidates("_ws._tcp.chat", 2),
            ["_ws._tcp.chat.", "_ws._tcp.chat.a.test.", "_ws._tcp.chat.b.test."]
        );
    }

    #[tokio::test]
    async fn the_first_candidate_that_is_found_wins() {
        let found = search(|name| match name {
            "chat.a.test." => vanished(),
            "chat.b.test." => Ok(2),
            _ => Ok(3),
        });
        assert_eq!(found.await, Ok(2));
    }

    #[tokio::test]
    async fn a_candidate_that_could_not_be_asked_for_may_be_there() {
        assert_eq!(search(|name| if name == "chat.a.test." { failed() } else { vanished() }).await, failed());
        assert_eq!(search(|name| if name == "chat." { Ok(3) } else { failed() }).await, Ok(3));
        assert_eq!(search(|_| vanished()).await, vanished());
    }
}
