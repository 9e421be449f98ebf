//! Secrets in files that the configuration names: the keys by which cookies are signed. They are read after the settings
//! that name the files, so that a change of a file is one, whether the settings have changed or not.

use std::path::{Path, PathBuf};

use super::cookie_secrets::CookieSecrets;
use super::file::read_bytes;
use super::problem::{ConfigError, ProblemReport};
use super::settings::{PoolSettings, Settings, StickyCookie, StickyMode, StickySettings};
use super::text::quoted;

/// Bytes of a file.
const FILE_SIZE_MAX: u64 = 64 << 10;

/// Every file that [`read`] reads.
pub fn files(settings: &Settings) -> Vec<PathBuf> {
    let cookies = settings.pools.iter().filter_map(cookie);
    cookies.filter_map(|cookie| cookie.secret_file.as_ref()).map(|file| file.path.clone()).collect()
}

/// Reads the files, and completes the settings by what is in them. `file`: the configuration, for what is wrong.
///
/// # Errors
///
/// Every file that cannot be read, or holds something else than it should.
pub fn read(settings: &mut Settings, file: Option<&Path>) -> Result<(), ConfigError> {
    let mut report = ProblemReport::new(file);
    for pool in &mut settings.pools {
        let Some(StickySettings { mode: StickyMode::Insert(cookie), .. }) = &mut pool.sticky else {
            continue;
        };
        let Some(file) = &cookie.secret_file else { continue };
        match read_file(&file.path) {
            Ok(secrets) => cookie.secrets = secrets,
            Err(problem) => report.add_at(&file.place, &problem),
        }
    }
    report.finish(Some(()))
}

/// What is sound and yet worth a look, a sentence each.
pub fn warnings(settings: &Settings) -> Vec<String> {
    let unshared = |pool: &&PoolSettings| cookie(pool).is_some_and(|cookie| cookie.secret_file.is_none());
    let sentence = |pool: &PoolSettings| {
        format!(
            "the cookies of the pool {:?} are signed by a key of this process: they do not outlive it, and no other \
             broker knows them; give [pool.sticky] a secret_file",
            pool.name
        )
    };
    settings.pools.iter().filter(unshared).map(sentence).collect()
}

fn cookie(pool: &PoolSettings) -> Option<&StickyCookie> {
    match &pool.sticky {
        Some(StickySettings { mode: StickyMode::Insert(cookie), .. }) => Some(cookie),
        _ => None,
    }
}

fn read_file(path: &Path) -> Result<CookieSecrets, String> {
    let shown = quoted(&path.to_string_lossy());
    let bytes = read_bytes(path, FILE_SIZE_MAX)
        .map_err(|error| format!("cannot read {shown}: {error}; give a file that the broker may read"))?;
    CookieSecrets::new(&bytes).map_err(|fault| format!("{shown} {fault}"))
}
