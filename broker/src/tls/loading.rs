//! One load: the files that were read, what is wrong with them, and what is used more than once.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::server::ProducesTickets;

use super::pem;
use super::provider::{self, Digest};
use crate::config::{ConfigPlace, NamedFile, ProblemReport, quoted, read_bytes};

/// Bytes of a file. The roots of a system are a tenth of it.
const FILE_SIZE_MAX: u64 = 4 << 20;

/// Keys of this process, by the rules for clients that they are for.
pub(super) type Ticketers = HashMap<Digest, Arc<dyn ProducesTickets>>;

/// What has been read so far.
pub(super) struct Loading<'a> {
    /// What is in each file, or why it cannot be read. One file may be named many times.
    pub(super) files: BTreeMap<PathBuf, Result<Arc<[u8]>, String>>,
    pub(super) report: ProblemReport,
    pub(super) warnings: Vec<String>,
    /// Those in use after this load.
    pub(super) ticketers: Ticketers,
    /// Those in use before it.
    present: Option<&'a Ticketers>,
    /// Whom the system trusts, once somebody has asked.
    system: Option<Result<Roots, String>>,
}

/// Who may sign, and their digest.
pub(super) type Roots = (Arc<RootCertStore>, Digest);

impl<'a> Loading<'a> {
    /// `file`: the configuration. `present`: the keys of tickets that are in use.
    pub(super) fn new(file: Option<&Path>, present: Option<&'a Ticketers>) -> Loading<'a> {
        Loading {
            files: BTreeMap::new(),
            report: ProblemReport::new(file),
            warnings: Vec::new(),
            ticketers: Ticketers::new(),
            present,
            system: None,
        }
    }

    /// What `parse` makes of a file; `None`: it is in the report.
    pub(super) fn parsed<T>(
        &mut self,
        file: &NamedFile,
        parse: impl FnOnce(&[u8]) -> Result<T, String>,
    ) -> Option<T> {
        let parsed = self
            .read(&file.path)
            .and_then(|bytes| parse(&bytes).map_err(|fault| format!("{} {fault}", shown(&file.path))));
        self.told(&file.place, parsed)
    }

    /// What is in a file that has been read; else nothing.
    pub(super) fn content(&self, file: &NamedFile) -> Arc<[u8]> {
        let read = self.files.get(&file.path).and_then(|read| read.as_ref().ok());
        read.cloned().unwrap_or_default()
    }

    /// Who may sign, by a file; `None`: it is in the report.
    pub(super) fn roots(&mut self, file: &NamedFile) -> Option<Roots> {
        let (roots, ignored) = self.parsed(file, pem::roots)?;
        if ignored > 0 {
            let path = shown(&file.path);
            self.warnings.push(format!(
                "{path}: {ignored} of its certificates cannot be read, and nobody is trusted for them"
            ));
        }
        Some((Arc::new(roots), provider::digest([&*self.content(file)])))
    }

    /// Whom the system trusts. `place`: who asks for it.
    pub(super) fn system_roots(&mut self, place: &ConfigPlace) -> Option<Roots> {
        let roots = self.system.get_or_insert_with(system_roots).clone();
        self.told(place, roots)
    }

    /// Tickets by keys of this process for these rules, the same as long as somebody uses them.
    pub(super) fn ticketer(
        &mut self,
        rules: Digest,
        place: &ConfigPlace,
    ) -> Option<Arc<dyn ProducesTickets>> {
        let present = self.present.and_then(|present| present.get(&rules));
        let known = self.ticketers.get(&rules).or(present).cloned();
        let made = known.map_or_else(provider::ticketer, Ok);
        let no_keys =
            |error| format!("no keys for tickets can be made: {error}; the system must give random numbers");
        let ticketer = self.told(place, made.map_err(no_keys))?;
        self.ticketers.insert(rules, Arc::clone(&ticketer));
        Some(ticketer)
    }

    /// The value; without one, the report says why.
    pub(super) fn told<T>(&mut self, place: &ConfigPlace, found: Result<T, String>) -> Option<T> {
        found.map_err(|problem| self.report.add_at(place, &problem)).ok()
    }

    fn read(&mut self, path: &Path) -> Result<Arc<[u8]>, String> {
        if let Some(read) = self.files.get(path) {
            return read.clone();
        }
        let unreadable =
            |error| format!("cannot read {}: {error}; give a file that the broker may read", shown(path));
        let read = read_bytes(path, FILE_SIZE_MAX).map(Arc::from).map_err(unreadable);
        self.files.insert(path.to_owned(), read.clone());
        read
    }
}

/// A path as problems show it.
pub(super) fn shown(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

fn system_roots() -> Result<Roots, String> {
    let found = rustls_native_certs::load_native_certs();
    let digest = provider::digest(found.certs.iter().map(|cert| &**cert));
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let why = found.errors.first().map_or_else(|| "it is empty".to_owned(), ToString::to_string);
        return Err(format!(
            "the system's store of trusted certificates cannot be used: {why}; install ca-certificates, or give a \
             file as ca in [pool.tls]"
        ));
    }
    Ok((Arc::new(roots), digest))
}
